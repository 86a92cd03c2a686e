//! The `neurath` command. It reads its arguments and gives its exit code; [`commands`] does the work.

mod arguments;
mod build;
mod commands;
mod failure;
mod log;
mod output;
mod place;
mod show;
mod table;
mod value;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use crate::arguments::Arguments;
use crate::place::Typed;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let matches = Arguments::command().get_matches();
    output::set_up();
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match commands::run(arguments, &Typed::of(&matches)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
