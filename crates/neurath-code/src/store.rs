//! The artifact store: several versions of several modules, by name, semantic version and hash.
//!
//! It refuses to know what an artifact means, who runs it, and whether it is trusted.
//!
//! Invariants: an artifact's file bears the hash of its bytes, which is checked at each read; a version in the
//! index has an artifact, because the file is on the disk before the entry is, and goes after it; the hash of
//! a release never changes; one process at a time has the store. `docs/formats/store.md` describes the disk.

mod error;
mod index;
mod names;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use semver::{BuildMetadata, Version};

pub use error::{GetError, IndexError, OpenError, PutError, ReadError, RemoveError};
use index::Index;
pub use names::{
    ArtifactHash, DEVELOPMENT_DIGITS, HASH_PREFIX_MIN, ModuleName, ModuleRef, NAME_MAX, NameError, ParseRefError,
};

/// An artifact has at most this many bytes.
pub const ARTIFACT_MAX_BYTES: u64 = 256 << 20;

/// A version's source is cut at this many bytes.
const SOURCE_MAX_BYTES: usize = 4096;

/// A version of a module, as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleVersion {
    /// The module.
    pub name: ModuleName,
    /// Its version; a development version carries its artifact's hash as build metadata.
    pub version: Version,
    /// The artifact.
    pub hash: ArtifactHash,
    /// The artifact's size.
    pub size_bytes: u64,
    /// When it came, in milliseconds since the Unix epoch.
    pub stored_at_ms: u64,
    /// Where it came from: a path or an address, for people.
    pub source: Option<String>,
    /// The order in which versions came into this store.
    pub sequence: u64,
}

impl ModuleVersion {
    /// Whether it is a development version.
    pub fn is_development(&self) -> bool {
        is_development(&self.version)
    }

    /// Newer versions rank higher: by semantic version, then releases and development versions of the same
    /// one by when they came.
    fn rank(&self) -> (Version, u64) {
        (Version { build: BuildMetadata::EMPTY, ..self.version.clone() }, self.sequence)
    }
}

impl std::fmt::Display for ModuleVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

fn is_development(version: &Version) -> bool {
    version.build.starts_with("dev.")
}

/// `version` with the hash of its artifact, as [`Binding::Development`] stores it.
pub fn development_version(version: &Version, hash: ArtifactHash) -> Version {
    let build = BuildMetadata::new(&format!("dev.{}", hash.short())).unwrap_or_default();
    Version { build, ..version.clone() }
}

/// How an artifact is bound to its version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Binding {
    /// For good: another artifact for the same version is a conflict.
    #[default]
    Release,
    /// As a development version.
    Development,
    /// For good if the version is free, otherwise as a development version.
    ReleaseIfFree,
}

/// How to store an artifact.
#[derive(Clone, Debug, Default)]
pub struct PutOptions {
    /// How it is bound to its version.
    pub binding: Binding,
    /// Where it came from, for people.
    pub source: Option<String>,
}

