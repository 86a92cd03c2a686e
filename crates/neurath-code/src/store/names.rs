//! Names of modules and artifacts, references to them, and likely misspellings.
//!
//! Invariant: a [`ModuleName`] is short and plain, so it can be part of a file name, a URL or a log line.

use std::fmt;
use std::str::FromStr;

use semver::{Version, VersionReq};

/// A module's name has at most this many characters.
pub const NAME_MAX: usize = 64;

/// A reference by hash has at least this many digits.
pub const HASH_PREFIX_MIN: usize = 8;

/// This many digits of its artifact's hash stand in a development version.
pub const DEVELOPMENT_DIGITS: usize = 12;

/// The name of a module: a crate's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleName(String);

/// The text is no name of a module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no name of a module: 1 to {NAME_MAX} characters of A-Z a-z 0-9 _ -, the first of them no hyphen", shortened(.0))]
pub struct NameError(pub String);

impl ModuleName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ModuleName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if text.is_empty() || text.len() > NAME_MAX || text.starts_with('-') || !text.bytes().all(plain) {
            return Err(NameError(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for ModuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The BLAKE3 hash of an artifact's bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArtifactHash(pub [u8; 32]);

impl ArtifactHash {
    /// The hash of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The first digits, as they stand in a development version.
    pub fn short(&self) -> String {
        self.to_string()[..DEVELOPMENT_DIGITS].to_owned()
    }
}

impl fmt::Display for ArtifactHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for ArtifactHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ArtifactHash({self})")
    }
}

/// What a person writes for a module version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModuleRef {
    /// `counter`: its current version, or the newest if none was made current.
    Name(ModuleName),
    /// `counter@1.2.0`, `counter@1.2.0+dev.3f9a0c11d2e4`: exactly that one.
    Exact(ModuleName, Version),
    /// `counter@2`, `counter@1.2`, `counter@>=1, <3`: the newest that meets it, read as cargo reads it.
    Requirement(ModuleName, VersionReq),
    /// `3f9a0c11`: the artifact whose hash begins so, unless a module is called that.
    Hash(String),
}

/// The text is no reference to a module version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` refers to no module: {why}; write `counter`, `counter@1.2.0`, `counter@2`, \
     or at least {HASH_PREFIX_MIN} digits of an artifact's hash", shortened(.text)
)]
pub struct ParseRefError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
}

impl FromStr for ModuleRef {
    type Err = ParseRefError;

    fn from_str(text: &str) -> Result<Self, ParseRefError> {
        let error = |why: String| ParseRefError { text: text.to_owned(), why };
        let Some((name, version)) = text.split_once('@') else {
            let is_digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            if is_digits && (HASH_PREFIX_MIN..=64).contains(&text.len()) {
                return Ok(Self::Hash(text.to_owned()));
            }
            return Ok(Self::Name(text.parse().map_err(|wrong: NameError| error(wrong.to_string()))?));
        };
        let name: ModuleName = name.parse().map_err(|wrong: NameError| error(wrong.to_string()))?;
        if version.len() > 256 {
            return Err(error("the version is too long".into()));
        }
        if let Ok(version) = Version::parse(version) {
            return Ok(Self::Exact(name, version));
        }
        match VersionReq::parse(version) {
            Ok(requirement) => Ok(Self::Requirement(name, requirement)),
            Err(wrong) => Err(error(format!("`{version}` is neither a version nor a requirement ({wrong})"))),
        }
    }
}

impl fmt::Display for ModuleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "{name}"),
            Self::Exact(name, version) => write!(f, "{name}@{version}"),
            Self::Requirement(name, requirement) => write!(f, "{name}@{requirement}"),
            Self::Hash(prefix) => f.write_str(prefix),
        }
    }
}

/// Those of the candidates that may have been meant, the likeliest first, three at most.
pub(crate) fn similar<'a>(wanted: &str, candidates: impl Iterator<Item = &'a str>) -> Vec<String> {
    let bound = (wanted.len() / 3).max(1);
    let mut found: Vec<(usize, &str)> = candidates
        .map(|candidate| {
            let starts = candidate.starts_with(wanted) || wanted.starts_with(candidate);
            (if starts { 1 } else { distance(wanted, candidate) }, candidate)
        })
        .filter(|(distance, _)| *distance <= bound)
        .collect();
    found.sort_unstable();
    found.dedup();
    found.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
}

/// Levenshtein's distance with transpositions of neighbours counted as one.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let changed = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = changed.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

/// Hostile text is not repeated at length, and not with control characters.
fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(NAME_MAX).flat_map(char::escape_debug).collect();
    if text.chars().count() > NAME_MAX {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_of_reference_is_told_apart() {
        let name = |text: &str| text.parse::<ModuleName>().unwrap();
        let reference = |text: &str| text.parse::<ModuleRef>().unwrap();
        assert_eq!(reference("counter"), ModuleRef::Name(name("counter")));
        assert_eq!(reference("counter@1.2.0"), ModuleRef::Exact(name("counter"), Version::new(1, 2, 0)));
        assert_eq!(
            reference("counter@1.0.0+dev.3f9a0c11d2e4"),
            ModuleRef::Exact(name("counter"), "1.0.0+dev.3f9a0c11d2e4".parse().unwrap())
        );
        assert_eq!(reference("counter@2"), ModuleRef::Requirement(name("counter"), "2".parse().unwrap()));
        assert_eq!(reference("counter@>=1, <3"), ModuleRef::Requirement(name("counter"), ">=1, <3".parse().unwrap()));
        assert_eq!(reference("3f9a0c11"), ModuleRef::Hash("3f9a0c11".into()));
        assert_eq!(reference("3f9a0c1"), ModuleRef::Name(name("3f9a0c1")));
    }

    #[test]
    fn hostile_names_and_references_are_refused_in_bounded_words() {
        let long = "a".repeat(100_000);
        for bad in ["", "-a", "a/b", "../x", "a b", "ä", "a\0b", "a\u{1b}[2J", &"a".repeat(65), &long] {
            let error = bad.parse::<ModuleName>().unwrap_err().to_string();
            assert!(error.len() < 600 && !error.contains('\u{1b}'), "{error}");
            assert!(bad.parse::<ModuleRef>().is_err());
        }
        for bad in ["@1", "a@", "a@x.y", "a@1.0.0@2", &format!("a@{long}")] {
            let error = bad.parse::<ModuleRef>().unwrap_err().to_string();
            assert!(error.contains("write `counter`") && error.len() < 900, "{error}");
        }
    }

    #[test]
    fn likely_misspellings_are_found() {
        let names = ["counter", "ping-pong", "bank"];
        let similar = |wanted: &str| similar(wanted, names.into_iter());
        assert_eq!(similar("conuter"), ["counter"]);
        assert_eq!(similar("count"), ["counter"]);
        assert_eq!(similar("pingpong"), ["ping-pong"]);
        assert!(similar("telephone").is_empty());
    }
}
