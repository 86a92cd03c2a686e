//! What the API shows: the shapes of its JSON. They are twins of the node's own types, not those types.
//!
//! Invariants: a pid, an id of a node and a hash are text; every other number is below 2^53 in practice and is a
//! JSON number; times are milliseconds since the Unix epoch and end in `_ms`, durations say their unit too.

use neurath_kernel::Hold;
use neurath_kernel::process::{Counts, Standing};
use neurath_proto::json::{from_json_with, to_json};
use neurath_proto::manifest::{Converter, Entry, EntryKind, Manifest};
use neurath_proto::reason::ExitReason;
use neurath_proto::schema::{DefKind, Schema};
use neurath_proto::{Pid, Ref};
use serde::{Deserialize, Serialize};
use serde_json::Value;

mod nodes;
mod watching;

use super::examples::examples;
pub use crate::shard::LEFT_BEHIND;
use crate::{Death, LogLine, ModuleInfo, ProcessDetails, UpgradeEvent, UpgradeReport};
pub use nodes::{
    GroupView, GroupsView, InvitationView, InviteRequest, NodeStandingView, NodesView, UnconfirmedMessageView,
    UnconfirmedView,
};
pub use watching::{EventView, ShardView, ShardsView, TraceLine, TraceRequest, TracingView};

/// A node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeView {
    /// Its identity: 16 hexadecimal digits.
    pub id: String,
    /// Which of its lives this is, from 1.
    pub incarnation: u32,
    /// The version of Neurath that it runs.
    pub version: String,
    /// Its number at the operating system.
    pub os_pid: u32,
    /// Its data directory.
    pub data: String,
    /// Its scheduler threads.
    pub shards: u32,
    /// Processes that live.
    pub processes: usize,
    /// Processes that have ended since the start.
    pub ended: u64,
    /// Changes of code since the start.
    pub upgrades: UpgradeCountsView,
}

/// How often processes changed their code.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpgradeCountsView {
    /// With success.
    pub committed: u64,
    /// The old code went on.
    pub rolled_back: u64,
}

/// Some processes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessesView {
    /// How many there are, whatever the limit of the listing.
    pub total: usize,
    /// Those that are listed, by pid.
    pub processes: Vec<ProcessView>,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessView {
    /// Who: `serial@node.incarnation`.
    pub pid: String,
    /// Its names.
    pub names: Vec<String>,
    /// The code that it runs: `name@version`.
    pub module: String,
    /// The entry that was started.
    pub entry: String,
    /// `server` or `process`.
    pub kind: String,
    /// What it does: `running`, `runnable`, `waiting`, `hibernates`, `back_pressure`, `frozen`, `in_doubt`, `parked`,
    /// `quarantined`.
    pub state: String,
    /// Messages that wait for it.
    pub mailbox: u32,
    /// Their bytes.
    pub mailbox_bytes: u64,
    /// Bytes of linear memory, or of the image while it hibernates; `null` while it has none of its own.
    pub memory_bytes: Option<u64>,
    /// Microseconds that it has computed, estimated from some of its turns.
    pub cpu_us: u64,
    /// The shard that it is on.
    pub shard: u32,
    /// Who started it.
    pub parent: Option<String>,
    /// Linked processes.
    pub links: Vec<String>,
    /// Who watches it.
    pub watchers: Vec<String>,
    /// Whom it watches.
    pub watching: Vec<String>,
    /// Whether it gets exits of linked processes as messages.
    pub trap_exit: bool,
    /// Whether a change of its code waits for it.
    pub upgrade_pending: bool,
    /// Counts since it was started.
    pub counts: CountsView,
}

/// Counts of one process.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CountsView {
    /// Times that it had a turn.
    pub polls: u64,
    /// Messages that reached its mailbox.
    pub received: u64,
    /// Messages that it sent.
    pub sent: u64,
    /// Messages that it could not take, by type.
    pub refused: u64,
    /// Answers that came after it had stopped waiting.
    pub late: u64,
    /// Changes of its code that succeeded.
    pub upgrades: u32,
    /// Changes of its code that were taken back.
    pub rollbacks: u32,
}

/// A process, and what it can be told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessInfoView {
    /// The process.
    #[serde(flatten)]
    pub process: ProcessView,
    /// What `send` and `call` take.
    pub takes: Vec<TakesView>,
}

/// A type that a process takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TakesView {
    /// `message`, `cast` or `call`.
    pub class: String,
    /// The type.
    #[serde(flatten)]
    pub of: TypeView,
    /// Those of the examples that are answered, so that they can be asked with `call`.
    pub asks: Vec<Value>,
}

/// A type, for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TypeView {
    /// Its name.
    #[serde(rename = "type")]
    pub name: String,
    /// How it would be written in Rust, with the types that it is made of.
    pub declaration: String,
    /// Values of it: one for each variant, if it is an enum.
    pub examples: Vec<Value>,
}

