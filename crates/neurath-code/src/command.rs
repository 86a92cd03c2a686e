//! Subprocesses in a clean environment.
//!
//! Invariant: what an outer cargo, rustup proxy or build script put into our environment for itself never
//! reaches a command that is started here. What the user set for cargo in general (its home, network,
//! registries, target directory, number of jobs) does.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;

/// Settings of cargo's that belong to the user and not to an outer invocation.
const KEPT: [&str; 3] = ["CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_BUILD_JOBS"];
const KEPT_PREFIXES: [&str; 5] = ["CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTRIES_", "CARGO_REGISTRY_", "CARGO_SOURCE_"];

/// What cargo, rustup and make leave behind besides `CARGO_*`.
const DROPPED: [&str; 18] = [
    "CARGO",
    "DEBUG",
    "HOST",
    "MAKEFLAGS",
    "MFLAGS",
    "NUM_JOBS",
    "OPT_LEVEL",
    "OUT_DIR",
    "PROFILE",
    "RUSTC",
    "RUSTC_BOOTSTRAP",
    "RUSTC_LINKER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOC",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
    "TARGET",
];

/// Whether a variable of our environment must not be handed on.
fn leaks(name: &str) -> bool {
    if KEPT.contains(&name) || KEPT_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        return false;
    }
    name.starts_with("CARGO_") || name.starts_with("DEP_") || name == "RUST_RECURSION_COUNT" || DROPPED.contains(&name)
}

/// The library search path without the directories that an outer cargo or rustup proxy added: those of
/// its own toolchain, and of its build products.
fn cleaned_library_path(path: &OsStr) -> Option<OsString> {
    let kept: Vec<PathBuf> = std::env::split_paths(path)
        .filter(|dir| !(dir.ends_with("deps") || dir.components().any(|part| part.as_os_str() == "toolchains")))
        .filter(|dir| !dir.components().any(|part| part.as_os_str() == "rustlib") && !dir.join("deps").is_dir())
        .collect();
    if kept.is_empty() { None } else { std::env::join_paths(kept).ok() }
}

/// A command that inherits nothing of an outer build, and nothing to read from.
pub(crate) fn clean(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(leaks) {
            command.env_remove(name);
        }
    }
    if let Some(path) = std::env::var_os("LD_LIBRARY_PATH") {
        match cleaned_library_path(&path) {
            Some(kept) => command.env("LD_LIBRARY_PATH", kept),
            None => command.env_remove("LD_LIBRARY_PATH"),
        };
    }
    command.stdin(Stdio::null());
    command
}

/// Runs it to its end; `Err` holds what it was and why it could not start.
pub(crate) fn output(command: &mut Command) -> io::Result<Output> {
    command.output().map_err(|error| io::Error::new(error.kind(), format!("cannot run {}: {error}", shown(command))))
}

/// The first existing file of that name in the directories of a `PATH`.
pub(crate) fn which(path: &OsStr, name: &str) -> Option<PathBuf> {
    std::env::split_paths(path).map(|dir| dir.join(name)).find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    }
    #[cfg(not(unix))]
    file.is_file()
}

/// One line of a running command.
pub(crate) enum Line {
    /// From its standard output.
    Out(String),
    /// From its standard error.
    Err(String),
}

/// Runs a command and hands over its lines as they come, from both streams.
pub(crate) fn stream(command: &mut Command, mut each: impl FnMut(Line)) -> io::Result<ExitStatus> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("cannot run {}: {error}", shown(command))))?;
    let (sender, lines) = mpsc::channel();
    std::thread::scope(|scope| {
        if let Some(out) = child.stdout.take() {
            let sender = sender.clone();
            scope.spawn(move || forward(out, |line| sender.send(Line::Out(line)).is_ok()));
        }
        if let Some(err) = child.stderr.take() {
            let sender = sender.clone();
            scope.spawn(move || forward(err, |line| sender.send(Line::Err(line)).is_ok()));
        }
        drop(sender);
        for line in lines {
            each(line);
        }
    });
    child.wait()
}

fn forward(stream: impl Read, mut send: impl FnMut(String) -> bool) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        line.clear();
        if !send(text) {
            return;
        }
    }
}

/// The command as a person would type it, without its environment.
pub(crate) fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_outer_cargo_set_for_itself_is_dropped_and_the_users_settings_stay() {
        for name in [
            "CARGO",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_MANIFEST_DIR",
            "CARGO_PKG_NAME",
            "CARGO_PROFILE_RELEASE_LTO",
            "CARGO_BUILD_TARGET",
            "CARGO_TARGET_WASM32_WASIP1_LINKER",
            "RUSTC",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTFLAGS",
            "RUSTUP_TOOLCHAIN",
            "DEP_Z_ROOT",
        ] {
            assert!(leaks(name), "{name}");
        }
        for name in
            ["CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_NET_OFFLINE", "CARGO_HTTP_PROXY", "RUSTUP_HOME", "PATH", "HOME"]
        {
            assert!(!leaks(name), "{name}");
        }
    }

    #[test]
    fn only_the_outer_builds_directories_leave_the_library_path() {
        let path = |text: &str| cleaned_library_path(OsStr::new(text));
        assert_eq!(path("/p/target/release/deps:/u/.rustup/toolchains/stable/lib"), None);
        assert_eq!(path("/opt/lib:/p/target/debug/deps"), Some("/opt/lib".into()));
    }

    #[test]
    #[cfg(unix)]
    fn lines_of_both_streams_arrive_and_the_status_is_kept() {
        let mut command = clean("/bin/sh");
        command.args(["-c", "echo a; echo b >&2; exit 3"]);
        let (mut out, mut err) = (vec![], vec![]);
        let status = stream(&mut command, |line| match line {
            Line::Out(text) => out.push(text),
            Line::Err(text) => err.push(text),
        });
        assert_eq!(status.unwrap().code(), Some(3));
        assert_eq!((out, err), (vec!["a".to_owned()], vec!["b".to_owned()]));
    }
}
