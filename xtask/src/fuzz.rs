//! Fuzzing: builds `neurath-fuzz` with coverage, which stable Rust can do, and gives each target its share of the time.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::shell::Shell;

/// What ci gives to all targets together.
pub(crate) const SECONDS: u64 = 60;

/// An input is no longer, one of them takes no longer, and the memory of all is no more.
const LIMITS: [&str; 3] = ["-max_len=20000", "-timeout=10", "-rss_limit_mb=1024"];

/// What the compiler does for the engine: it counts the edges that are taken and tells of comparisons.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions=on -Coverflow-checks=on -Ccodegen-units=1";

/// What is asked for.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// One target; without it all take turns
    target: Option<String>,
    /// How long, for all targets together
    #[arg(long, default_value_t = SECONDS)]
    seconds: u64,
    /// Give the target this file only, such as one in fuzz/crashes
    #[arg(long, requires = "target", value_name = "FILE")]
    input: Option<PathBuf>,
}

/// All targets, for so long together.
pub(crate) fn all(shell: &Shell, seconds: u64) -> Result<()> {
    run(shell, &Arguments { target: None, seconds, input: None })
}

pub(crate) fn run(shell: &Shell, arguments: &Arguments) -> Result<()> {
    let corpus = shell.root().join("fuzz/corpus");
    let mut targets: Vec<String> = fs::read_dir(&corpus)
        .with_context(|| format!("cannot read {}", corpus.display()))?
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .collect();
    targets.sort();
    if let Some(target) = &arguments.target {
        if !targets.contains(target) {
            bail!("there is no target {target}; there are {}", targets.join(", "));
        }
        targets = vec![target.clone()];
    }
    let engine = build(shell)?;
    if let (Some(target), Some(input)) = (&arguments.target, &arguments.input) {
        return shell.run(shell.program(&engine).env("NEURATH_FUZZ_TARGET", target).arg(input));
    }
    let seconds = (arguments.seconds / targets.len() as u64).max(1);
    for target in &targets {
        fuzz(shell, &engine, target, seconds)?;
    }
    Ok(())
}

fn build(shell: &Shell) -> Result<PathBuf> {
    if !["c++", "g++", "clang++"].iter().any(|compiler| shell.succeeds(shell.program(compiler).arg("--version"))) {
        bail!("fuzzing needs a C++ compiler, for its engine; on Debian: apt install g++");
    }
    let host = host(shell)?;
    // With a target named, the flags are not for what only runs while it is built.
    let target_dir = shell.target().join("fuzz");
    shell.run(
        shell
            .cargo("build --release --quiet --package neurath-fuzz --features engine --target")
            .arg(&host)
            .arg("--target-dir")
            .arg(&target_dir)
            .env("RUSTFLAGS", COVERAGE),
    )?;
    Ok(target_dir.join(host).join("release/neurath-fuzz"))
}

fn host(shell: &Shell) -> Result<String> {
    let output = shell.program("rustc").arg("-vV").output().context("cannot run rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc does not say what it compiles for")
}

/// What was found so far, which stays on this machine.
fn found(shell: &Shell, target: &str) -> PathBuf {
    shell.target().join("fuzz/found").join(target)
}

fn fuzz(shell: &Shell, engine: &Path, target: &str, seconds: u64) -> Result<()> {
    let (corpus, crashes) = (shell.root().join("fuzz/corpus").join(target), shell.root().join("fuzz/crashes"));
    let found = found(shell, target);
    fs::create_dir_all(&found)?;
    fs::create_dir_all(&crashes)?;
    let log = found.with_extension("log");
    eprintln!("fuzzing {target} for {seconds} s");
    let status = shell
        .program(engine)
        .env("NEURATH_FUZZ_TARGET", target)
        .args(LIMITS)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/{target}-", crashes.display()))
        .arg("-print_final_stats=1")
        .args([&found, &corpus])
        .stderr(fs::File::create(&log)?)
        .status()
        .with_context(|| format!("cannot run {}", engine.display()))?;
    let text = fs::read_to_string(&log).unwrap_or_default();
    if status.success() {
        let runs = text.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
        eprintln!("  {} inputs, all kept the promises", runs.map_or("?", str::trim));
        return Ok(());
    }
    let input = text.lines().find_map(|line| line.split("Test unit written to ").nth(1)).map(Path::new);
    let panic: Vec<_> = text.lines().skip_while(|line| !line.contains("panicked at")).take(2).collect();
    eprintln!("{}", panic.join("\n"));
    match input.map(|input| input.strip_prefix(shell.root()).unwrap_or(input)) {
        Some(input) => {
            bail!("target {target} fails; replay: cargo xtask fuzz {target} --input {}", input.display())
        }
        None => bail!("target {target} ended ({status}); what it said is in {}", log.display()),
    }
}
