//! An operator's file: all that a person's programs need to reach the nodes of a cluster.
//!
//! It refuses to know what operators do. Invariants: the file is readable by its owner only from its first byte, and never
//! takes another's place; what it allows ends by itself.
//!
//! # Format
//!
//! A JSON object; `format` is the version. Version 1 is the first.
//!
//! | field | content |
//! |---|---|
//! | `format` | `"neurath-operator/1"` |
//! | `address` | where a node is reached |
//! | `key` | the seed of an Ed25519 key, in hexadecimal digits: secret |
//! | `certificate` | the operator's certificate, PEM |
//! | `ca` | the authority's certificate, PEM |

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::authority::{Authority, AuthorityError};
use crate::certificate::{NodeKey, Role, random_seed};
use crate::control::ControlDialer;
use crate::credentials::{Credentials, CredentialsError};
use crate::files::{self, FileError};
use crate::network::check_address;

const FORMAT: &str = "neurath-operator/1";
/// A file with more bytes is none.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// See the module.
pub struct Operator {
    credentials: Credentials,
    address: String,
    dialer: ControlDialer,
}

#[derive(Serialize, Deserialize)]
struct Content {
    format: String,
    address: String,
    key: String,
    certificate: String,
    ca: String,
}

/// Only what tells files of another release from other files.
#[derive(Deserialize)]
struct Version {
    format: String,
}

impl Operator {
    /// Makes an operator, and the file for them. An earlier certificate of the same name stays valid until it expires.
    ///
    /// # Errors
    /// The address is none, there is a file of that name, it cannot be written, or the authority refuses. There is no new file then.
    pub fn create(
        path: &Path,
        authority: &Authority,
        name: &str,
        address: &str,
        valid_for: Duration,
    ) -> Result<Self, OperatorError> {
        check_address(address).map_err(|why| OperatorError::Address { address: address.into(), why })?;
        if path.symlink_metadata().is_ok() {
            return Err(OperatorError::Exists { path: path.into() });
        }
        let seed = random_seed().map_err(|source| FileError { path: path.into(), source })?;
        let credentials = authority.issue_operator(&NodeKey::from_seed(&seed), name, valid_for)?;
        let content = Content {
            format: FORMAT.into(),
            address: address.into(),
            key: HEXLOWER.encode(&seed),
            certificate: credentials.own_pem().into(),
            ca: credentials.ca_pem().into(),
        };
        // Writing to memory fails only if a map's keys are no strings, and there are no maps.
        let text = serde_json::to_string_pretty(&content).unwrap_or_default() + "\n";
        match files::create(path, text.as_bytes()) {
            Err(e) if e.source.kind() == ErrorKind::AlreadyExists => Err(OperatorError::Exists { path: path.into() }),
            Err(e) => Err(e.into()),
            Ok(()) => Self::of(path, content),
        }
    }

    /// Reads an operator's file.
    ///
    /// # Errors
    /// It is missing, none, or its time is over.
    pub fn read(path: &Path) -> Result<Self, OperatorError> {
        let other = |why: &str| OperatorError::Other { path: path.into(), why: why.into() };
        match std::fs::metadata(path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Err(OperatorError::Missing { path: path.into() }),
            Ok(found) if !found.is_file() => return Err(other("it is no file")),
            Ok(found) if found.len() > FILE_BYTES_MAX => return Err(other("it is too long")),
            // Reading says why.
            _ => {}
        }
        let bytes = files::read_bytes(path)?;
        let version: Version = serde_json::from_slice(&bytes).map_err(|_| other("its text is another one"))?;
        if version.format != FORMAT {
            return Err(other("it is of another release, or for something else"));
        }
        let content: Content = serde_json::from_slice(&bytes).map_err(|e| other(&e.to_string()))?;
        let operator = Self::of(path, content)?;
        let until = operator.valid_until();
        if until <= SystemTime::now() {
            let name = operator.name().to_owned();
            return Err(OperatorError::Expired { path: path.into(), name, on: day(until) });
        }
        Ok(operator)
    }

    fn of(path: &Path, content: Content) -> Result<Self, OperatorError> {
        let Content { format: _, address, key, certificate, ca } = content;
        let other = |why: &str| OperatorError::Other { path: path.into(), why: why.into() };
        let seed = HEXLOWER.decode(key.as_bytes()).ok().and_then(|seed| <[u8; 32]>::try_from(seed).ok());
        let key = NodeKey::from_seed(&seed.ok_or_else(|| other("its key is damaged"))?);
        let credentials =
            Credentials::from_pem(&ca, &certificate).map_err(|_| other("its certificates are damaged"))?;
        if credentials.role() != Role::Operator {
            return Err(other("its certificate is not that of an operator"));
        }
        let dialer = ControlDialer::new(&key, &credentials)?;
        Ok(Self { credentials, address, dialer })
    }

    /// The operator's name.
    pub fn name(&self) -> &str {
        self.credentials.name()
    }

    /// The cluster's name.
    pub fn cluster(&self) -> &str {
        self.credentials.cluster()
    }

    /// Where a node is reached.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// When it ends.
    pub fn valid_until(&self) -> SystemTime {
        self.credentials.valid_until()
    }

    /// The last day on which it is good, in UTC: `2026-12-21`.
    pub fn last_day(&self) -> String {
        day(self.valid_until())
    }

    /// What connects to nodes.
    pub fn dialer(&self) -> &ControlDialer {
        &self.dialer
    }
}

fn day(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    format!("{:04}-{:02}-{:02}", at.year(), u8::from(at.month()), at.day())
}

/// Why there is no operator.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// No node is reached there.
    #[error("`{address}` is no address of a node: {why}; one looks like `node1.example.org:7700`")]
    Address {
        /// The address.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is no file.
    #[error(
        "{} is missing; `neurath cluster operator NAME` makes such a file, where the cluster's authority is",
        path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file is something else.
    #[error(
        "{} is not what `neurath cluster operator NAME` makes: {why}; give that file, or make a new one",
        path.display()
    )]
    Other {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Its time is over.
    #[error(
        "{} has expired: operator `{name}` was let in until {on}; make a new one with `neurath cluster operator {name}`",
        path.display()
    )]
    Expired {
        /// The file.
        path: PathBuf,
        /// The operator.
        name: String,
        /// The day.
        on: String,
    },
    /// There is a file already.
    #[error("{} exists, and is not replaced; move it away, or choose another with `--out FILE`", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The authority refuses.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}
