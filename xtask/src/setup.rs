//! What building, testing and measuring need: found, or else installed.
//!
//! Invariant: where everything is there, nothing is changed and it takes well under a second.

use anyhow::{Context, Result, bail};
use neurath_code::{Progress, Toolchain};

use crate::shell::Shell;

/// What a command needs.
#[derive(Clone, Copy, Default)]
pub(crate) struct Needs {
    pub(crate) toolchain: bool,
    pub(crate) nextest: bool,
    pub(crate) erlang: bool,
}

pub(crate) fn run(shell: &Shell, needs: Needs) -> Result<()> {
    if needs.toolchain {
        let mut show = |progress| match progress {
            Progress::Step(text) => eprintln!("setup: {text}"),
            Progress::Compiled { package, done, total } => eprintln!("setup: {done}/{total} {package}"),
        };
        let toolchain = Toolchain::find(&mut show)?;
        eprintln!("setup: guests are built with {toolchain}");
    }
    if needs.nextest {
        nextest(shell);
    }
    if needs.erlang {
        erlang(shell)?;
    }
    Ok(())
}

/// Whether `cargo nextest` is there.
pub(crate) fn has_nextest(shell: &Shell) -> bool {
    shell.succeeds(&mut shell.cargo("nextest --version"))
}

/// Tests can do without it, so a failure is only told.
fn nextest(shell: &Shell) {
    if has_nextest(shell) {
        return eprintln!("setup: cargo-nextest is installed");
    }
    eprintln!("setup: cargo install cargo-nextest --locked (once, some minutes)");
    if let Err(error) = shell.run(&mut shell.cargo("install cargo-nextest --locked")) {
        eprintln!("setup: {error:#}; tests run with `cargo test` instead");
    }
}

fn erlang(shell: &Shell) -> Result<()> {
    // Its nodes speak TLS to each other by that application.
    let ask = "{module, _} = code:ensure_loaded(ssl), halt().";
    let has_erlang = || shell.succeeds(shell.program("erl").args(["-noshell", "-eval", ask]));
    if has_erlang() {
        eprintln!("setup: Erlang is installed");
        return Ok(());
    }
    let install = || {
        let mut command = shell.program("apt-get");
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args("-q -o DPkg::Lock::Timeout=300 install -y --no-install-recommends erlang-ssl".split(' '));
        command
    };
    eprintln!("setup: apt-get install erlang-ssl");
    let installed = shell.run(&mut install()).or_else(|_| {
        shell.run(shell.program("apt-get").args(["-q", "update"]))?;
        shell.run(&mut install())
    });
    installed.context(
        "the benchmarks compare with Erlang/OTP: install it with its application ssl (on Debian, as root: erlang-ssl)",
    )?;
    if !has_erlang() {
        bail!("Erlang was installed, but `erl` cannot be run, or lacks its application ssl");
    }
    Ok(())
}
