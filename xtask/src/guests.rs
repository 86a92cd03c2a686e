//! The guest programs in `programs/`, built to `target/guests/NAME.wasm`, NAME being a program's directory.
//!
//! The `neurath` binary builds them, as it does for users; here is only which ones there are.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::shell::Shell;

/// Builds the CLI, and all programs with it.
pub(crate) fn build(shell: &Shell) -> Result<()> {
    // Everything, as the tests build it: another selection would have other features, and build wasmtime again.
    shell.run(&mut shell.cargo("build --release --workspace --all-targets"))?;
    let guests = shell.guests();
    fs::create_dir_all(&guests).with_context(|| format!("cannot make {}", guests.display()))?;
    for program in programs(shell)? {
        let name = program.file_name().context("a program has a directory")?;
        let module = guests.join(name).with_extension("wasm");
        shell.run(
            shell
                .program(shell.neurath())
                // One build directory for all, so that the SDK is compiled once.
                .env("CARGO_TARGET_DIR", shell.target().join("guest-build"))
                .arg("build")
                .arg(&program)
                .arg("-o")
                .arg(&module),
        )?;
    }
    Ok(())
}

/// The directories of the programs, in order. A library that programs share is none: it makes no module.
fn programs(shell: &Shell) -> Result<Vec<PathBuf>> {
    let dir = shell.root().join("programs");
    let entries = fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut programs = Vec::new();
    for program in entries.flatten().map(|entry| entry.path()).filter(|path| path.join("Cargo.toml").is_file()) {
        if manifest_text(&program)?.contains("\"cdylib\"") {
            programs.push(program);
        }
    }
    programs.sort();
    Ok(programs)
}

fn manifest_text(program: &Path) -> Result<String> {
    let manifest = program.join("Cargo.toml");
    fs::read_to_string(&manifest).with_context(|| format!("cannot read {}", manifest.display()))
}

/// The manifests of the workspaces that the programs form: one, and a later version of a package its own.
pub(crate) fn workspaces(shell: &Shell) -> Result<Vec<PathBuf>> {
    let mut manifests = vec![shell.root().join("programs/Cargo.toml")];
    for program in programs(shell)? {
        if manifest_text(&program)?.lines().any(|line| line.trim() == "[workspace]") {
            manifests.push(program.join("Cargo.toml"));
        }
    }
    Ok(manifests)
}
