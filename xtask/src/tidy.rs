//! The rules that no compiler checks: who may depend on whom, and what stands in files.
//!
//! It reads manifests and files and changes nothing. A finding names the rule, so that whoever meets it knows
//! where to read on.

mod arrows;
mod files;

use anyhow::{Result, bail};

use crate::shell::Shell;

/// Crates that are `no_std` and see no clock, no randomness and no order of hashing.
const PURE: [&str; 2] = ["neurath-proto", "neurath-kernel"];

pub(crate) fn run(shell: &Shell) -> Result<()> {
    let mut findings = arrows::check(shell)?;
    findings.extend(files::check(shell.root())?);
    for finding in &findings {
        eprintln!("tidy: {finding}");
    }
    match findings.len() {
        0 => Ok(()),
        1 => bail!("tidy found one thing"),
        many => bail!("tidy found {many} things"),
    }
}
