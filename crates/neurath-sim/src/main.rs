//! The command behind `cargo xtask sim`: runs scenarios from seeds, makes what fails smaller, and prints how to replay it.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use neurath_sim::check::Counts;
use neurath_sim::check::members::MemberCounts;
use neurath_sim::check::processes::ProcessCounts;
use neurath_sim::shrink::shrink;
use neurath_sim::{Failure, Report, Run, Scenario, simulate};

const USAGE: &str = "[--scenario session|fairness|membership|hostile|processes|all] [--seeds N] [--seed FIRST] \
    [--faults N,N…|none] [--until MS]";
/// No run has more faults.
const FAULTS_MAX: u64 = 1 << 14;
/// Failures of one scenario after which no further seed is begun.
const FAILURES_MAX: usize = 5;

struct Arguments {
    scenarios: Vec<Scenario>,
    first: u64,
    seeds: u64,
    faults: Option<BTreeSet<u64>>,
    until_ms: Option<u64>,
}

impl Arguments {
    fn run(&self, scenario: Scenario, seed: u64) -> Run {
        Run { scenario, seed, faults: self.faults.clone(), until_ms: self.until_ms }
    }
}

fn main() -> ExitCode {
    let arguments = match arguments(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("error: {error}\nusage: {USAGE}");
            return ExitCode::from(2);
        }
    };
    let mut failed = false;
    for scenario in &arguments.scenarios {
        failed |= !run_all(*scenario, &arguments);
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn arguments(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let (mut scenarios, mut first, mut seeds) = (Scenario::ALL.to_vec(), None, None);
    let (mut faults, mut until_ms) = (None, None);
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} wants a value"))?;
        let read = |text: &str| text.parse::<u64>().map_err(|_| format!("{word} wants a number, not {text:?}"));
        match word.as_str() {
            "--seeds" => seeds = Some(read(&value)?),
            "--seed" => first = Some(read(&value)?),
            "--until" => until_ms = Some(read(&value)?),
            "--faults" if value == "none" => faults = Some(BTreeSet::new()),
            "--faults" => faults = Some(value.split(',').map(read).collect::<Result<_, _>>()?),
            "--scenario" if value == "all" => scenarios = Scenario::ALL.to_vec(),
            "--scenario" => {
                let found = Scenario::ALL.into_iter().find(|scenario| scenario.name() == value);
                scenarios = vec![found.ok_or_else(|| format!("there is no scenario {value:?}"))?];
            }
            _ => return Err(format!("{word} is no option")),
        }
    }
    // A seed alone is replayed alone.
    let seeds = seeds.unwrap_or(if first.is_some() { 1 } else { 1000 });
    Ok(Arguments { scenarios, first: first.unwrap_or(1), seeds, faults, until_ms })
}

/// One run; a panic is a failure too.
fn run_one(run: &Run) -> Result<Report, Failure> {
    catch_unwind(AssertUnwindSafe(|| simulate(run)))
        .unwrap_or_else(|_| Err(Failure { run: run.clone(), what: "a panic, see above".into() }))
}

/// Runs the seeds on all cores; whether all kept their promises.
fn run_all(scenario: Scenario, arguments: &Arguments) -> bool {
    let (first, seeds) = (arguments.first, arguments.seeds);
    let next = AtomicU64::new(0);
    let failures = Mutex::new(Vec::new());
    let total = Mutex::new(Report::default());
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= seeds || failures.lock().is_ok_and(|failures| failures.len() >= FAILURES_MAX) {
                return;
            }
            match run_one(&arguments.run(scenario, first.wrapping_add(index))) {
                Ok(report) => {
                    if let Ok(mut total) = total.lock() {
                        total.add(&report);
                    }
                }
                Err(failure) => {
                    if let Ok(mut failures) = failures.lock() {
                        failures.push(failure);
                    }
                }
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let (Ok(mut failures), Ok(total)) = (failures.into_inner(), total.into_inner()) else { return false };
    failures.sort_by_key(|failure| failure.run.seed);
    for failure in &failures {
        println!("FAILED {failure}\n");
    }
    let Some(failure) = failures.into_iter().next() else {
        println!("{}: {seeds} seeds from {first} kept all promises", scenario.name());
        print(scenario, &total);
        return true;
    };
    if arguments.faults.is_none() && arguments.until_ms.is_none() {
        println!("making the first one smaller …");
        let smallest = shrink(failure, FAULTS_MAX, |run| run_one(run).err());
        println!("SMALLEST {smallest}\n");
    }
    false
}

fn print(scenario: Scenario, report: &Report) {
    let Report { counts, members, processes, faults, small_max_ns } = *report;
    let Counts {
        sent,
        delivered,
        unconfirmed,
        unconfirmed_delivered,
        opened,
        grace_over,
        restarted,
        peer_ended,
        unreachable,
        full,
        violations,
        breaches,
    } = counts;
    if scenario == Scenario::Processes {
        print_processes(&processes);
    } else {
        println!(
            "  {sent} messages sent, {delivered} delivered; {unconfirmed} unconfirmed, of which {unconfirmed_delivered} had arrived"
        );
    }
    println!(
        "  {faults} faults; {opened} associations opened; ended: {grace_over} grace over, {restarted} peer restarted, {peer_ended} peer ended, {unreachable} unreachable, {violations} violations, {breaches} breaches"
    );
    println!("  {full} times senders were held back");
    if scenario == Scenario::Fairness {
        println!("  slowest small message {:.1} ms", small_max_ns as f64 / 1e6);
    }
    if members.up > 0 {
        let MemberCounts { up, changed, suspected, refuted, unreachable, falsely, left, restarted, rejoined } = members;
        println!(
            "  members: {up} up, {changed} changed, {suspected} suspected, {refuted} refuted; down: {unreachable} unreachable ({falsely} of them lived), {left} left, {restarted} restarted; {rejoined} rejoined"
        );
    }
}

fn print_processes(processes: &ProcessCounts) {
    let ProcessCounts {
        born,
        ended,
        crashed,
        sent,
        taken,
        given_back,
        refused,
        down,
        down_disconnected,
        down_nobody,
        exit,
        exit_disconnected,
        exit_nobody,
        node_down,
        answered,
        failed,
        held,
        killed,
        gave_up,
        joined,
        members,
        timed,
        cancelled,
        upgraded,
        rolled_back,
    } = processes;
    println!("  {born} processes started, {ended} ended ({killed} were told to), {crashed} crashed with their nodes");
    println!(
        "  {sent} messages sent, {taken} taken, {given_back} given back, {refused} refused to break a cycle; {held} times a sender was held"
    );
    println!(
        "  monitors: {down} fired for an end, {down_disconnected} disconnected, {down_nobody} for nobody, {node_down} of nodes"
    );
    println!("  links: {exit} fired for an end, {exit_disconnected} disconnected, {exit_nobody} for nobody");
    println!("  calls and questions: {answered} answered, {failed} failed, {gave_up} given up");
    println!(
        "  groups: joined {joined} times, {members} members elsewhere found; timers: {timed} fired, {cancelled} cancelled"
    );
    println!("  upgrades: {upgraded} done, {rolled_back} rolled back");
}
