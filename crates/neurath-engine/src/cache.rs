//! [`Cache`]: compiled modules on disk, so that a node starts without compiling.
//!
//! It holds native code, so nothing from outside may get in: the directory belongs to this user
//! alone, and a file that does not carry its own checksum is as good as missing. What the code means
//! is not known here. Invariant: [`Cache::get`] returns exactly the bytes that [`Cache::put`] was
//! given under that name, or nothing.
//!
//! # Format
//!
//! | bytes | meaning |
//! |---|---|
//! | 4 | magic `NRTC` |
//! | 4 | version, 1, little-endian |
//! | 32 | BLAKE3 of name and code |
//! | rest | the code, as wasmtime serializes it |

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;

const MAGIC: [u8; 4] = *b"NRTC";
const VERSION: u32 = 1;
const HEADER: usize = 40;
const EXTENSION: &str = "nrtc";
/// A compiled module is never larger than this, so neither is what is read.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// Why a directory cannot be used as a cache.
#[derive(Debug, Error)]
pub enum CacheError {
    /// It cannot be made or read.
    #[error("the cache directory {path} cannot be used: {source}; make it writable or choose another")]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others have access, so that native code could be slipped in.
    #[error("the cache directory {path} is open to other users; run `chmod 700 {path}`, or choose one that you own")]
    NotPrivate {
        /// The directory.
        path: PathBuf,
    },
}

/// A directory of compiled modules.
#[derive(Debug)]
pub(crate) struct Cache {
    directory: PathBuf,
    bytes_max: u64,
    temporaries: AtomicU64,
}

impl Cache {
    /// The cache in `directory`, which is made if it is missing.
    pub(crate) fn open(directory: &Path, bytes_max: u64) -> Result<Self, CacheError> {
        let failed = |source| CacheError::Io { path: directory.to_path_buf(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        let of = fs::metadata(directory).map_err(failed)?;
        // SAFETY: geteuid only reads.
        if of.uid() != unsafe { libc::geteuid() } || of.mode() & 0o077 != 0 {
            return Err(CacheError::NotPrivate { path: directory.to_path_buf() });
        }
        Ok(Self { directory: directory.to_path_buf(), bytes_max, temporaries: AtomicU64::new(0) })
    }

    /// What was put under `name`.
    pub(crate) fn get(&self, name: &[u8; 32]) -> Option<Vec<u8>> {
        let path = self.path(name);
        let file = File::open(&path).ok()?;
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        let sound = bytes.len() >= HEADER
            && bytes[..4] == MAGIC
            && bytes[4..8] == VERSION.to_le_bytes()
            && bytes[8..HEADER] == checksum(name, &bytes[HEADER..]);
        if !sound {
            // It is made again; removing it now only saves the next look.
            let _ = fs::remove_file(&path);
            return None;
        }
        let _ = File::options().write(true).open(&path).and_then(|f| f.set_modified(std::time::SystemTime::now()));
        bytes.drain(..HEADER);
        Some(bytes)
    }

    /// Keeps `code` under `name`, and removes what is too much.
    pub(crate) fn put(&self, name: &[u8; 32], code: &[u8]) -> io::Result<()> {
        if code.len() as u64 + HEADER as u64 > FILE_BYTES_MAX.min(self.bytes_max) {
            return Ok(());
        }
        let number = self.temporaries.fetch_add(1, Ordering::Relaxed);
        let temporary = self.directory.join(format!("{}-{number}.tmp", std::process::id()));
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.write_all(&MAGIC)?;
            file.write_all(&VERSION.to_le_bytes())?;
            file.write_all(&checksum(name, code))?;
            file.write_all(code)?;
            fs::rename(&temporary, self.path(name))
        })();
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written?;
        self.prune()
    }

    /// Removes the longest unused files until the rest is small enough, and what a crash left behind.
    fn prune(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let Ok(of) = entry.metadata() else { continue };
            let path = entry.path();
            let age = of.modified().ok().and_then(|at| at.elapsed().ok()).unwrap_or_default();
            match path.extension().and_then(|e| e.to_str()) {
                Some(EXTENSION) => files.push((age, of.len(), path)),
                Some("tmp") if age.as_secs() > 3600 => fs::remove_file(path)?,
                _ => {}
            }
        }
        files.sort();
        let mut kept = 0;
        for (_, bytes, path) in files {
            kept += bytes;
            if kept > self.bytes_max {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn path(&self, name: &[u8; 32]) -> PathBuf {
        use std::fmt::Write as _;
        let mut text = String::with_capacity(70);
        for byte in name {
            let _ = write!(text, "{byte:02x}");
        }
        self.directory.join(text).with_extension(EXTENSION)
    }
}

fn checksum(name: &[u8; 32], code: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(name).update(code);
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary directory")
    }

    fn only_file(of: &Path) -> PathBuf {
        let mut files = fs::read_dir(of).expect("readable").map(|e| e.expect("readable").path());
        let file = files.next().expect("one file");
        assert!(files.next().is_none());
        file
    }

    #[test]
    fn code_comes_back_as_it_was_put() {
        let directory = directory();
        let cache = Cache::open(&directory.path().join("a/b"), 1 << 20).expect("opens");
        assert_eq!(cache.get(&[1; 32]), None);
        cache.put(&[1; 32], b"code").expect("writes");
        assert_eq!(cache.get(&[1; 32]).as_deref(), Some(&b"code"[..]));
        assert_eq!(cache.get(&[2; 32]), None);
    }

    #[test]
    fn a_damaged_file_is_as_good_as_missing() {
        let directory = directory();
        let cache = Cache::open(&directory.path().join("c"), 1 << 20).expect("opens");
        cache.put(&[1; 32], b"code").expect("writes");
        let sound = fs::read(only_file(&cache.directory)).expect("reads");
        for bit in 0..sound.len() * 8 {
            cache.put(&[1; 32], b"code").expect("writes");
            let file = only_file(&cache.directory);
            let mut bytes = sound.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(&file, &bytes).expect("writes");
            assert_eq!(cache.get(&[1; 32]), None, "bit {bit}");
        }
        for length in 0..sound.len() {
            cache.put(&[1; 32], b"code").expect("writes");
            fs::write(only_file(&cache.directory), &sound[..length]).expect("writes");
            assert_eq!(cache.get(&[1; 32]), None, "length {length}");
        }
        // Nor is a file taken under the name of another.
        cache.put(&[1; 32], b"code").expect("writes");
        fs::rename(only_file(&cache.directory), cache.path(&[2; 32])).expect("renames");
        assert_eq!(cache.get(&[2; 32]), None);
    }

    #[test]
    fn a_directory_open_to_others_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let directory = directory();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("ours");
        assert!(matches!(Cache::open(directory.path(), 1), Err(CacheError::NotPrivate { .. })));
    }

    #[test]
    fn the_cache_stays_within_its_bound() {
        let directory = directory();
        let cache = Cache::open(&directory.path().join("c"), 3000).expect("opens");
        for n in 0..10 {
            cache.put(&[n; 32], &[n; 1000]).expect("writes");
        }
        let bytes: u64 =
            fs::read_dir(&cache.directory).expect("reads").map(|e| e.unwrap().metadata().unwrap().len()).sum();
        assert!(bytes <= 3000, "{bytes}");
        cache.put(&[11; 32], &[0; 4000]).expect("too large to be kept is no error");
        assert_eq!(cache.get(&[11; 32]), None);
    }
}
