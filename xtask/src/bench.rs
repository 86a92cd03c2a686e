//! The benchmarks: everything they need is provided here; what is measured is in `bench/`.

use anyhow::Result;

use crate::setup::Needs;
use crate::shell::Shell;
use crate::{guests, setup};

pub(crate) fn run(shell: &Shell, arguments: &[String]) -> Result<()> {
    setup::run(shell, Needs { toolchain: true, erlang: true, ..Needs::default() })?;
    guests::build(shell)?;
    // What is measured is what is installed: see the profile in `Cargo.toml`.
    shell.run(&mut shell.cargo("build --profile dist -p neurath-bench"))?;
    shell.run(shell.program(shell.target().join("dist/neurath-bench")).args(arguments))
}
