//! `neurath demo`: the main job.

use std::path::PathBuf;

use clap::Args;

use crate::failure::Failure;

/// Upgrade a counter and a ping-pong under load, and count what was lost
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  neurath demo\n  neurath demo --seconds 10 --json demo.json")]
pub(crate) struct Arguments {
    /// Write the result as one JSON object to a file, or without FILE to standard output
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<PathBuf>,
    /// How long clients ask
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { json, seconds } = arguments;
    let _ = (json, seconds);
    Err(Failure::new("the demo is not in this build"))
}
