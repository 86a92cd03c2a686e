//! The two sides: each task is carried out by a process of its own, whose output is read.
//!
//! It knows how they are started, and refuses to know what their figures mean.

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::beams::Beams;
use crate::tasks::Task;

/// The peer's sources. They are part of this binary, so that it runs anywhere.
const ERLANG: [(&str, &str); 4] = [
    ("bench.erl", include_str!("../erlang/bench.erl")),
    ("kernels.erl", include_str!("../erlang/kernels.erl")),
    ("remote.erl", include_str!("../erlang/remote.erl")),
    ("upgrade.erl", include_str!("../erlang/upgrade.erl")),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Ours,
    Peer,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Ours => "ours",
            Side::Peer => "Erlang",
        })
    }
}

/// Keys and values, in the order in which they were printed.
pub type Samples = Vec<(String, f64)>;

/// See the module.
pub struct Sides {
    pin: Option<u32>,
    ours: PathBuf,
    data: TempDir,
    beams: TempDir,
}

impl Sides {
    /// Compiles the peer's programs; both sides then run on this core only, if one is given.
    pub fn new(pin: Option<u32>) -> Result<Self> {
        let beams = tempfile::Builder::new().prefix("neurath-bench-erlang-").tempdir()?;
        for (name, source) in ERLANG {
            std::fs::write(beams.path().join(name), source)?;
        }
        let mut erlc = Command::new("erlc");
        erlc.current_dir(beams.path()).args(["-Wall", "-Werror"]).args(ERLANG.map(|(name, _)| name));
        let compiled = erlc.status().context("cannot run `erlc`: install Erlang, `cargo xtask setup --bench` does")?;
        if !compiled.success() {
            bail!("the programs in bench/erlang do not compile");
        }
        let data = tempfile::Builder::new().prefix("neurath-bench-").tempdir()?;
        Ok(Self { pin, ours: std::env::current_exe()?, data, beams })
    }

    /// Carries out one task on one side.
    pub fn measure(&mut self, side: Side, task: &Task, size: u64, repeats: u32) -> Result<Samples> {
        let pin = self.pin.or(task.one_core().then_some(0));
        let start = |program: &OsStr| command(program, pin);
        // They end with this.
        let mut others = None;
        let mut command = match side {
            Side::Ours => start(self.ours.as_os_str()),
            Side::Peer => {
                let mut erlang = start("erl".as_ref());
                if !task.others().is_empty() {
                    let beams = others.insert(Beams::new(self.beams.path(), task.tls())?);
                    for name in task.others() {
                        beams.start(name, start("erl".as_ref()))?;
                    }
                    beams.configure("a", &mut erlang);
                }
                erlang.current_dir(self.beams.path()).env("ERL_CRASH_DUMP", "/dev/null");
                erlang
            }
        };
        let task = [task.name.to_owned(), size.to_string(), repeats.to_string()];
        match side {
            Side::Ours => command.arg("ours").args(&task).arg("--data").arg(self.data.path()),
            Side::Peer => command.args(["-noshell", "-s", "bench", "main"]).args(&task),
        };
        let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
        let output = output.with_context(|| format!("cannot run {:?}", command.get_program()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            bail!("{side}, {}: {}\n{}", task.join(" "), output.status, text.trim_end());
        }
        let sample = |line: &str| {
            let (key, value) = line.split_once(' ')?;
            Some((key.to_owned(), value.parse().ok()?))
        };
        let samples: Option<Samples> = text.lines().map(sample).collect();
        samples.with_context(|| format!("{side}, {}: this is no list of samples:\n{text}", task.join(" ")))
    }
}

/// The program, kept on a core if one is given.
fn command(program: &OsStr, pin: Option<u32>) -> Command {
    let Some(core) = pin else { return Command::new(program) };
    let mut command = Command::new("taskset");
    command.arg("-c").arg(core.to_string()).arg(program);
    command
}
