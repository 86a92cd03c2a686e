//! What can go wrong with a store: one enum for each operation.
//!
//! It refuses to know how operations work. Each enum says whether something was changed.

use std::io;
use std::path::PathBuf;

use semver::Version;

use super::index::FORMAT;
use super::names::{ArtifactHash, ModuleName};
use super::{ARTIFACT_MAX_BYTES, ModuleVersion};

/// Why a store cannot be opened. Nothing was changed, but that the directory may have been made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it.
    #[error(
        "the store in {} is in use by {}: stop that one, or use another directory",
        dir.display(), pid.map_or("another process".to_owned(), |pid| format!("process {pid}"))
    )]
    Locked {
        /// The store's directory.
        dir: PathBuf,
        /// The process, if it can be told.
        pid: Option<u32>,
    },
    /// It was made by another version of Neurath.
    #[error(
        "the store in {} has format {found}, and this program reads format {}: use the program that wrote it",
        dir.display(), FORMAT
    )]
    Format {
        /// The store's directory.
        dir: PathBuf,
        /// Its format.
        found: u64,
    },
    /// The index cannot be read.
    #[error(
        "the index {} cannot be opened: {source}\nthe artifacts beside it are untouched; \
         put back a copy of the index, or move it away and install the modules again", path.display()
    )]
    Index {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: IndexError,
    },
    /// The operating system refuses something.
    #[error("cannot open the store: {}: {source}", path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The index fails. The last change is there wholly or not at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The database.
    #[error("the store's index: {0}")]
    Database(Box<redb::Error>),
    /// The file is not as the database left it.
    #[error("the store's index is damaged")]
    Damaged,
    /// An entry that this program did not write.
    #[error("the store's index: the entry of {key} is damaged")]
    Record {
        /// The entry.
        key: String,
    },
}

impl<E: Into<redb::Error>> From<E> for IndexError {
    fn from(error: E) -> Self {
        Self::Database(Box::new(error.into()))
    }
}

/// Why an artifact is not stored. The index is unchanged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// The version stands for another artifact.
    #[error(
        "{version} is already bound to artifact {bound}, and this artifact is {offered}: \
         raise the version in its Cargo.toml, or install it as a development version"
    )]
    Conflict {
        /// The module and version.
        version: String,
        /// The artifact that the version stands for.
        bound: ArtifactHash,
        /// The artifact that was to be stored.
        offered: ArtifactHash,
    },
    /// A development version that carries the hash of something else.
    #[error("{version} names another artifact than this one, whose hash is {offered}")]
    DevelopmentHash {
        /// The module and version.
        version: String,
        /// The artifact that was to be stored.
        offered: ArtifactHash,
    },
    /// Too many bytes.
    #[error("an artifact may have {ARTIFACT_MAX_BYTES} bytes, and this one has {size_bytes}")]
    TooLarge {
        /// How many it has.
        size_bytes: u64,
    },
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The operating system refuses something.
    #[error("cannot store the artifact: {}: {source}", path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Why a reference leads to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GetError {
    /// No module of that name.
    #[error("there is no module `{name}`{}", did_you_mean(.similar))]
    UnknownName {
        /// The name.
        name: String,
        /// What may have been meant.
        similar: Vec<String>,
    },
    /// The module has no such version.
    #[error("module `{name}` has no version {wanted}; it has {}", there_are.iter().map(Version::to_string).collect::<Vec<_>>().join(", "))]
    UnknownVersion {
        /// The module.
        name: ModuleName,
        /// The version or requirement.
        wanted: String,
        /// The versions that there are, the oldest first.
        there_are: Vec<Version>,
    },
    /// No artifact's hash begins so.
    #[error("there is no module and no artifact `{prefix}`")]
    UnknownHash {
        /// The digits.
        prefix: String,
    },
    /// Several artifacts' hashes begin so.
    #[error("`{prefix}` may be {}: write more digits", candidates.join(" or "))]
    AmbiguousHash {
        /// The digits.
        prefix: String,
        /// What they may mean.
        candidates: Vec<String>,
    },
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
}

fn did_you_mean(similar: &[String]) -> String {
    if similar.is_empty() { String::new() } else { format!("; did you mean `{}`?", similar.join("` or `")) }
}

/// Why an artifact cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Its file is gone.
    #[error("the artifact {} is missing: install the module again", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// Its file is not what it was.
    #[error(
        "the artifact {} is damaged: its hash should be {expected} and is {found} ({size_bytes} bytes): \
         install the module again", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The hash in its name.
        expected: ArtifactHash,
        /// The hash of its bytes.
        found: ArtifactHash,
        /// How many bytes it has.
        size_bytes: u64,
    },
    /// The operating system refuses something.
    #[error("cannot read the artifact {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Why a version is not removed. Unless it says otherwise, it is still there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveError {
    /// It is not there.
    #[error(transparent)]
    Get(#[from] GetError),
    /// Something needs it.
    #[error("{version} is not removed: {why}")]
    Pinned {
        /// The version.
        version: Box<ModuleVersion>,
        /// What needs it, in the caller's words.
        why: String,
    },
    /// It is current and there are others.
    #[error("{version} is not removed, because it is the current version: make another one current first")]
    Current {
        /// The version.
        version: Box<ModuleVersion>,
    },
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The version is removed and its file is left.
    #[error("the version is removed, but its file {} is not: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
