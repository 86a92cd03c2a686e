//! Who a node is, and which of its lives this is.
//!
//! `identity.key` holds the 32 bytes that the node's Ed25519 key is made of, and is readable by its owner only; `incarnation` holds a decimal number that
//! is larger after each start. Invariant: the new number is on disk before the node gives out its first pid.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use neurath_net::NodeKey;
use neurath_proto::{Incarnation, NodeId};

/// See the module.
#[derive(Clone)]
pub struct Identity {
    /// The node's name for itself.
    pub node: NodeId,
    /// Which life this is, from 1.
    pub incarnation: Incarnation,
}

/// Why a node does not know who it is.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read or written.
    #[error("{path}: {source}; the node's data directory must be writable by its owner")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file is not what the node wrote.
    #[error(
        "{path} {why}; restore it from a backup, or remove `identity.key` and `incarnation` both, and this node will be a new one (without one of them, pids of its earlier lives would be valid again)"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// Who a node is that has not begun its next life yet.
pub struct Unborn {
    /// What its key is made of; it keeps it to itself.
    pub secret: [u8; 32],
    path: PathBuf,
    incarnation: u32,
}

/// Reads the identity in `data`, or makes a new one. No life begins.
///
/// # Errors
/// The files cannot be read or written, or are damaged. Nothing was changed then.
pub fn read(data: &Path) -> Result<Unborn, IdentityError> {
    let path = data.join("incarnation");
    let damaged = |why| IdentityError::Damaged { path: path.clone(), why };
    let key = data.join("identity.key");
    let known = secret(&key)?;
    let last = match fs::read_to_string(&path) {
        // What is left of a node whose key was removed does not count for a new one.
        _ if known.is_none() => 0,
        Ok(text) => text.trim().parse::<u32>().map_err(|e| damaged(format!("is damaged: {e}")))?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(damaged("is missing, although there is an `identity.key`".into()));
        }
        Err(source) => return Err(IdentityError::Io { path, source }),
    };
    let secret = secret_of(data)?;
    Ok(Unborn { secret, path, incarnation: last.saturating_add(1) })
}

impl Unborn {
    /// Begins the next life: from now on it has been.
    ///
    /// # Errors
    /// Its number cannot be written. No life has begun then.
    pub fn begin_life(self) -> Result<Identity, IdentityError> {
        let Self { secret, path, incarnation } = self;
        write_durably(&path, format!("{incarnation}\n").as_bytes())?;
        let node = NodeKey::from_seed(&secret).node_id();
        Ok(Identity { node, incarnation: Incarnation(incarnation) })
    }
}

/// What the key of the node in `data` is made of; a new one if there is none. No life begins.
///
/// # Errors
/// As those of [`read`].
pub fn secret_of(data: &Path) -> Result<[u8; 32], IdentityError> {
    let key = data.join("identity.key");
    match secret(&key)? {
        Some(secret) => Ok(secret),
        None => {
            // The number comes first: a key without one is a node that has forgotten its lives.
            write_durably(&data.join("incarnation"), b"0\n")?;
            new_secret(&key)
        }
    }
}

fn secret(path: &Path) -> Result<Option<[u8; 32]>, IdentityError> {
    match fs::read(path) {
        Ok(bytes) => bytes.try_into().map(Some).map_err(|bytes: Vec<u8>| IdentityError::Damaged {
            path: path.into(),
            why: format!("is damaged: it has {} bytes instead of 32", bytes.len()),
        }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(IdentityError::Io { path: path.into(), source }),
    }
}

fn new_secret(path: &Path) -> Result<[u8; 32], IdentityError> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)
        .map_err(|e| IdentityError::Io { path: path.into(), source: io::Error::other(e.to_string()) })?;
    write_durably(path, &secret)?;
    Ok(secret)
}

fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), IdentityError> {
    let temporary = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        if let Some(folder) = path.parent() {
            fs::File::open(folder)?.sync_all()?;
        }
        Ok(())
    };
    write().map_err(|source| IdentityError::Io { path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin_life(data: &Path) -> Result<Identity, IdentityError> {
        read(data)?.begin_life()
    }

    #[test]
    fn a_node_keeps_its_name_and_begins_a_new_life_at_each_start() {
        let folder = tempfile::tempdir().unwrap();
        let first = begin_life(folder.path()).unwrap();
        let second = begin_life(folder.path()).unwrap();
        assert_eq!(first.node, second.node);
        assert_eq!((first.incarnation.0, second.incarnation.0), (1, 2));
        drop(read(folder.path()).unwrap());
        assert_eq!(begin_life(folder.path()).unwrap().incarnation.0, 3, "what has not begun is no life");
    }

    #[test]
    fn damaged_files_are_named_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        begin_life(folder.path()).unwrap();
        fs::write(folder.path().join("incarnation"), "many").unwrap();
        let error = begin_life(folder.path()).err().unwrap().to_string();
        assert!(error.contains("incarnation is damaged"), "{error}");
        fs::write(folder.path().join("identity.key"), [1; 31]).unwrap();
        let error = begin_life(folder.path()).err().unwrap().to_string();
        assert!(error.contains("31 bytes instead of 32"), "{error}");
        assert_eq!(fs::read_to_string(folder.path().join("incarnation")).unwrap(), "many");
    }

    #[test]
    fn a_node_that_has_forgotten_its_lives_does_not_begin_the_first_again() {
        let folder = tempfile::tempdir().unwrap();
        let first = begin_life(folder.path()).unwrap();
        fs::remove_file(folder.path().join("incarnation")).unwrap();
        let error = begin_life(folder.path()).err().unwrap().to_string();
        assert!(error.contains("incarnation is missing") && error.contains("identity.key"), "{error}");
        fs::remove_file(folder.path().join("identity.key")).unwrap();
        let another = begin_life(folder.path()).unwrap();
        assert_ne!(another.node, first.node);
        assert_eq!(another.incarnation.0, 1);
    }
}