/// An installed module version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModuleView {
    /// `name@version`, which refers to exactly this one.
    pub module: String,
    /// The package.
    pub name: String,
    /// Its semantic version.
    pub version: String,
    /// BLAKE3 of the artifact: 64 hexadecimal digits.
    pub hash: String,
    /// Bytes of the artifact.
    pub size_bytes: u64,
    /// Whether spawns without a version take it.
    pub current: bool,
    /// Processes that run it.
    pub processes: usize,
    /// Who holds its native code: processes, turns, the node itself if it is current; `null` if it is not in memory.
    pub holders: Option<usize>,
}

/// An installed module version, and what it offers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModuleInfoView {
    /// The version.
    #[serde(flatten)]
    pub module: ModuleView,
    /// The version of the SDK that it was built with.
    pub sdk: String,
    /// What can be started.
    pub entries: Vec<EntryView>,
    /// How older states become newer ones.
    pub converters: Vec<ConverterView>,
}

/// Something that can be started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EntryView {
    /// Its name.
    pub name: String,
    /// Where it is in its crate.
    pub path: String,
    /// `process`, `server` or `function`.
    pub kind: String,
    /// The names of its arguments.
    pub argument_names: Vec<String>,
    /// Their types, as one tuple.
    pub arguments: TypeView,
    /// What survives a change of code.
    pub state: TypeView,
    /// What its processes take.
    pub takes: Vec<TakesView>,
    /// What a server answers.
    pub reply: Option<TypeView>,
}

/// A function from an older state to a newer one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConverterView {
    /// Its name.
    pub name: String,
    /// The entry that it serves; `null` is every entry with that state.
    pub entry: Option<String>,
    /// What it takes.
    pub from: TypeView,
    /// What it makes.
    pub to: TypeView,
}

/// All modules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModulesView {
    /// By name and version.
    pub modules: Vec<ModuleView>,
}

/// What was removed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RemovedView {
    /// `name@version`.
    pub removed: String,
}

/// A module that is to be removed, or a process that was started, sent to, killed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PidView {
    /// Who.
    pub pid: String,
}

/// What to start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpawnRequest {
    /// `name`, `name@version` or digits of a hash.
    pub module: String,
    /// Which entry; it may be left out if there is one, or one that is called like the module.
    #[serde(default)]
    pub entry: Option<String>,
    /// An array in the order of the entry's arguments, an object by their names, or the only one.
    #[serde(default)]
    pub arguments: Value,
}

/// Which function to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// `name`, `name@version` or digits of a hash.
    pub module: String,
    /// Which function; it may be left out if there is one entry, or one that is called like the module.
    #[serde(default)]
    pub entry: Option<String>,
    /// An array in the order of the function's arguments, an object by their names, or the only one.
    #[serde(default)]
    pub arguments: Value,
    /// How long to wait for the result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within_ms: Option<u64>,
}

/// What to send.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendRequest {
    /// A value of one of the types that the process takes.
    pub message: Value,
}

/// What to ask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallRequest {
    /// A value of one of the types that the process answers.
    pub message: Value,
    /// How long to wait for the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within_ms: Option<u64>,
}

/// The answer to a call, or a function's result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnswerView {
    /// It.
    pub answer: Value,
}

/// What to change to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpgradeRequest {
    /// `name` for its newest version, `name@version`, or digits of a hash.
    pub module: String,
    /// How long to wait for servers that are in the middle of a message; otherwise as the node is set up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience_ms: Option<u64>,
    /// Only say what would happen.
    #[serde(default)]
    pub dry_run: bool,
}

/// What became of an upgrade.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpgradeView {
    /// The package.
    pub name: String,
    /// `name@version` that was current before.
    pub from: Option<String>,
    /// `name@version` that is wanted.
    pub to: String,
    /// Whether this was only a plan.
    pub dry_run: bool,
    /// One line for each version and entry that runs.
    pub plan: Vec<String>,
    /// What those who know the old messages can send no more, or could not read.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Servers that run the new code.
    pub committed: Vec<String>,
    /// Servers that went on with the old code.
    pub rolled_back: Vec<RolledBackView>,
    /// Plain processes: they change at their own `become_latest!`.
    pub on_their_own: Vec<String>,
    /// Whether the new version is current now.
    pub current: bool,
    /// How long it took.
    pub took_us: u64,
}

/// A process that went on with its old code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolledBackView {
    /// Who.
    pub pid: String,
    /// Why.
    pub why: String,
}

/// One line of an upgrade's answer, if it was asked for as lines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpgradeLine {
    /// So many of the servers have changed or gone on with the old code.
    Progress {
        /// How many.
        done: usize,
        /// Of how many.
        total: usize,
    },
    /// The end: what became of it.
    Report(UpgradeView),
    /// The end: it was refused.
    Error(super::ErrorView),
}