/// An open store.
pub struct Store {
    dir: PathBuf,
    index: Index,
    temporaries: AtomicU64,
    /// Held while an artifact and its entry come or go together.
    changing: Mutex<()>,
    /// Holds the lock for as long as it is open.
    _lock: File,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store in a directory, which is made if need be. What a killed writer left half done is
    /// cleared away.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, OpenError> {
        let dir = dir.into();
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Io { path, source }
        };
        let artifacts = dir.join("artifacts");
        make_private_dir(&dir).map_err(failed(&dir))?;
        make_private_dir(&artifacts).map_err(failed(&artifacts))?;
        let lock = lock(&dir)?;
        for entry in fs::read_dir(&artifacts).map_err(failed(&artifacts))? {
            let path = entry.map_err(failed(&artifacts))?.path();
            if path.extension().is_some_and(|extension| extension == "tmp") {
                fs::remove_file(&path).map_err(failed(&path))?;
            }
        }
        let path = dir.join("index.redb");
        let index = Index::open(&path)
            .map_err(|source| OpenError::Index { path, source })?
            .map_err(|found| OpenError::Format { dir: dir.clone(), found })?;
        sync_dir(&dir).map_err(failed(&dir))?;
        Ok(Self { dir, index, temporaries: AtomicU64::new(0), changing: Mutex::new(()), _lock: lock })
    }

    /// Stores an artifact under a name and version. The same artifact again changes nothing, but mends a
    /// file that was damaged.
    pub fn put(
        &self,
        artifact: &[u8],
        name: &ModuleName,
        version: &Version,
        options: PutOptions,
    ) -> Result<ModuleVersion, PutError> {
        let size_bytes = artifact.len() as u64;
        if size_bytes > ARTIFACT_MAX_BYTES {
            return Err(PutError::TooLarge { size_bytes });
        }
        let hash = ArtifactHash::of(artifact);
        let development = development_version(version, hash);
        if is_development(version) && *version != development {
            return Err(PutError::DevelopmentHash { version: format!("{name}@{version}"), offered: hash });
        }
        let mut source = options.source;
        if let Some(source) = &mut source {
            source.truncate(source.floor_char_boundary(SOURCE_MAX_BYTES));
        }
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);

        let bound = self.index.get(name, version)?.map(|there| there.hash);
        let version = match (options.binding, bound) {
            (Binding::Release, Some(bound)) if bound != hash => {
                return Err(PutError::Conflict { version: format!("{name}@{version}"), bound, offered: hash });
            }
            (Binding::Release, _) => version.clone(),
            (Binding::ReleaseIfFree, bound) if bound.is_none_or(|bound| bound == hash) => version.clone(),
            (Binding::ReleaseIfFree | Binding::Development, _) => development,
        };
        self.write(artifact, hash).map_err(|(path, source)| PutError::Io { path, source })?;
        let new = ModuleVersion {
            name: name.clone(),
            version,
            hash,
            size_bytes,
            stored_at_ms: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64),
            source,
            sequence: 0,
        };
        match self.index.add(new)? {
            Ok(added) => Ok(added),
            Err(there) if there.hash == hash => Ok(there),
            // Two artifacts whose hashes begin with the same twelve digits.
            Err(there) => Err(PutError::Conflict { version: there.to_string(), bound: there.hash, offered: hash }),
        }
    }

    /// The version that a reference means.
    pub fn get(&self, reference: &ModuleRef) -> Result<ModuleVersion, GetError> {
        match reference {
            ModuleRef::Name(name) => {
                if let Some(current) = self.index.current(name)? {
                    return Ok(current);
                }
                let newest = self.index.versions(name)?.pop();
                newest.map_or_else(|| Err(self.unknown_name(name.as_str())?), Ok)
            }
            ModuleRef::Exact(name, version) => {
                if let Some(found) = self.index.get(name, version)? {
                    return Ok(found);
                }
                Err(self.unknown_version(name, version.to_string())?)
            }
            ModuleRef::Requirement(name, requirement) => {
                let mut fitting = self.index.versions(name)?;
                fitting.retain(|found| requirement.matches(&found.version));
                // Whoever names a range of versions means releases, as long as there is one.
                let release = fitting.iter().rposition(|found| !found.is_development());
                let newest = release.map(|at| fitting.swap_remove(at)).or_else(|| fitting.pop());
                newest.map_or_else(|| Err(self.unknown_version(name, requirement.to_string())?), Ok)
            }
            ModuleRef::Hash(prefix) => self.by_hash(prefix),
        }
    }

    /// Every version of every module, by name and then the oldest version first.
    pub fn list(&self) -> Result<Vec<ModuleVersion>, IndexError> {
        self.index.all()
    }

    /// The versions of one module, the oldest first.
    pub fn versions(&self, name: &ModuleName) -> Result<Vec<ModuleVersion>, IndexError> {
        self.index.versions(name)
    }

    /// Makes a version the one that its module's name stands for.
    pub fn set_current(&self, name: &ModuleName, version: &Version) -> Result<(), GetError> {
        if self.index.set_current(name, version)? {
            Ok(())
        } else {
            Err(self.unknown_version(name, version.to_string())?)
        }
    }

    /// The version that was made current, if one was.
    pub fn current(&self, name: &ModuleName) -> Result<Option<ModuleVersion>, IndexError> {
        self.index.current(name)
    }

    /// Removes a version, and its artifact if no other version stands for it. `pinned` says why not, if
    /// something needs it; the current version of a module is the last of its versions that can go.
    pub fn remove(
        &self,
        name: &ModuleName,
        version: &Version,
        pinned: impl FnOnce(&ModuleVersion) -> Option<String>,
    ) -> Result<ModuleVersion, RemoveError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let found = self.get(&ModuleRef::Exact(name.clone(), version.clone()))?;
        if let Some(why) = pinned(&found) {
            return Err(RemoveError::Pinned { version: Box::new(found), why });
        }
        if self.index.current(name)?.as_ref() == Some(&found) && self.index.versions(name)?.len() > 1 {
            return Err(RemoveError::Current { version: Box::new(found) });
        }
        self.index.remove(name, version)?;
        if !self.index.all()?.iter().any(|other| other.hash == found.hash) {
            let path = self.artifact_path(found.hash);
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(RemoveError::Io { path, source });
                }
                _ => {}
            }
        }
        Ok(found)
    }

    /// An artifact's bytes, checked against its hash.
    pub fn read(&self, hash: ArtifactHash) -> Result<Vec<u8>, ReadError> {
        let path = self.artifact_path(hash);
        let mut bytes = Vec::new();
        match File::open(&path).and_then(|file| file.take(ARTIFACT_MAX_BYTES + 1).read_to_end(&mut bytes)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(ReadError::Missing { path }),
            Err(source) => return Err(ReadError::Io { path, source }),
        }
        let found = ArtifactHash::of(&bytes);
        if found != hash {
            return Err(ReadError::Damaged { path, expected: hash, found, size_bytes: bytes.len() as u64 });
        }
        Ok(bytes)
    }

    /// Checks that an artifact is there and is what its name says.
    pub fn verify(&self, hash: ArtifactHash) -> Result<(), ReadError> {
        self.read(hash).map(drop)
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where an artifact's bytes are.
    pub fn artifact_path(&self, hash: ArtifactHash) -> PathBuf {
        self.dir.join("artifacts").join(format!("{hash}.wasm"))
    }

    /// Puts an artifact's file onto the disk, unless it is there and whole.
    fn write(&self, artifact: &[u8], hash: ArtifactHash) -> Result<(), (PathBuf, io::Error)> {
        if self.verify(hash).is_ok() {
            return Ok(());
        }
        let artifacts = self.dir.join("artifacts");
        let number = self.temporaries.fetch_add(1, Ordering::Relaxed);
        let temporary = artifacts.join(format!("{hash}.{number}.tmp"));
        let written = OpenOptions::new().write(true).create_new(true).open(&temporary).and_then(|mut file| {
            file.write_all(artifact)?;
            file.sync_all()
        });
        if let Err(error) = written {
            // It is swept at the next opening if it cannot be removed now.
            let _ = fs::remove_file(&temporary);
            return Err((temporary, error));
        }
        let path = self.artifact_path(hash);
        fs::rename(&temporary, &path).map_err(|error| (path, error))?;
        sync_dir(&artifacts).map_err(|error| (artifacts, error))
    }

    fn by_hash(&self, prefix: &str) -> Result<ModuleVersion, GetError> {
        if let Ok(name) = prefix.parse::<ModuleName>()
            && !self.index.versions(&name)?.is_empty()
        {
            return self.get(&ModuleRef::Name(name));
        }
        let mut found: Vec<ModuleVersion> =
            self.index.all()?.into_iter().filter(|version| version.hash.to_string().starts_with(prefix)).collect();
        let Some(newest) = found.pop() else { return Err(GetError::UnknownHash { prefix: prefix.to_owned() }) };
        if found.iter().all(|other| other.hash == newest.hash) {
            return Ok(newest);
        }
        found.push(newest);
        let candidates = found.iter().map(|version| format!("{version} ({})", version.hash)).collect();
        Err(GetError::AmbiguousHash { prefix: prefix.to_owned(), candidates })
    }

    fn unknown_name(&self, name: &str) -> Result<GetError, IndexError> {
        let all = self.index.all()?;
        let similar = names::similar(name, all.iter().map(|version| version.name.as_str()));
        Ok(GetError::UnknownName { name: name.to_owned(), similar })
    }

    fn unknown_version(&self, name: &ModuleName, wanted: String) -> Result<GetError, IndexError> {
        let there_are: Vec<Version> = self.index.versions(name)?.into_iter().map(|found| found.version).collect();
        if there_are.is_empty() {
            return self.unknown_name(name.as_str());
        }
        Ok(GetError::UnknownVersion { name: name.clone(), wanted, there_are })
    }
}

/// Whether a node has the store in `dir` open.
pub fn is_in_use(dir: &Path) -> bool {
    File::open(dir.join("lock")).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// The process that has the store in `dir` open, if one has and it can be told.
pub fn holder(dir: &Path) -> Option<u32> {
    let mut file = File::open(dir.join("lock")).ok().filter(|_| is_in_use(dir))?;
    number_in(&mut file)
}

/// The number of a process, as [`lock`] leaves it.
fn number_in(lock: &mut File) -> Option<u32> {
    let mut holder = String::new();
    lock.take(32).read_to_string(&mut holder).ok().and_then(|_| holder.trim().parse().ok())
}

/// Takes the lock and leaves our process's number in it for those who find it taken.
fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let failed = |source| OpenError::Io { path: path.clone(), source };
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(OpenError::Locked { dir: dir.to_owned(), pid: number_in(&mut file) });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed)?;
    Ok(file)
}

/// Makes a directory that only its owner can look into.
fn make_private_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

/// Flushes the names in a directory to the disk.
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
