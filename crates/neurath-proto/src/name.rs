//! The global names of code: `package@version#path`.
//!
//! Invariant: the text of a name and its parts convert into each other without loss.

use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

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
}
