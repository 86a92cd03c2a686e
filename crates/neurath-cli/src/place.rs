//! The node that a command is about: by its data directory, or over the network as an operator.

use std::path::PathBuf;

use clap::Args;
use neurath_node::Operator;
use neurath_node::api::Client;

use crate::failure::Failure;

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
}

impl Place {
    /// The data directory, for a command that cannot do without it.
    pub(crate) fn own_dir(&self, command: &str) -> Result<PathBuf, Failure> {
        let other = [
            ("--as", "NEURATH_AS", self.operator.is_some()),
            ("--at", "NEURATH_AT", self.at.is_some()),
            ("--on", "NEURATH_ON", self.on.is_some()),
        ];
        if let Some((option, variable, _)) = other.iter().find(|(.., given)| *given) {
            return Err(Failure::usage(format!("`{command}` is about a data directory on this machine"))
                .help(format!("leave out `{option}` and {variable}, and name the directory with `--data DIR`")));
        }
        self.dir()
    }

    /// The data directory.
    fn dir(&self) -> Result<PathBuf, Failure> {
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

    /// Speaks to the node.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let client = match (&self.operator, &self.at) {
            (Some(file), at) => {
                let operator = Operator::read(file).map_err(Failure::new)?;
                if let Some(at) = at.as_ref().filter(|at| !at.contains(':')) {
                    return Err(Failure::usage(format!("`{at}` is no address: it has no port"))
                        .help("one looks like `node1.example.org:7700`; `--on NODE` names a node"));
                }
                Client::of_operator(operator, at.clone())
            }
            (None, Some(at)) => {
                return Err(Failure::usage(format!("only an operator is let in at `{at}`")).help(
                    "add `--as FILE`: `neurath cluster operator NAME` makes such a file where the cluster's authority is",
                ));
            }
            (None, None) => Client::of_data(&self.dir()?),
        };
        match &self.on {
            Some(node) => client.on(node).ok_or_else(|| {
                Failure::usage("the name of the node has characters that no name has")
                    .help("`neurath nodes` lists them")
            }),
            None => Ok(client),
        }
    }
}

fn default_dir() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")))?;
    Some(data.join("neurath/default"))
}
