//! The project's own commands: `cargo xtask setup|demo|test|sim|fuzz|ci|bench|tidy`.
//!
//! Each provides for itself what it needs, so that a newcomer types one command. It refuses to be needed by
//! users of Neurath: what they need is in the `neurath` binary.

mod bench;
mod ci;
mod fuzz;
mod guests;
mod setup;
mod shell;
mod sim;
mod tidy;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::setup::Needs;
use crate::shell::Shell;

/// Neurath's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find or install what building and testing need
    Setup {
        /// Also what the benchmarks compare with
        #[arg(long)]
        bench: bool,
    },
    /// Run the main job: programs upgraded under load with nothing lost
    Demo {
        /// Arguments of `neurath demo`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run all tests
    Test {
        /// Arguments of `cargo nextest run`, for example a test's name
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Simulate nodes in virtual time, from seeds, over a network that breaks
    Sim {
        /// `--scenario session|fairness|membership|hostile|processes|all`, `--seeds N`, `--seed FIRST`; a seed alone is replayed
        /// alone, and `--faults N,N…|none` and `--until MS` make less of it
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Give hostile bytes to every decoder, guided by coverage
    Fuzz(fuzz::Arguments),
    /// Run what continuous integration runs: fmt, tidy, clippy, test, fuzz, docs
    Ci,
    /// Measure, beside Erlang/OTP
    Bench {
        /// Arguments of the benchmarks
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Check the rules that no compiler checks
    Tidy,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    let shell = Shell::new()?;
    match command {
        Command::Setup { bench } => setup::run(&shell, Needs { toolchain: true, nextest: true, erlang: bench }),
        Command::Demo { arguments } => demo(&shell, &arguments),
        Command::Test { arguments } => ci::test(&shell, &arguments),
        Command::Sim { arguments } => sim::run(&shell, &arguments),
        Command::Fuzz(arguments) => fuzz::run(&shell, &arguments),
        Command::Ci => ci::run(&shell),
        Command::Bench { arguments } => bench::run(&shell, &arguments),
        Command::Tidy => tidy::run(&shell),
    }
}

fn demo(shell: &Shell, arguments: &[String]) -> Result<()> {
    setup::run(shell, Needs { toolchain: true, ..Needs::default() })?;
    guests::build(shell)?;
    shell.run(shell.program(shell.neurath()).arg("demo").args(arguments))
}
