//! The command behind `cargo xtask sim`: runs scenarios from seeds and prints how to replay what fails.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use neurath_sim::check::Counts;
use neurath_sim::{Failure, Report, Scenario, run};

struct Arguments {
    scenarios: Vec<Scenario>,
    first: u64,
    seeds: u64,
}

fn main() -> ExitCode {
    let arguments = match arguments(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("error: {error}\nusage: [--scenario session|fairness|all] [--seeds N] [--seed FIRST]");
            return ExitCode::from(2);
        }
    };
    let mut failed = false;
    for scenario in arguments.scenarios {
        failed |= !simulate(scenario, arguments.first, arguments.seeds);
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn arguments(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let (mut scenarios, mut first, mut seeds) = (Scenario::ALL.to_vec(), None, None);
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} wants a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{word} wants a number, not {value:?}"));
        match word.as_str() {
            "--seeds" => seeds = Some(number()?),
            "--seed" => first = Some(number()?),
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
    Ok(Arguments { scenarios, first: first.unwrap_or(1), seeds })
}

/// Runs the seeds on all cores; whether all kept their promises.
fn simulate(scenario: Scenario, first: u64, seeds: u64) -> bool {
    let next = AtomicU64::new(0);
    let failures = Mutex::new(Vec::new());
    let total = Mutex::new(Report::default());
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= seeds || failures.lock().is_ok_and(|failures| failures.len() >= 5) {
                return;
            }
            let seed = first.wrapping_add(index);
            let result = catch_unwind(AssertUnwindSafe(|| run(scenario, seed)))
                .unwrap_or_else(|_| Err(Failure { scenario, seed, what: "a panic, see above".into() }));
            match result {
                Ok(report) => {
                    if let Ok(mut total) = total.lock() {
                        total.counts.add(&report.counts);
                        total.faults += report.faults;
                        total.small_max_ns = total.small_max_ns.max(report.small_max_ns);
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
    failures.sort_by_key(|failure| failure.seed);
    for failure in &failures {
        println!("FAILED {failure}\n");
    }
    if failures.is_empty() {
        println!("{}: {seeds} seeds from {first} kept all promises", scenario.name());
        print(&total);
    }
    failures.is_empty()
}

fn print(report: &Report) {
    let Report { counts, faults, small_max_ns } = *report;
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
    } = counts;
    println!(
        "  {sent} messages sent, {delivered} delivered; {unconfirmed} unconfirmed, of which {unconfirmed_delivered} had arrived"
    );
    println!(
        "  {faults} faults; {opened} associations opened; ended: {grace_over} grace over, {restarted} peer restarted, {peer_ended} peer ended, {unreachable} unreachable"
    );
    println!("  {full} times senders were held back; slowest small message {:.1} ms", small_max_ns as f64 / 1e6);
}
