//! Simulations: builds `neurath-sim` alone, which takes seconds, and runs it.

use anyhow::{Context, Result};

use crate::shell::Shell;

pub(crate) fn run(shell: &Shell, arguments: &[String]) -> Result<()> {
    shell.run(&mut shell.cargo("build --release --quiet --package neurath-sim"))?;
    let mut simulator = shell.program(shell.built("neurath-sim"));
    shell.run(simulator.args(arguments)).context("a promise was not kept, or the arguments are no good; see above")
}
