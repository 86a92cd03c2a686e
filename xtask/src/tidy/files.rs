//! What stands in files: headers, lengths, and what must not be written down.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::PURE;

/// A file has at most this many lines before its tests.
const LINES_MAX: usize = 800;

/// Longer files, and why each is one.
const LONG: &[(&str, &str)] = &[];

/// Files whose text is read.
const EXTENSIONS: [&str; 12] = ["rs", "toml", "md", "sh", "yml", "yaml", "json", "html", "css", "js", "erl", "txt"];

/// Where nothing is ours.
const SKIPPED: [&str; 3] = ["target", ".git", "node_modules"];

/// Parts of addresses of package registries. Written in two halves, so that this file is clean itself.
const REGISTRIES: [&str; 5] = [
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("crates.io", "-index"),
    concat!("registry.", "npmjs"),
    concat!("static.", "rust-lang.org"),
];

/// Beginnings of paths that are of one machine.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/wo", "rk/"), concat!("/Us", "ers/")];

/// Marks of unfinished work.
const MARKS: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];

pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    let mut long_seen = Vec::new();
    for path in files(root)? {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        if is_long(&name, &text) {
            long_seen.push(name.clone());
        }
        findings.extend(judge(&name, &text));
    }
    for (name, _) in LONG {
        if !long_seen.iter().any(|seen| seen == name) {
            findings.push(format!("{name} is not long any more: take it off the list in xtask/src/tidy/files.rs"));
        }
    }
    for package in PURE {
        let dir = root.join("crates").join(package);
        let lib = fs::read_to_string(dir.join("src/lib.rs")).with_context(|| format!("{package} has no src/lib.rs"))?;
        if !lib.lines().any(|line| line.trim() == "#![no_std]") {
            findings.push(format!("crates/{package}/src/lib.rs: a pure crate says #![no_std]"));
        }
        let lints = fs::read_to_string(dir.join("clippy.toml")).unwrap_or_default();
        for forbidden in ["std::time::Instant", "std::time::SystemTime", "std::collections::HashMap"] {
            if !lints.contains(forbidden) {
                findings.push(format!("crates/{package}/clippy.toml: a pure crate forbids {forbidden}"));
            }
        }
    }
    Ok(findings)
}

/// Everything in the checkout that is ours and is text.
fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        let entries = fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))?;
        for entry in entries {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            let kind = entry.file_type()?;
            if kind.is_dir() && !SKIPPED.contains(&name.as_ref()) {
                open.push(path);
            } else if kind.is_file() {
                let known = path.extension().is_some_and(|ext| EXTENSIONS.iter().any(|known| ext == *known));
                if known || dir.ends_with(".ci") {
                    found.push(path);
                }
            }
        }
    }
    found.sort();
    Ok(found)
}

fn is_long(name: &str, text: &str) -> bool {
    let before_tests =
        text.lines().take_while(|line| !line.starts_with("#[cfg(test)]") && !line.starts_with("#[cfg(all(test"));
    name.ends_with(".rs") && before_tests.count() > LINES_MAX
}

/// What is wrong with one file.
fn judge(name: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    if name.ends_with(".rs") && !text.starts_with("//!") {
        findings.push(format!(
            "{name}:1: a file opens with //!: what it owns, what it refuses to know, its invariant (STYLE 9)"
        ));
    }
    if is_long(name, text) && !LONG.iter().any(|(long, _)| *long == name) {
        findings.push(format!(
            "{name}: more than {LINES_MAX} lines before its tests: is it two things? (STYLE 10) \
             If not, say why in xtask/src/tidy/files.rs"
        ));
    }
    for (number, line) in text.lines().enumerate() {
        let mut found = |what: &str| findings.push(format!("{name}:{}: {what}", number + 1));
        if let Some(address) = REGISTRIES.iter().find(|part| line.contains(*part)) {
            found(&format!("the address of a registry ({address})"));
        }
        if let Some(path) = MACHINE_PATHS.iter().find(|path| has_path(line, path)) {
            found(&format!("a path of one machine ({path}…)"));
        }
        for mark in MARKS {
            if let Some((_, rest)) = line.split_once(mark)
                && !has_issue(rest)
            {
                found(&format!("{mark} without the number of an issue: write {mark}(#12)"));
            }
        }
    }
    findings
}

/// Whether the path stands there, and not in the middle of a longer one.
fn has_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !(c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '~' | '}' | '*' | ')')))
    })
}

fn has_issue(rest: &str) -> bool {
    rest.strip_prefix("(#").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_file_passes() {
        assert_eq!(judge("a.rs", "//! It owns nothing.\nfn a() {} // see target/work/x\n"), [""; 0]);
    }

    #[test]
    fn each_rule_finds_its_breach_and_names_the_line() {
        let check = |name: &str, text: &str, expected: &str| {
            let findings = judge(name, text);
            assert!(findings.len() == 1 && findings[0].contains(expected), "{text:?}: {findings:?}");
        };
        check("a.rs", "fn a() {}\n", "a.rs:1: a file opens with //!");
        check("a.rs", &format!("//! a\n{}", "\n".repeat(LINES_MAX)), "a.rs: more than 800 lines");
        check("a.md", &format!("x\nsee {}\n", REGISTRIES[0]), "a.md:2: the address of a registry");
        check("a.md", &format!("cd {}x\n", MACHINE_PATHS[0]), "a.md:1: a path of one machine");
        check("a.md", &format!("`{}x`\n", MACHINE_PATHS[2]), "a.md:1: a path of one machine");
        check("a.md", &format!("{}: later\n", MARKS[0]), "a.md:1: ");
        assert_eq!(judge("a.md", &format!("{}(#7): later\n", MARKS[0])), [""; 0]);
    }

    #[test]
    fn tests_do_not_count_as_length() {
        let text = format!("//! a\n#[cfg(test)]\nmod tests {{\n{}}}\n", "\n".repeat(LINES_MAX));
        assert_eq!(judge("a.rs", &text), [""; 0]);
    }
}
