//! `neurath-bench`: measures a node as an embedder has it, and Erlang/OTP beside it, in turn.
//!
//! Each sample is taken in a process of its own: `neurath-bench ours TASK …` on our side, `erl` running
//! `bench/erlang/bench.erl` on the other. Both print lines `key value`; [`report`] makes rows of them.
//! Invariant: both sides get the same task with the same size, and neither runs while the other is measured.

mod beams;
mod machine;
mod ours;
mod report;
mod sides;
mod tasks;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};

use crate::report::Report;
use crate::sides::{Side, Sides};
use crate::tasks::{ROWS, Row, TASKS};

/// Measures Neurath, and Erlang/OTP beside it
#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench", args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(flatten)]
    compare: Compare,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Args)]
struct Compare {
    /// Only these rows, for example `ring,spawn_exit`
    #[arg(long, value_delimiter = ',', value_name = "ROWS")]
    rows: Vec<String>,
    /// How often the two sides take turns; the result is the median
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// One round of small sizes: whether it works, not how fast it is
    #[arg(long)]
    quick: bool,
    /// Keep both sides on this core
    #[arg(long, value_name = "CORE")]
    pin: Option<u32>,
    /// Also write the rows to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Print the table as Markdown
    #[arg(long)]
    markdown: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Measure our side of one task in this process, for a profiler
    Ours {
        /// Its name in `bench/src/tasks.rs`
        task: String,
        /// How many of whatever it is
        size: u64,
        /// How often
        repeats: u32,
        /// The node's data directory, with what was compiled before; otherwise a new one
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
        /// Tell `perf` the names of guests' functions
        #[arg(long)]
        perf_map: bool,
    },
    /// Be another node, as tasks of several nodes start it
    #[command(hide = true)]
    Node(ours::Other),
}

fn main() -> ExitCode {
    let Arguments { compare, command } = Arguments::parse();
    let done = match command {
        Some(Command::Ours { task, size, repeats, data, perf_map }) => ours::run(&task, size, repeats, data, perf_map),
        Some(Command::Node(other)) => ours::be(other),
        None => run(&compare),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(compare: &Compare) -> Result<()> {
    let rows = chosen(&compare.rows)?;
    let mut sides = Sides::new(compare.pin)?;
    let machine = machine::describe(compare.pin);
    let rounds = if compare.quick { 1 } else { compare.rounds };
    let mut report = Report::new(machine);
    for task in TASKS.iter().filter(|task| rows.iter().any(|row| row.task == task.name)) {
        let size = if compare.quick { task.quick_size } else { task.size };
        let repeats = if compare.quick { 1 } else { task.repeats };
        for round in 1..=rounds {
            for side in [Side::Ours, Side::Peer] {
                eprintln!("bench: {} {size} × {repeats}, round {round} of {rounds}: {side}", task.name);
                let samples = sides.measure(side, task, size, repeats)?;
                report.add(side, task.name, samples);
            }
        }
        for row in rows.iter().filter(|row| row.task == task.name) {
            eprintln!("bench: {}", report.line(row)?);
        }
    }
    if let Some(path) = &compare.json {
        let json = serde_json::to_string_pretty(&report.json(&rows)?)? + "\n";
        std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    print!("{}", if compare.markdown { report.markdown(&rows)? } else { report.table(&rows)? });
    match report.wrong() {
        0 => Ok(()),
        wrong => bail!("{wrong} messages were lost or came twice on our side"),
    }
}

fn chosen(names: &[String]) -> Result<Vec<&'static Row>> {
    if names.is_empty() {
        return Ok(ROWS.iter().collect());
    }
    if let Some(unknown) = names.iter().find(|name| !ROWS.iter().any(|row| row.name == **name)) {
        let known: Vec<_> = ROWS.iter().map(|row| row.name).collect();
        bail!("there is no row `{unknown}`; there are: {}", known.join(", "));
    }
    Ok(ROWS.iter().filter(|row| names.iter().any(|name| name == row.name)).collect())
}
