//! Where things are, and running commands there.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The checkout and its build directory.
pub(crate) struct Shell {
    root: PathBuf,
    target: PathBuf,
}

impl Shell {
    pub(crate) fn new() -> Result<Self> {
        // Cargo tells it to what it runs; the directory may have moved since this was compiled.
        let manifest_dir = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest_dir.parent().context("xtask lies in the workspace's directory")?.to_owned();
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => std::path::absolute(dir)?,
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Cargo's build directory.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Where guests' modules lie; tests look here unless `NEURATH_GUESTS` says otherwise.
    pub(crate) fn guests(&self) -> PathBuf {
        self.root.join("target/guests")
    }

    /// The `neurath` binary.
    pub(crate) fn neurath(&self) -> PathBuf {
        self.built("neurath")
    }

    /// A binary of the workspace.
    pub(crate) fn built(&self, name: &str) -> PathBuf {
        self.target.join("release").join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
    }

    /// A program, to be run in the checkout.
    pub(crate) fn program(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(&self.root).stdin(Stdio::null()).env("NEURATH_GUESTS", self.guests());
        command
    }

    /// The cargo that runs us, with arguments that a line of text holds.
    pub(crate) fn cargo(&self, arguments: &str) -> Command {
        let mut command = self.program(std::env::var_os("CARGO").map_or("cargo".into(), PathBuf::from));
        command.args(arguments.split_whitespace());
        command
    }

    /// Runs a command to its end; a failure names it.
    pub(crate) fn run(&self, command: &mut Command) -> Result<()> {
        let status = command.status().with_context(|| format!("cannot run `{}`", shown(command)))?;
        if !status.success() {
            bail!("`{}` failed ({status})", shown(command));
        }
        Ok(())
    }

    /// Whether a command can be run and succeeds; what it writes is not shown.
    pub(crate) fn succeeds(&self, command: &mut Command) -> bool {
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
