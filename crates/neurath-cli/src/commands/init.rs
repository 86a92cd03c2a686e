//! `neurath init`: a crate that builds, with a test that passes.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::failure::{Failure, quoted};
use crate::output::{bold, print};

/// Make a crate that builds and has a passing test
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  neurath init counter\n  neurath init work/counter      in a directory that is there"
)]
pub(crate) struct Arguments {
    /// The crate's name, or a new directory that ends in it
    name: PathBuf,
}

/// The sources of the SDK's crate, in the checkout that this program was built from.
const CHECKOUT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../neurath");

/// Names that the compiler or cargo does not take for a crate.
const RESERVED: [&str; 63] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "neurath",
    "neurath-macros",
    "neurath-proto",
    "override",
    "priv",
    "proc-macro",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "union",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
    "build",
    "deps",
];

pub(crate) fn run(Arguments { name: dir }: Arguments) -> Result<(), Failure> {
    let name = crate_name(&dir)?;
    if dir.symlink_metadata().is_ok() {
        return Err(
            Failure::new(format!("{} is there already", dir.display())).help("choose another name, or remove it first")
        );
    }
    let sdk = Path::new(CHECKOUT).canonicalize().map_err(|_| {
        Failure::new(format!("the checkout that this program was built from is gone: there is no {CHECKOUT}"))
            .help("build `neurath` again in a checkout; new crates depend on the SDK in it")
    })?;
    let written = write(&dir, &name, &sdk);
    written.map_err(|(path, error)| Failure::new(format!("{}: {error}", path.display())))?;
    let shown = quoted(&dir.display().to_string());
    print(format!(
        "{} {name}\n\n  cd {shown} && cargo test      run its test\n  neurath run {shown} --watch   run it; \
         saving a file upgrades it",
        bold().apply_to("made"),
    ));
    Ok(())
}

fn crate_name(dir: &Path) -> Result<String, Failure> {
    let wrong = |name: &str, why: &str| {
        let message = format!("`{name}` will not do as the name of a crate: {why}");
        Err(Failure::usage(message).help("use lower-case letters, digits, `-` and `_`, for example `ping-pong`"))
    };
    let Some(name) = dir.file_name().and_then(|name| name.to_str()) else {
        return wrong(&dir.display().to_string(), "it has no name");
    };
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    if name.len() > 64 {
        return wrong(name, "it has more than 64 characters");
    }
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        return wrong(name, "it does not begin with a lower-case letter");
    }
    if !name.bytes().all(plain) {
        return wrong(name, "it has other characters than a-z 0-9 - _");
    }
    if RESERVED.contains(&name) {
        return wrong(name, "it has a meaning of its own");
    }
    Ok(name.to_owned())
}

fn write(dir: &Path, name: &str, sdk: &Path) -> Result<(), (PathBuf, std::io::Error)> {
    let at = |path: PathBuf| move |error| (path, error);
    fs::create_dir(dir).map_err(at(dir.to_owned()))?;
    let file = |relative: &str, text: String| {
        let path = dir.join(relative);
        fs::write(&path, text).map_err(at(path))
    };
    let source = dir.join("src");
    fs::create_dir(&source).map_err(at(source))?;
    let sdk_path = sdk.display().to_string().replace('\\', "\\\\").replace('"', "\\\"");
    file("Cargo.toml", CARGO_TOML.replace("{name}", name).replace("{sdk}", &sdk_path))?;
    file("src/lib.rs", LIB_RS.replace("{name}", name))?;
    file("README.md", README.replace("{name}", name))?;
    file(".gitignore", "/target\n".to_owned())?;
    // The versions that the SDK was tested with; cargo takes out what is not needed.
    if let Ok(lock) = fs::read_to_string(sdk.join("../../Cargo.lock")) {
        file("Cargo.lock", lock)?;
    }
    Ok(())
}

const CARGO_TOML: &str = include_str!("init/Cargo.toml.in");
const LIB_RS: &str = include_str!("init/lib.rs.in");
const README: &str = include_str!("init/README.md.in");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cargo_would_refuse_are_refused_before() {
        for name in ["", "..", "Counter", "9lives", "a b", "ü", "fn", "std", "neurath", "a.b", &"x".repeat(65)] {
            assert!(crate_name(Path::new(name)).is_err(), "{name}");
        }
        for name in ["counter", "ping-pong", "a_1", "some/where/counter"] {
            assert!(crate_name(Path::new(name)).is_ok(), "{name}");
        }
    }
}
