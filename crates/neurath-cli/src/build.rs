//! Building a crate, or reading a module, for the commands that take one.

use std::path::{Path, PathBuf};

use clap::Args;
use neurath_code::{BuildRequest, Profile};
use neurath_node::{Builder, Built};

use crate::failure::Failure;
use crate::output::{Bar, note};

/// How to build.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct BuildArguments {
    /// Which package, where the directory is a workspace with several
    #[arg(long, short, value_name = "NAME")]
    pub(crate) package: Option<String>,
    /// Compile sooner and optimize less
    #[arg(long)]
    pub(crate) quick: bool,
}

impl BuildArguments {
    /// What to ask of the compiler.
    pub(crate) fn request(&self, dir: &Path) -> BuildRequest {
        BuildRequest {
            package: self.package.clone(),
            profile: if self.quick { Profile::Quick } else { Profile::Release },
            color: console::colors_enabled_stderr(),
            ..BuildRequest::new(dir)
        }
    }
}

/// The directory of a crate, which may be named by its `Cargo.toml` as well.
pub(crate) fn crate_dir(path: &Path) -> Result<PathBuf, Failure> {
    if path.is_dir() {
        return Ok(path.to_owned());
    }
    if path.file_name().is_some_and(|name| name == "Cargo.toml") && path.is_file() {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        return Ok(parent.unwrap_or(Path::new(".")).to_owned());
    }
    let what = if path.exists() { "is no directory" } else { "does not exist" };
    Err(Failure::new(format!("{} {what}", path.display()))
        .help("name the directory of a crate; `neurath init NAME` makes one"))
}

/// Builds the crate in a directory; a bar says how far it is, and warnings are shown.
pub(crate) async fn build(dir: &Path, arguments: &BuildArguments) -> Result<Built, Failure> {
    let request = arguments.request(&crate_dir(dir)?);
    blocking(move || {
        let bar = Bar::new("looking for a toolchain");
        let mut progress = |step| bar.build(step);
        let builder = Builder::new(&mut progress)?;
        let built = builder.build(&request, &mut progress)?;
        drop(bar);
        warn(&built);
        Ok(built)
    })
    .await
}

/// Shows what the compiler warned of.
pub(crate) fn warn(built: &Built) {
    if !built.warnings.is_empty() {
        note(built.warnings.trim_end());
    }
}

/// Where `neurath build` puts a module: beside the compiler's own file, in cargo's target directory.
pub(crate) fn artifact_path(built: &Built) -> PathBuf {
    let name = format!("{}-{}.wasm", built.manifest.package, built.manifest.version);
    built.compiled.with_file_name(name)
}

/// Runs something that blocks.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Failure::new(format!("a thread of this command failed: {error}"))),
    }
}

/// A module's bytes and where they came from: a file, or a crate that is built first.
pub(crate) async fn module(path: &Path, arguments: &BuildArguments) -> Result<(Vec<u8>, String), Failure> {
    let source = std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string();
    if path.is_dir() || path.file_name().is_some_and(|name| name == "Cargo.toml") {
        return Ok((build(path, arguments).await?.wasm, source));
    }
    match std::fs::read(path) {
        Ok(wasm) => Ok((wasm, source)),
        Err(error) => Err(Failure::new(format!("{}: {error}", path.display()))
            .help("name a module that `neurath build` made, or the directory of a crate")),
    }
}

/// Whether an argument means a place rather than the name of an installed module.
pub(crate) fn is_path(argument: &str) -> bool {
    matches!(argument, "." | "..")
        || argument.contains(std::path::MAIN_SEPARATOR)
        || argument.ends_with(".wasm")
        || argument == "Cargo.toml"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_modules_are_no_paths() {
        for path in [".", "..", "./counter", "counter/", "counter.wasm"] {
            assert!(is_path(path), "{path}");
        }
        for name in ["counter", "counter@1.0.0", "counter@1.0.0+dev.3f9a0c11d2e4"] {
            assert!(!is_path(name), "{name}");
        }
    }
}
