//! `neurath upgrade`: replaces the code of running processes.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use neurath_node::api::Client;
use neurath_node::api::view::{LEFT_BEHIND, UpgradeRequest, UpgradeView};

use crate::build::{BuildArguments, is_path, module};
use crate::failure::Failure;
use crate::output::{Bar, clean, clean_below, dim, green, note, print, print_json, yellow};
use crate::place::Place;
use crate::show::{self, Pids};
use crate::value;

/// Replace the code of running processes
#[derive(Args, Debug)]
#[command(
    after_help = "Servers change between two of their messages; plain processes at their next `become_latest!`. If the \
                  state of any cannot be taken over, nothing is touched; a process whose change fails goes on with its \
                  old code, and then the exit code is 1.\n\nExamples:\n  neurath upgrade counter@2.0.0 --dry-run\n  \
                  neurath upgrade counter              to its newest installed version\n  \
                  neurath upgrade ./counter            build, install as a development version, upgrade"
)]
pub(crate) struct Arguments {
    /// `name`, `name@version`, digits of a hash; or a module's file or a crate's directory (with a `/`, or `.`)
    module: String,
    /// Only say what would happen
    #[arg(long)]
    dry_run: bool,
    /// How long to wait for servers that are in the middle of a message [default: as the node is set up]
    #[arg(long, value_name = "TIME", value_parser = value::duration)]
    patience: Option<Duration>,
    #[command(flatten)]
    build: BuildArguments,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments, place: &Place) -> Result<(), Failure> {
    let client = place.client()?;
    let node = client.node().await?;
    let report = carry_out(&client, &arguments).await?;
    if arguments.json {
        print_json(&report);
    } else {
        show(&report, &Pids::of(&node));
    }
    match report.rolled_back.len() {
        0 => Ok(()),
        went_on => {
            let failure = Failure::new(format!("{} went on with the old code", processes(went_on)));
            let late = report.rolled_back.iter().all(|rolled_back| rolled_back.why == LEFT_BEHIND);
            Err(failure.help(match late {
                true => "upgrade again with a longer `--patience`: a server changes only between two messages",
                false => "`neurath upgrades` says why; repair the new version and upgrade again",
            }))
        }
    }
}

async fn carry_out(client: &Client, arguments: &Arguments) -> Result<UpgradeView, Failure> {
    let mut reference = arguments.module.clone();
    if is_path(&reference) {
        let (wasm, source) = module(Path::new(&reference), &arguments.build).await?;
        if arguments.dry_run {
            return Ok(client.plan_upgrade(wasm).await?);
        }
        reference = client.install(wasm, true, Some(&source)).await?.module;
    }
    let patience_ms = arguments.patience.map(|patience| patience.as_millis() as u64);
    upgrade(client, &UpgradeRequest { module: reference, patience_ms, dry_run: arguments.dry_run }).await
}

/// Asks the node, with a bar.
async fn upgrade(client: &Client, request: &UpgradeRequest) -> Result<UpgradeView, Failure> {
    let bar = Bar::new(format!("upgrading to {}", request.module));
    Ok(client.upgrade(request, |done, total| bar.at(done, total, "servers")).await?)
}

fn processes(number: usize) -> String {
    show::count(number, "process", "processes")
}

fn show(report: &UpgradeView, pids: &Pids) {
    /// More of one kind are only counted.
    const NAMED_MAX: usize = 10;
    let from = report.from.as_deref().unwrap_or("nothing");
    let took = show::duration(Duration::from_micros(report.took_us));
    let verb = if report.dry_run { "would change" } else { "changed" };
    print(format!("{} -> {}  {}", clean(from), clean(&report.to), dim().apply_to(format!("in {took}"))));
    for line in &report.plan {
        print(format!("  {}", dim().apply_to(format!("plan: {}", clean(line)))));
    }
    for warning in &report.warnings {
        print(format!("  {} {}", yellow().apply_to("warning:"), clean_below(warning, 4)));
    }
    if !report.committed.is_empty() {
        print(format!("  {} {}", processes(report.committed.len()), green().apply_to(verb)));
    }
    for rolled_back in report.rolled_back.iter().take(NAMED_MAX) {
        let (pid, why) = (pids.short(&rolled_back.pid), clean_below(&rolled_back.why, 4));
        print(format!("  {} {}: {why}", pid, yellow().apply_to("went on with the old code")));
    }
    if report.rolled_back.len() > NAMED_MAX {
        print(format!("  and {} more", report.rolled_back.len() - NAMED_MAX));
    }
    if !report.on_their_own.is_empty() {
        let processes = show::count(report.on_their_own.len(), "process at its own", "processes at their own");
        print(format!("  {processes} `become_latest!`"));
    }
    match (report.dry_run, report.current) {
        (true, _) => note("nothing was changed: this was a dry run"),
        (false, true) => print(format!("  new processes run {}", clean(&report.to))),
        (false, false) => print(format!("  new processes run {}", clean(from))),
    }
}
