//! The global names of code, `package@version#path`, and what a process may be called.
//!
//! Invariant: the text of a name of code and its parts convert into each other without loss; no name of a process can be
//! mistaken for a pid.

use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

use crate::id::Pid;

/// The name of an entry or function: `counter@1.0.0#counter::tally`.
///
/// The package is that of the *defining* crate. A development version carries a hash of its artifact as
/// build metadata: `1.0.0+dev.3f9a0c11d2e4`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CodeName {
    /// The defining crate.
    pub package: String,
    /// Its semantic version.
    pub version: String,
    /// The path within it.
    pub path: String,
}

impl fmt::Display for CodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}#{}", self.package, self.version, self.path)
    }
}

/// The text is not of the form `package@version#path`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseCodeNameError;

impl fmt::Display for ParseCodeNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name of code looks like `package@version#path`")
    }
}

impl core::error::Error for ParseCodeNameError {}

impl FromStr for CodeName {
    type Err = ParseCodeNameError;

    fn from_str(text: &str) -> Result<Self, ParseCodeNameError> {
        let (package, rest) = text.split_once('@').ok_or(ParseCodeNameError)?;
        let (version, path) = rest.split_once('#').ok_or(ParseCodeNameError)?;
        if package.is_empty() || version.is_empty() || path.is_empty() {
            return Err(ParseCodeNameError);
        }
        Ok(Self { package: package.to_string(), version: version.to_string(), path: path.to_string() })
    }
}

/// Bytes of the name of a process.
pub const PROCESS_NAME_MAX: usize = 256;

/// Checks what a process is to be called. A name that is a pid's text, or a number, would be taken for that.
///
/// # Errors
/// Why not, in words.
pub fn check_process_name(name: &str) -> Result<(), &'static str> {
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit()) || name.parse::<u64>().is_ok();
    match name {
        "" => Err("a name has at least one character"),
        _ if name.len() > PROCESS_NAME_MAX => Err("a name has at most 256 bytes"),
        _ if name.chars().any(char::is_control) => Err("a name has no control characters"),
        _ if is_number || name.parse::<Pid>().is_ok() => Err("a name is neither a number nor a pid"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_survives_its_text() {
        let text = "counter@1.0.0+dev.3f9a#counter::tally";
        let name: CodeName = text.parse().unwrap();
        assert_eq!((name.package.as_str(), name.path.as_str()), ("counter", "counter::tally"));
        assert_eq!(name.to_string(), text);
        for bad in ["", "counter", "counter@1.0", "@1#x", "c@#x", "c@1#"] {
            assert_eq!(bad.parse::<CodeName>(), Err(ParseCodeNameError), "{bad}");
        }
    }

    #[test]
    fn names_of_processes_can_be_told_from_pids() {
        let long = "n".repeat(PROCESS_NAME_MAX + 1);
        for bad in ["", "17", "+17", "0001", "99999999999999999999999", "2@00000000000000aa.1", "a\nb", &long] {
            assert!(check_process_name(bad).is_err(), "{bad}");
        }
        for good in ["tally", "17 of them", "größe", "a@b", &long[1..]] {
            assert_eq!(check_process_name(good), Ok(()), "{good}");
        }
    }
}
