//! [`Patience`]: how long a client waits for an answer, and who is told meanwhile that none has come.
//!
//! It refuses to know what was asked, and how telling looks. Invariant: what should take a moment ends within a bounded time;
//! what may take long is never given up, and is told of once.

use std::fmt;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::client::ClientError;

/// See the module.
#[derive(Clone)]
pub struct Patience {
    /// How long an answer that takes a moment is waited for. One to a call has this beyond the call's own time.
    pub answer_within: Duration,
    /// After how long `tell` hears that there is no answer yet.
    pub tell_after: Duration,
    /// Hears of it, once for each answer.
    pub tell: Arc<dyn Fn(&Silence) + Send + Sync>,
}

/// That a node has not answered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    /// Who was asked, in words.
    pub who: String,
    /// The data directory of the node that was asked, if it was asked there.
    pub data: Option<PathBuf>,
    /// Since when.
    pub since: Duration,
    /// What was asked may take this long, or longer.
    pub may_be_long: bool,
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { who, since, .. } = self;
        write!(f, "{who} has not answered for {since:?}")
    }
}

/// How long an answer may take if all is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    Moment,
    AtMost(Duration),
    /// As long as the work that was asked for.
    Work,
    /// It comes when there is something to say.
    Forever,
}

/// What waits for the answers of one request.
pub(super) struct Waiting {
    pub(super) patience: Option<Patience>,
    pub(super) takes: Takes,
    pub(super) who: String,
    pub(super) data: Option<PathBuf>,
}

impl Waiting {
    /// The answer, or that it did not come.
    pub(super) async fn wait<T>(&self, answer: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
        let Some(patience) = self.patience.as_ref().filter(|_| self.takes != Takes::Forever) else {
            return answer.await;
        };
        let mut answer = pin!(answer);
        let within = match self.takes {
            Takes::Moment => Some(patience.answer_within),
            Takes::AtMost(time) => Some(patience.answer_within.saturating_add(time)),
            Takes::Work | Takes::Forever => None,
        };
        if let Ok(answer) = timeout(patience.tell_after, &mut answer).await {
            return answer;
        }
        (patience.tell)(&self.silence(patience.tell_after));
        let Some(within) = within else { return answer.await };
        let left = within.saturating_sub(patience.tell_after);
        timeout(left, answer).await.unwrap_or_else(|_| Err(ClientError::NoAnswer(self.silence(within))))
    }

    fn silence(&self, since: Duration) -> Silence {
        let may_be_long = self.takes != Takes::Moment;
        Silence { who: self.who.clone(), data: self.data.clone(), since, may_be_long }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::sync::Semaphore;
    use tokio::time::sleep;

    use super::*;

    const WITHIN: Duration = Duration::from_millis(20);

    /// Waits for an answer that comes after twice the time, once it was told that there is none, if it comes at all; what was
    /// told, and how it ended.
    async fn silent(takes: Takes, comes: bool) -> (Vec<String>, Result<(), ClientError>) {
        let told = Arc::new((Mutex::new(Vec::new()), Semaphore::new(0)));
        let notes = told.clone();
        let tell = move |silence: &Silence| {
            notes.0.lock().unwrap().push(format!("{silence}, {}", silence.may_be_long));
            notes.1.add_permits(1);
        };
        let patience = Patience { answer_within: WITHIN, tell_after: WITHIN / 4, tell: Arc::new(tell) };
        let waiting = Waiting { patience: Some(patience), takes, who: "the node".into(), data: None };
        let answer = async {
            drop(told.1.acquire().await);
            match comes {
                true => sleep(WITHIN * 2).await,
                false => std::future::pending().await,
            }
            Ok(())
        };
        let ended = waiting.wait(answer).await;
        (told.0.lock().unwrap().clone(), ended)
    }

    #[tokio::test]
    async fn what_takes_a_moment_is_given_up_and_work_is_not() {
        let (told, ended) = silent(Takes::Moment, false).await;
        assert_eq!(told, ["the node has not answered for 5ms, false"]);
        assert_eq!(ended.unwrap_err().to_string(), "the node has not answered for 20ms");
        let (told, ended) = silent(Takes::AtMost(WITHIN), false).await;
        assert_eq!(told, ["the node has not answered for 5ms, true"]);
        assert_eq!(ended.unwrap_err().to_string(), "the node has not answered for 40ms");
        let (told, ended) = silent(Takes::Work, true).await;
        assert_eq!(told, ["the node has not answered for 5ms, true"]);
        ended.unwrap();
    }
}
