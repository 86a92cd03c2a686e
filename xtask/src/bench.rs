//! The benchmarks: everything they need is provided here; what is measured is in `bench/`.

use anyhow::Result;

use crate::setup::Needs;
use crate::shell::Shell;
use crate::{guests, setup};

pub(crate) fn run(shell: &Shell, arguments: &[String]) -> Result<()> {
    setup::run(shell, Needs { toolchain: true, erlang: true, ..Needs::default() })?;
    guests::build(shell)?;
    shell.run(shell.program(shell.built("neurath-bench")).args(arguments))
}
