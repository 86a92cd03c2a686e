//! [`Subject`]: a process with a sum, whose clients keep it busy while its code changes.
//!
//! The counter is a plain process and changes when it is told to; the account is a server and is changed from outside.
//! Everything else about them is the same: the second version takes over, the third one's converter fails.

use std::collections::BTreeSet;
use std::time::Duration;

use neurath_node::UpgradeEvent;
use neurath_proto::Pid;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::record::{Course, Latency, Outcome, Sample, Upgrade, version};
use super::stage::Stage;
use crate::failure::Failure;

/// Additions that a client sends before each read.
const BATCH: u32 = 10;

/// See the module.
pub(super) struct Subject {
    module: &'static str,
    entry: &'static str,
    arguments: Value,
    /// The entry of its clients.
    client: &'static str,
    clients_per_shard: u32,
    ask_sum: Value,
    ask_version: Value,
    /// What a plain process is told so that it changes.
    upgrade: Option<Value>,
    /// At which part of the time it changes to the second and to the third version.
    changes: [f64; 2],
}

impl Subject {
    /// The counter of figures 1.1 and 1.2.
    pub(super) fn counter() -> Self {
        Self {
            module: "counter",
            entry: "counter",
            arguments: json!([0]),
            client: "client",
            clients_per_shard: 2,
            ask_sum: json!({"Get": "_"}),
            ask_version: json!({"Version": "_"}),
            upgrade: Some(json!("Upgrade")),
            changes: [0.33, 0.66],
        }
    }

    /// A server.
    pub(super) fn account() -> Self {
        Self {
            module: "account",
            entry: "account",
            arguments: json!(["Otto"]),
            client: "teller",
            clients_per_shard: 1,
            ask_sum: json!("Balance"),
            ask_version: json!("Version"),
            upgrade: None,
            changes: [0.5, 0.83],
        }
    }

    fn at(&self, version: &str) -> String {
        format!("{}@{version}", self.module)
    }
}

/// Starts a subject and its clients. One subject at a time: what is started in a row is spread evenly over the shards.
pub(super) async fn start<'s>(stage: &'s Stage, subject: &'s Subject) -> Result<Started<'s>, Failure> {
    let pid = stage.spawn(&subject.at("1.0.0"), subject.entry, subject.arguments.clone()).await?;
    let load = Load::start(stage, subject, pid).await?;
    Ok(Started { stage, subject, pid, load })
}

/// A subject that is being asked.
pub(super) struct Started<'s> {
    stage: &'s Stage,
    subject: &'s Subject,
    pid: Pid,
    load: Load<'s>,
}

/// Plays a subject's part to the end.
pub(super) async fn play(started: Started<'_>) -> Result<Course, Failure> {
    let Started { stage, subject, pid, load } = started;
    let mut samples = Vec::new();
    let course = tokio::select! {
        course = change(stage, subject, pid, load) => course?,
        failure = sample(stage, subject, pid, &mut samples) => return Err(failure),
    };
    Ok(Course { samples, ..course })
}

/// Changes it twice, and counts up at the end.
async fn change(stage: &Stage, subject: &Subject, pid: Pid, load: Load<'_>) -> Result<Course, Failure> {
    let (mut total, mut steady) = (Seen::default(), Seen::default());
    let mut upgrades = Vec::new();
    let mut reset = None;
    let margin = (stage.length() / 20).min(Duration::from_millis(250));
    for (part, version, expected) in
        [(subject.changes[0], "2.0.0", Outcome::Committed), (subject.changes[1], "3.0.0", Outcome::RolledBack)]
    {
        stage.reach(part).await;
        let before = load.report().await?;
        sleep(margin).await;
        let event = upgrade(stage, subject, pid, version).await?;
        sleep(margin).await;
        let around = load.report().await?;
        upgrades.push(Upgrade::new(stage, event, &around.latency, expected));
        steady.add(&before);
        total.add(&before);
        total.add(&around);
        if version == "2.0.0" && subject.module == "counter" {
            reset = Some(resets(stage, subject).await?);
        }
    }
    stage.reach(1.0).await;
    let last = load.stop().await?;
    steady.add(&last);
    total.add(&last);
    Ok(Course {
        module: subject.module,
        clients: load.clients.len(),
        client_shards: load.shards.len(),
        upgrades,
        steady: (&steady.latency).into(),
        sum_found: stage.ask_number(pid, &subject.ask_sum).await?,
        answers_as: stage.ask_number(pid, &subject.ask_version).await?,
        version_at_end: version(&stage.where_and_what(pid).await?.1).to_owned(),
        seen: total,
        reset,
        samples: Vec::new(),
    })
}

