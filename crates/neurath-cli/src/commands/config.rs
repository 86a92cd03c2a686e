//! `neurath config`: the configuration file, with every default; and whether one is right.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::Args;
use neurath_node::Settings;
use neurath_node::config::{ConfigError, default_file, read};

use crate::failure::Failure;
use crate::output::{note, print};

/// The file that a node reads in its data directory if it is not told another.
const FILE: &str = "neurath.toml";

/// A file of settings is never so long.
const BYTES_MAX: u64 = 1 << 20;

/// Print a configuration file with every setting at its default, or check one
#[derive(Args, Debug)]
#[command(
    after_help = "A node reads `neurath.toml` in its data directory, or what `neurath node --config FILE` names.\n\n\
                  Examples:\n  neurath config > neurath.toml\n  neurath config --check neurath.toml"
)]
pub(crate) struct Arguments {
    /// Look for mistakes in this file
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.check {
        None => print(default_file().trim_end()),
        Some(path) => {
            settings(Path::new(""), Some(&path))?;
            note(format!("{} is right", path.display()));
        }
    }
    Ok(())
}

/// The settings of a node on this data directory.
pub(crate) fn settings(data: &Path, named: Option<&Path>) -> Result<Settings, Failure> {
    let path = named.map_or_else(|| data.join(FILE), Path::to_owned);
    let text = match std::fs::metadata(&path) {
        // What is wrong with the data directory itself is said by whoever makes it.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) && named.is_none() => {
            return Ok(Settings::new(data));
        }
        Ok(found) if found.len() > BYTES_MAX => {
            return Err(Failure::new(format!("{} has {} bytes: it is no configuration", path.display(), found.len())));
        }
        Err(error) => Err(error),
        Ok(_) => std::fs::read_to_string(&path),
    };
    let text = text.map_err(|error| {
        Failure::new(format!("the configuration {} cannot be read: {error}", path.display()))
            .help("`neurath config` prints one with every default")
    })?;
    read(&text, data).map_err(|errors| refused(&path, &errors))
}

fn refused(path: &Path, errors: &[ConfigError]) -> Failure {
    const SHOWN: usize = 10;
    let mut lines: Vec<_> = errors.iter().take(SHOWN).map(|error| line(path, error)).collect();
    if errors.len() > SHOWN {
        lines.push(format!("and {} more", errors.len() - SHOWN));
    }
    Failure::new(lines.join("\n")).help("`neurath config` prints every setting with its default")
}

fn line(path: &Path, error: &ConfigError) -> String {
    let hint = error.hint.as_ref().map(|hint| format!(" ({})", hint.trim_end_matches('.'))).unwrap_or_default();
    format!("{}:{error}{hint}", path.display())
}
