//! Small files that are whole or absent: keys, certificates and an authority's records.
//!
//! It refuses to know what stands in them. Invariant: what is written is on the disk, and readable by whom it should
//! be, before its name is. (What [`create`] made is whole when that says so, and its owner's alone at once.)

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// No file of this crate is longer.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// A file that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// What the system says.
    pub source: io::Error,
}

/// Who may read a file.
#[derive(Clone, Copy)]
pub(crate) enum Readers {
    Owner,
    Everyone,
}

pub(crate) fn read(path: &Path) -> Result<String, FileError> {
    let failed = |source| FileError { path: path.into(), source };
    String::from_utf8(read_bytes(path)?).map_err(|e| failed(io::Error::other(e)))
}

pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>, FileError> {
    let read = || {
        if fs::metadata(path)?.len() > FILE_BYTES_MAX {
            return Err(io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes")));
        }
        fs::read(path)
    };
    read().map_err(|source| FileError { path: path.into(), source })
}

/// Writes a file that was not there, for its owner only.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let failed = |source| FileError { path: path.into(), source };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.map_err(|source| {
        // Half of it is of no use.
        let _ = fs::remove_file(path);
        failed(source)
    })
}

pub(crate) fn write(path: &Path, bytes: &[u8], readers: Readers) -> Result<(), FileError> {
    let temporary = path.with_extension("new");
    let mode = match readers {
        Readers::Owner => 0o600,
        Readers::Everyone => 0o644,
    };
    let write = || -> io::Result<()> {
        // What an interrupted write left may have another mode.
        if let Err(e) = fs::remove_file(&temporary)
            && e.kind() != io::ErrorKind::NotFound
        {
            return Err(e);
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::File::open(folder)?.sync_all()?;
        }
        Ok(())
    };
    write().map_err(|source| FileError { path: path.into(), source })
}
