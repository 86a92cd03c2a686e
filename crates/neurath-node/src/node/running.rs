//! Functions that somebody outside runs: started and asked for their result in one step.
//!
//! A function ends as soon as nobody has asked for its result, so its shard is told both before it can begin.

use super::*;

impl Node {
    /// Runs a function in a process of its own and waits for its result.
    ///
    /// When the time is over the function goes on, and its result is thrown away.
    ///
    /// # Errors
    /// As those of [`spawn`](Self::spawn); and the entry is no function, or the function ended without a result.
    pub async fn run(
        &self,
        module: &str,
        entry: Option<&str>,
        arguments: &Value,
        within: Duration,
    ) -> Result<Value, NodeError> {
        let Start { program, entry: index, arguments, shard } = self.start_of(module, entry, arguments).await?;
        let code = loaded(&program);
        let entry = &code.manifest.entries[index as usize];
        let (EntryKind::Function, Some(question)) = (entry.kind, &entry.call) else {
            let (module, entry) = (code.name.clone(), entry.name.clone());
            return Err(NodeError::NoFunction { module, entry });
        };
        let payload = from_json(question, &Value::Null).map_err(|source| NodeError::Json {
            what: format!("the question for the result of `{}`", entry.name),
            source,
            wanted: question.name(),
        })?;
        let question = (code.types.intern(question.clone())?, payload);
        let (started, starting) = oneshot::channel();
        let (reply, answer) = oneshot::channel();
        self.command(shard, Command::Run { program, entry: index, arguments, question, started, reply });
        starting.await.map_err(|_| NodeError::Stopping)?.map_err(NodeError::NotSpawned)?;
        self.answer(answer, within).await
    }
}