/// The latest changes of code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpgradesView {
    /// Since the start.
    #[serde(flatten)]
    pub counts: UpgradeCountsView,
    /// The latest, oldest first.
    pub latest: Vec<UpgradeEventView>,
}

/// One process's change of code, or the attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpgradeEventView {
    /// When.
    pub at_ms: u64,
    /// Who.
    pub pid: String,
    /// `name@version` before.
    pub from: String,
    /// `name@version` that was to be.
    pub to: String,
    /// `committed` or `rolled_back`.
    pub outcome: String,
    /// Why it was rolled back.
    pub why: Option<String>,
    /// How long the process stood still.
    pub took_us: u64,
}

/// Messages that did not reach their readers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RefusalsView {
    /// Since the start: types that the receiver does not take.
    pub refused: u64,
    /// Since the start: receivers that do not exist.
    pub undeliverable: u64,
    /// The latest, oldest first.
    pub latest: Vec<RefusalView>,
}

/// A message that did not reach its reader.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RefusalView {
    /// When.
    pub at_ms: u64,
    /// Who sent it.
    pub from: String,
    /// Who should have had it.
    pub to: String,
    /// Its type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Why not.
    pub why: String,
}

/// The latest processes that ended otherwise than normally.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeathsView {
    /// Processes that ended since the start, normally or not.
    pub ended: u64,
    /// The latest abnormal ends, oldest first.
    pub latest: Vec<DeathView>,
}

/// A process that ended otherwise than normally.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeathView {
    /// When.
    pub at_ms: u64,
    /// Who.
    pub pid: String,
    /// Why.
    pub why: String,
}

/// A line that a process wrote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogView {
    /// Counted from 1; a gap means that lines were dropped.
    pub number: u64,
    /// When.
    pub at_ms: u64,
    /// Who.
    pub pid: String,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// What.
    pub text: String,
}

/// The node has begun to stop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoppingView {
    /// Always true.
    pub stopping: bool,
}

impl From<ProcessDetails> for ProcessView {
    fn from(details: ProcessDetails) -> Self {
        let ProcessDetails { info, footprint, cpu_ns, shard } = details;
        let waits = footprint.is_some_and(|f| f.hibernates) && info.standing == Standing::Waiting;
        Self {
            pid: info.pid.to_string(),
            names: info.names,
            module: info.program,
            entry: info.entry,
            kind: if info.is_server { "server" } else { "process" }.into(),
            state: if waits { "hibernates" } else { state(info.standing) }.into(),
            mailbox: info.mailbox,
            mailbox_bytes: info.mailbox_bytes,
            memory_bytes: footprint.map(|f| f.bytes),
            cpu_us: cpu_ns / 1_000,
            shard,
            parent: info.parent.map(|pid| pid.to_string()),
            links: texts(&info.links),
            watchers: texts(&info.watchers),
            watching: texts(&info.watching),
            trap_exit: info.trap_exit,
            upgrade_pending: info.upgrade_pending,
            counts: info.counts.into(),
        }
    }
}

fn texts<T: ToString>(list: &[T]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

fn state(standing: Standing) -> &'static str {
    match standing {
        Standing::Running => "running",
        Standing::Runnable => "runnable",
        Standing::Waiting => "waiting",
        Standing::Held(Hold::BackPressure) => "back_pressure",
        Standing::Held(Hold::Frozen) => "frozen",
        Standing::Held(Hold::InDoubt) => "in_doubt",
        Standing::Held(Hold::Parked) => "parked",
        Standing::Held(Hold::Quarantined) => "quarantined",
    }
}

impl From<Counts> for CountsView {
    fn from(counts: Counts) -> Self {
        let Counts { polls, received, sent, refused, late, upgrades, rollbacks } = counts;
        Self { polls, received, sent, refused, late, upgrades, rollbacks }
    }
}

impl From<&Schema> for TypeView {
    fn from(schema: &Schema) -> Self {
        Self { name: schema.name(), declaration: schema.to_string(), examples: examples(schema) }
    }
}

/// What processes of an entry take, for `send` and `call`.
pub fn takes(entry: &Entry) -> Vec<TakesView> {
    let of = |class: &str, schema: &Schema| {
        let of = TypeView::from(schema);
        let is_asked = |example: &&Value| class == "call" || is_answered(schema, example);
        TakesView { class: class.into(), asks: of.examples.iter().filter(is_asked).cloned().collect(), of }
    };
    let called = entry.call.iter().map(|schema| ("call", schema));
    let cast = entry.cast.iter().map(|schema| ("cast", schema));
    let sent = entry.accepts.iter().map(|schema| ("message", schema));
    called.chain(cast).chain(sent).filter(|(_, schema)| has_values(schema)).map(|(c, schema)| of(c, schema)).collect()
}