/// Has the subject change to a version, or try.
async fn upgrade(stage: &Stage, subject: &Subject, pid: Pid, version: &str) -> Result<UpgradeEvent, Failure> {
    let to = subject.at(version);
    stage.upgrade(&to).await?;
    if let Some(message) = &subject.upgrade {
        stage.send(pid, message).await?;
    }
    stage.changed(&to, |event| event.pid == pid).await
}

/// Whether another counter refuses `Reset` at version 1, keeps its sum when it changes to version 2, and then does
/// what it refused.
async fn resets(stage: &Stage, subject: &Subject) -> Result<bool, Failure> {
    let reset = json!("Reset");
    let pid = stage.spawn(&subject.at("1.0.0"), subject.entry, json!([7])).await?;
    let refuses = stage.send(pid, &reset).await.is_err();
    upgrade(stage, subject, pid, "2.0.0").await?;
    let keeps = stage.ask_number(pid, &subject.ask_sum).await? == 7;
    stage.send(pid, &reset).await?;
    let does = stage.ask_number(pid, &subject.ask_sum).await? == 0;
    stage.kill(pid).await?;
    Ok(refuses && keeps && does)
}

/// Reads the sum again and again, for the picture. It ends only when it fails.
async fn sample(stage: &Stage, subject: &Subject, pid: Pid, samples: &mut Vec<Sample>) -> Failure {
    let every = (stage.length() / 80).clamp(Duration::from_millis(10), Duration::from_secs(1));
    loop {
        match stage.ask_number(pid, &subject.ask_sum).await {
            Ok(sum) => samples.push(Sample { at: stage.elapsed(), sum }),
            Err(failure) => return failure,
        }
        sleep(every).await;
    }
}

/// The clients of a subject; all run the first version throughout.
struct Load<'s> {
    stage: &'s Stage,
    clients: Vec<Pid>,
    /// Where they are.
    shards: BTreeSet<u32>,
}

impl<'s> Load<'s> {
    async fn start(stage: &'s Stage, subject: &Subject, target: Pid) -> Result<Self, Failure> {
        let (mut clients, mut shards) = (Vec::new(), BTreeSet::new());
        for _ in 0..subject.clients_per_shard * stage.shards() {
            let arguments = json!([target.to_string(), BATCH]);
            let client = stage.spawn(&subject.at("1.0.0"), subject.client, arguments).await?;
            shards.insert(stage.where_and_what(client).await?.0);
            clients.push(client);
        }
        Ok(Self { stage, clients, shards })
    }

    /// What all have seen since they were last asked.
    async fn report(&self) -> Result<Seen, Failure> {
        self.all(&json!({"Report": "_"})).await
    }

    /// What all have seen since; they end.
    async fn stop(&self) -> Result<Seen, Failure> {
        self.all(&json!({"Stop": "_"})).await
    }

    async fn all(&self, control: &Value) -> Result<Seen, Failure> {
        let mut all = Seen::default();
        for seen in self.stage.ask_all(&self.clients, control).await? {
            all.add(&serde_json::from_value(seen).map_err(Failure::new)?);
        }
        Ok(all)
    }
}

/// What clients saw: the guests' type of this name, and the sum of several.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Seen {
    pub(super) additions: u64,
    pub(super) reads: u64,
    pub(super) answered: u64,
    pub(super) lost: u64,
    pub(super) reordered: u64,
    #[serde(rename = "took")]
    pub(super) latency: Latency,
}

impl Seen {
    fn add(&mut self, other: &Self) {
        let Self { additions, reads, answered, lost, reordered, latency } = other;
        self.additions += additions;
        self.reads += reads;
        self.answered += answered;
        self.lost += lost;
        self.reordered += reordered;
        self.latency.add(latency);
    }
}
