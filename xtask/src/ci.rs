//! What continuous integration runs, each step timed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use crate::setup::Needs;
use crate::shell::Shell;
use crate::{fuzz, guests, setup, tidy};

/// A step's name, and what it does.
type Step = (&'static str, fn(&Shell) -> Result<()>);

/// The quick ones come first.
const STEPS: [Step; 6] = [
    ("fmt", fmt),
    ("tidy", tidy::run),
    ("clippy", clippy),
    ("test", |shell| test(shell, &[])),
    ("fuzz", |shell| fuzz::all(shell, fuzz::SECONDS)),
    ("docs", docs),
];

pub(crate) fn run(shell: &Shell) -> Result<()> {
    let mut table: Vec<(&str, Duration, bool)> = Vec::new();
    let mut outcome = Ok(());
    for (name, step) in STEPS {
        eprintln!("\n== {name}");
        let started = Instant::now();
        let result = step(shell);
        table.push((name, started.elapsed(), result.is_ok()));
        if let Err(error) = result {
            eprintln!("error: {error:#}");
            outcome = Err(anyhow!("ci fails at step `{name}`"));
            break;
        }
    }
    eprintln!("\n{:<8}{:>10}", "step", "seconds");
    for (name, took, good) in &table {
        eprintln!("{name:<8}{:>10.1}  {}", took.as_secs_f64(), if *good { "ok" } else { "FAILED" });
    }
    outcome
}

fn fmt(shell: &Shell) -> Result<()> {
    shell.run(&mut shell.cargo("fmt --all --check"))?;
    for manifest in guests::workspaces(shell)? {
        shell.run(shell.cargo("fmt --all --check --manifest-path").arg(manifest))?;
    }
    Ok(())
}

fn clippy(shell: &Shell) -> Result<()> {
    shell.run(&mut shell.cargo("clippy --workspace --all-targets --release -- -D warnings"))?;
    for manifest in guests::workspaces(shell)? {
        shell.run(
            shell
                .cargo("clippy --workspace --all-targets --release --manifest-path")
                .arg(manifest)
                .env("CARGO_TARGET_DIR", shell.target().join("programs-on-host"))
                .args(["--", "-D", "warnings"]),
        )?;
    }
    Ok(())
}

/// All tests; with arguments, only those that they choose.
pub(crate) fn test(shell: &Shell, arguments: &[String]) -> Result<()> {
    setup::run(shell, Needs { toolchain: true, nextest: true, ..Needs::default() })?;
    guests::build(shell)?;
    if setup::has_nextest(shell) {
        shell.run(shell.cargo("nextest run --release --workspace --no-fail-fast").args(arguments))?;
    } else {
        shell.run(shell.cargo("test --release --workspace --lib --bins --tests --no-fail-fast").args(arguments))?;
    }
    if arguments.is_empty() {
        shell.run(&mut shell.cargo("test --release --workspace --doc")).context("examples in the documentation")?;
    }
    Ok(())
}

fn docs(shell: &Shell) -> Result<()> {
    // Libraries only: the binary `neurath` would be written over the library of the same name.
    shell.run(shell.cargo("doc --no-deps --workspace --lib --release").env("RUSTDOCFLAGS", "-Dwarnings"))
}
