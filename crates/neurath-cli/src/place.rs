//! The data directory that a command is about.

use std::path::PathBuf;

use clap::Args;
use neurath_node::api::Client;

use crate::failure::Failure;

/// Which node.
#[derive(Args, Clone, Debug)]
pub(crate) struct Place {
    /// The node's data directory [default: neurath/default in the user's data directory]
    #[arg(long, value_name = "DIR", env = "NEURATH_DATA", hide_env_values = true, global = true)]
    pub(crate) data: Option<PathBuf>,
}

impl Place {
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

    /// Speaks to the node there.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        Ok(Client::of_data(&self.dir()?))
    }
}

fn default_dir() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")))?;
    Some(data.join("neurath/default"))
}
