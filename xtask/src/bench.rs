//! The benchmarks.

use anyhow::{Result, bail};

pub(crate) fn run(_arguments: &[String]) -> Result<()> {
    bail!("`cargo xtask bench` is not there yet; `cargo xtask demo` measures the pauses at an upgrade")
}