/// Whether a message has exactly one place for the address that an answer goes to.
fn is_answered(schema: &Schema, message: &Value) -> bool {
    let somebody = (Pid::default(), Ref::new(1, 1));
    from_json_with(schema, message, Some(somebody)).is_ok_and(|(_, places)| places == 1)
}

impl TakesView {
    /// Examples for `call`, or else for `send`.
    pub fn examples_to(&self, call: bool) -> Vec<Value> {
        if call {
            self.asks.clone()
        } else {
            self.of.examples.iter().filter(|e| !self.asks.contains(e)).cloned().collect()
        }
    }
}

/// Whether a type has values at all; a server without calls takes an enum without variants.
fn has_values(schema: &Schema) -> bool {
    let neurath_proto::schema::Type::Named(index) = &schema.root else { return true };
    !matches!(schema.defs.get(*index as usize).map(|def| &def.kind), Some(DefKind::Enum(variants)) if variants.is_empty())
}

impl From<&Entry> for EntryView {
    fn from(entry: &Entry) -> Self {
        Self {
            name: entry.name.clone(),
            path: entry.path.clone(),
            kind: match entry.kind {
                EntryKind::Process => "process",
                EntryKind::Server => "server",
                EntryKind::Function => "function",
            }
            .into(),
            argument_names: entry.argument_names.clone(),
            arguments: (&entry.arguments).into(),
            state: (&entry.state).into(),
            takes: takes(entry),
            reply: entry.reply.as_ref().filter(|schema| has_values(schema)).map(Into::into),
        }
    }
}

impl From<&Converter> for ConverterView {
    fn from(converter: &Converter) -> Self {
        let Converter { name, entry, from, to } = converter;
        Self { name: name.clone(), entry: entry.clone(), from: from.into(), to: to.into() }
    }
}

impl From<&ModuleInfo> for ModuleView {
    fn from(info: &ModuleInfo) -> Self {
        Self {
            module: format!("{}@{}", info.package, info.version),
            name: info.package.clone(),
            version: info.version.clone(),
            hash: info.hash.iter().map(|byte| format!("{byte:02x}")).collect(),
            size_bytes: info.size,
            current: info.current,
            processes: info.processes,
            holders: info.loaded.as_ref().map(|loaded| loaded.holders),
        }
    }
}

impl ModuleInfoView {
    /// A version with its manifest.
    pub fn new(module: ModuleView, manifest: &Manifest) -> Self {
        Self {
            module,
            sdk: manifest.sdk.clone(),
            entries: manifest.entries.iter().map(Into::into).collect(),
            converters: manifest.converters.iter().map(Into::into).collect(),
        }
    }
}

impl UpgradeView {
    /// A report, of a plan or of what was done.
    pub fn new(report: UpgradeReport, dry_run: bool) -> Self {
        let UpgradeReport { package, from, to, plan, warnings, committed, rolled_back, on_their_own, current, took } =
            report;
        Self {
            name: package,
            from,
            to,
            dry_run,
            plan,
            warnings,
            committed: texts(&committed),
            rolled_back: rolled_back
                .into_iter()
                .map(|(pid, why)| RolledBackView { pid: pid.to_string(), why })
                .collect(),
            on_their_own: texts(&on_their_own),
            current,
            took_us: took.as_micros() as u64,
        }
    }
}

impl From<UpgradeEvent> for UpgradeEventView {
    fn from(event: UpgradeEvent) -> Self {
        let UpgradeEvent { at_ms, pid, from, to, result, took_us } = event;
        let outcome = if result.is_ok() { "committed" } else { "rolled_back" }.into();
        Self { at_ms, pid: pid.to_string(), from, to, outcome, why: result.err(), took_us }
    }
}

impl From<Death> for DeathView {
    fn from(death: Death) -> Self {
        let Death { at_ms, pid, reason } = death;
        Self { at_ms, pid: pid.to_string(), why: why(&reason) }
    }
}

/// A reason in words; one of a program's own type with its value.
fn why(reason: &ExitReason) -> String {
    let shown = match reason {
        ExitReason::Custom { schema, value, .. } => {
            Schema::decode(schema).ok().and_then(|schema| to_json(&schema, value).ok())
        }
        _ => None,
    };
    match (reason, shown) {
        (ExitReason::Custom { type_name, .. }, Some(value)) => format!("{type_name}: {value}"),
        _ => reason.to_string(),
    }
}

impl From<LogLine> for LogView {
    fn from(line: LogLine) -> Self {
        let LogLine { number, at_ms, pid, level, text } = line;
        let level = ["error", "warn", "info", "debug", "trace"][(level.clamp(1, 5) - 1) as usize].into();
        Self { number, at_ms, pid: pid.to_string(), level, text }
    }
}
