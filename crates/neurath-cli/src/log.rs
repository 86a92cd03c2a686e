//! What goes to standard error while a command runs: the node's events, and if wanted the lines of its processes.
//!
//! Invariant: a reader of standard error that stops reading holds up no process; lines that it misses are counted.

use clap::ValueEnum;
use neurath_node::config::{LogFormat, LogLevel, LogSettings};
use neurath_node::{LogLine, Node};
use tokio::sync::broadcast::error::RecvError;
use tracing_subscriber::EnvFilter;

use crate::failure::Failure;
use crate::output::clean;

/// See `--log-format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Lines for people
    Text,
    /// One JSON object a line
    Json,
}

impl From<Format> for LogFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Text => Self::Text,
            Format::Json => Self::Json,
        }
    }
}

/// See `--log-level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl From<Level> for LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Off => Self::Off,
            Level::Error => Self::Error,
            Level::Warn => Self::Warn,
            Level::Info => Self::Info,
            Level::Debug => Self::Debug,
            Level::Trace => Self::Trace,
        }
    }
}

/// What a node in the foreground tells: as much as `--log-level` says, or NEURATH_LOG, or the configuration.
pub(crate) fn of_node(settings: &mut LogSettings, level: Option<Level>) -> Result<(), Failure> {
    let from_environment = if level.is_none() { environment()? } else { None };
    settings.level = level.map_or(settings.level, Into::into);
    // Of what is not ours only what went wrong.
    let others = settings.level.min(LogLevel::Warn);
    let filter = from_environment.unwrap_or_else(|| EnvFilter::new(format!("{others},neurath={}", settings.level)));
    let filter = match settings.processes {
        LogLevel::Off => filter,
        level => filter.add_directive(format!("{PROCESS}={level}").parse().map_err(Failure::new)?),
    };
    begin(settings.format, filter);
    Ok(())
}

/// What a command with a node of its own tells: little, unless NEURATH_LOG says more.
pub(crate) fn quietly(level: &str) -> Result<(), Failure> {
    begin(LogFormat::Text, environment()?.unwrap_or_else(|| EnvFilter::new(level)));
    Ok(())
}

fn environment() -> Result<Option<EnvFilter>, Failure> {
    let Ok(text) = std::env::var("NEURATH_LOG") else { return Ok(None) };
    let filter = EnvFilter::try_new(&text);
    filter
        .map(Some)
        .map_err(|error| Failure::usage(format!("NEURATH_LOG is `{text}`: {error}")).help("for example `info`"))
}

fn begin(format: LogFormat, filter: EnvFilter) {
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.with_ansi(console::colors_enabled_stderr()).init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// What lines of processes are filtered by.
const PROCESS: &str = "process";

/// Tells the lines of a node's processes from now on, in a thread of their own.
pub(crate) fn processes(node: &Node, level: LogLevel) -> Result<(), Failure> {
    if level == LogLevel::Off {
        return Ok(());
    }
    let mut lines = node.logs().follow();
    let follow = move || {
        loop {
            match lines.blocking_recv() {
                Ok(line) => tell(&line),
                Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "lines of processes were left out"),
                Err(RecvError::Closed) => return,
            }
        }
    };
    let thread = std::thread::Builder::new().name("lines".into()).spawn(follow);
    thread.map(drop).map_err(|error| Failure::new(format!("no thread could be started: {error}")))
}

fn tell(line: &LogLine) {
    let LogLine { number, pid, level, text, .. } = line;
    let text = clean(text);
    match level {
        1 => tracing::error!(target: PROCESS, %pid, number, "{text}"),
        2 => tracing::warn!(target: PROCESS, %pid, number, "{text}"),
        3 => tracing::info!(target: PROCESS, %pid, number, "{text}"),
        4 => tracing::debug!(target: PROCESS, %pid, number, "{text}"),
        _ => tracing::trace!(target: PROCESS, %pid, number, "{text}"),
    }
}
