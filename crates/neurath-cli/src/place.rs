//! The node that a command is about: by its data directory, or over the network as an operator.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args};
use neurath_code::store;
use neurath_node::api::{Client, Patience, Silence};
use neurath_node::{Operator, check_address};

use crate::failure::{Failure, quoted};
use crate::output::note;
use crate::value;

/// After so long without an answer it is told that there is none.
const TELL_AFTER: Duration = Duration::from_secs(5);

/// Which node.
#[derive(Args, Clone, Debug)]
pub(crate) struct Place {
    /// The node's data directory [default: neurath/default in the user's data directory]
    #[arg(long, value_name = "DIR", env = "NEURATH_DATA", hide_env_values = true, global = true)]
    pub(crate) data: Option<PathBuf>,
    /// Speak over the network, as the operator of this file, which `neurath cluster operator` makes; `--data` is not used
    #[arg(long = "as", value_name = "FILE", env = "NEURATH_AS", hide_env_values = true, global = true)]
    pub(crate) operator: Option<PathBuf>,
    /// With --as: to the node at this address, like `10.0.0.2:7700` [default: the one in the file]
    #[arg(long, value_name = "HOST:PORT", env = "NEURATH_AT", hide_env_values = true, global = true)]
    pub(crate) at: Option<String>,
    /// The node of the cluster that the command is for, by name or id; the one that is asked passes it on
    #[arg(long, value_name = "NODE", env = "NEURATH_ON", hide_env_values = true, global = true)]
    pub(crate) on: Option<String>,
    /// How long to wait for a node that does not answer; calls, upgrades and what else is work may take longer
    #[arg(long, value_name = "TIME", env = "NEURATH_ANSWER_WITHIN", hide_env_values = true, global = true)]
    #[arg(default_value = "30s", value_parser = value::duration)]
    pub(crate) answer_within: Duration,
}

/// Which options about other nodes were typed: what the environment says is for other commands, too.
pub(crate) struct Typed(Option<&'static str>);

impl Typed {
    pub(crate) fn of(matches: &ArgMatches) -> Self {
        let typed = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
        let options = [("operator", "--as"), ("at", "--at"), ("on", "--on")];
        Self(options.into_iter().find(|(id, _)| typed(id)).map(|(_, option)| option))
    }

    /// For a command that asks no node: none may be meant.
    pub(crate) fn no_node(&self, command: &str) -> Result<(), Failure> {
        match self.0 {
            Some(option) => {
                Err(Failure::usage(format!("`{command}` asks no node")).help(format!("leave out `{option}`")))
            }
            None => Ok(()),
        }
    }
}

impl Place {
    /// The data directory, for a command that cannot do without it.
    pub(crate) fn own_dir(&self, command: &str) -> Result<PathBuf, Failure> {
        self.stays_here(command)?;
        self.dir()
    }

    /// For a command about a data directory: no other node may be meant.
    pub(crate) fn stays_here(&self, command: &str) -> Result<(), Failure> {
        let other = [
            ("--as", "NEURATH_AS", self.operator.is_some()),
            ("--at", "NEURATH_AT", self.at.is_some()),
            ("--on", "NEURATH_ON", self.on.is_some()),
        ];
        if let Some((option, variable, _)) = other.iter().find(|(.., given)| *given) {
            return Err(Failure::usage(format!("`{command}` is about a data directory on this machine"))
                .help(format!("leave out `{option}` and {variable}, and name the directory with `--data DIR`")));
        }
        Ok(())
    }

    /// The data directory.
    pub(crate) fn dir(&self) -> Result<PathBuf, Failure> {
        match &self.data {
            Some(data) if data.as_os_str().is_empty() => Err(Failure::usage("the data directory has an empty name")
                .help("give `--data` a directory, or unset NEURATH_DATA")),
            Some(data) => std::path::absolute(data)
                .map_err(|error| Failure::usage(format!("the data directory {}: {error}", data.display()))),
            None => default_dir().ok_or_else(|| {
                Failure::usage("there is no data directory: neither XDG_DATA_HOME nor HOME is an absolute path")
                    .help("name one with `--data DIR` or in NEURATH_DATA")
            }),
        }
    }

    /// Waits as long as it was told to; that there is no answer yet goes to `tell`.
    pub(crate) fn patience(&self, tell: impl Fn(&Silence) + Send + Sync + 'static) -> Patience {
        let answer_within = self.answer_within;
        Patience { answer_within, tell_after: TELL_AFTER.min(answer_within / 2), tell: Arc::new(tell) }
    }

    /// Speaks to the node.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let client = match (&self.operator, &self.at) {
            (Some(file), at) => {
                let operator = Operator::read(file).map_err(Failure::new)?;
                if let Some(at) = at
                    && let Err(why) = check_address(at)
                {
                    return Err(Failure::usage(format!("`{at}` is no address: {why}"))
                        .help("one looks like `node1.example.org:7700`; `--on NODE` names a node"));
                }
                warn_if_shared(file);
                Client::of_operator(operator, at.clone())
            }
            (None, Some(at)) => {
                return Err(Failure::usage(format!("only an operator is let in at `{at}`")).help(
                    "add `--as FILE`: `neurath cluster operator NAME` makes such a file where the cluster's authority is",
                ));
            }
            (None, None) => Client::of_data(&self.dir()?),
        };
        let client = client.with_patience(self.patience(|silence| note(waiting(silence))));
        match &self.on {
            Some(node) => client.on(node).ok_or_else(|| {
                Failure::usage("the name of the node has characters that no name has")
                    .help("`neurath nodes` lists them")
            }),
            None => Ok(client),
        }
    }
}

/// Whoever has an operator's file may do everything: others should not have it.
fn warn_if_shared(file: &Path) {
    if std::fs::metadata(file).is_ok_and(|found| found.mode() & 0o077 != 0) {
        let file = file.display().to_string();
        note(format!(
            "warning: other users of this machine may open {file}, and with its key do everything: chmod 600 {}",
            quoted(&file)
        ));
    }
}

/// What is told of a node that has not answered yet.
fn waiting(silence: &Silence) -> String {
    match silence.may_be_long {
        true => format!("{silence}; what it was asked may take its time: waiting, Ctrl-C ends that"),
        false => format!("{silence}; is it stopped? waiting{}", process_of(silence.data.as_deref())),
    }
}

/// How to look at the process that has a data directory, and wake it.
pub(crate) fn process_of(data: Option<&Path>) -> String {
    let process = data.and_then(|data| store::holder(&data.join("store")));
    process.map(|process| format!(" (`kill -CONT {process}` lets it go on)")).unwrap_or_default()
}

fn default_dir() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")))?;
    Some(data.join("neurath/default"))
}
