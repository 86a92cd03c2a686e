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

use clap::Parser;

use crate::arguments::Arguments;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    output::set_up();
    match commands::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
