//! The module versions that are loaded, and which of each module is current.
//!
//! Invariant (G6): a version's native code lives exactly as long as a process runs it, an upgrade is on its way to
//! it, or it is current; nothing else holds it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use neurath_kernel::{Body, CodeId, Program, ProgramEntry};
use neurath_proto::abi::Tag;
use neurath_proto::envelope::SchemaId;
use neurath_proto::manifest::{EntryKind, Manifest};

use crate::guest::Guest;
use crate::logs::Logs;
use crate::types::{TooManySchemas, TypeTable};

/// The clocks that guests read.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Nanoseconds since the Unix epoch, or since the node started.
    pub fn read(&self, real: bool) -> u64 {
        if real { SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64) } else { self.now() }
    }

    /// Nanoseconds since the node started, never zero.
    #[inline]
    pub fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64 + 1
    }
}

/// What every guest of a node shares.
#[derive(Clone)]
pub struct Surroundings {
    /// The node's schemas.
    pub types: Arc<TypeTable>,
    /// Where guests' lines go.
    pub logs: Arc<Logs>,
    /// The node's clocks.
    pub clock: Clock,
    /// What guests' random numbers are drawn from.
    pub secret: [u8; 32],
}

/// A module version in memory, ready to run.
pub struct Loaded {
    /// Its number on this node.
    pub code: CodeId,
    /// `name@version`.
    pub name: String,
    /// BLAKE3 of the artifact.
    pub hash: [u8; 32],
    /// What it offers.
    pub manifest: Manifest,
    /// Its native code.
    pub module: Arc<neurath_engine::Module<Guest>>,
    /// What its tags stand for.
    pub tags: TagTable,
    /// See [`Surroundings`].
    pub types: Arc<TypeTable>,
    /// See [`Surroundings`].
    pub logs: Arc<Logs>,
    /// See [`Surroundings`].
    pub clock: Clock,
    /// See [`Surroundings`].
    pub secret: [u8; 32],
}

impl Loaded {
    /// The place of an entry in the manifest.
    pub fn entry(&self, name: &str) -> Option<u32> {
        self.manifest.entries.iter().position(|entry| entry.name == name).map(|at| at as u32)
    }
}

/// The loaded module version that a program stands for.
///
/// # Panics
/// Never for programs that a [`Catalog`] made, and nothing else makes any.
pub fn loaded(program: &Program) -> Arc<Loaded> {
    program.body.0.clone().downcast().expect("a catalog's program holds a loaded module")
}

/// What a module's tags stand for; written once for each tag, read at every send.
pub struct TagTable {
    ids: Box<[AtomicU32]>,
}

impl TagTable {
    /// Tags that a module may use: they are indices of its function table.
    const MAX: usize = 1 << 14;

    fn new() -> Self {
        Self { ids: (0..Self::MAX).map(|_| AtomicU32::new(0)).collect() }
    }

    /// The schema that was declared for a tag.
    #[inline]
    pub fn get(&self, tag: Tag) -> Option<SchemaId> {
        match self.ids.get(tag.0 as usize)?.load(Ordering::Relaxed) {
            0 => None,
            id => Some(SchemaId(id - 1)),
        }
    }

    /// Declares a tag.
    ///
    /// # Errors
    /// The tag is out of range, or was declared as something else: why the guest is to be stopped.
    pub fn set(&self, tag: Tag, id: SchemaId) -> Result<(), String> {
        let slot = self.ids.get(tag.0 as usize).filter(|_| tag.0 != 0);
        let slot = slot.ok_or_else(|| format!("tag {} was declared; tags go from 1 to {}", tag.0, Self::MAX - 1))?;
        match slot.compare_exchange(0, id.0 + 1, Ordering::Relaxed, Ordering::Relaxed) {
            Err(other) if other != id.0 + 1 => Err(format!("tag {} was declared twice, as different types", tag.0)),
            _ => Ok(()),
        }
    }
}

/// See the module.
pub struct Catalog {
    surroundings: Surroundings,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    last_code: u32,
    loaded: BTreeMap<[u8; 32], Weak<Program>>,
    current: BTreeMap<String, Arc<Program>>,
}

/// A loaded version, as listings show it.
#[derive(Clone, Debug)]
pub struct LoadedInfo {
    /// `name@version`.
    pub name: String,
    /// BLAKE3 of the artifact.
    pub hash: [u8; 32],
    /// Who holds it: processes, turns, and the catalog itself if it is current.
    pub holders: usize,
    /// Whether it is current.
    pub current: bool,
}

impl Catalog {
    /// An empty catalog.
    pub fn new(surroundings: Surroundings) -> Self {
        Self { surroundings, inner: Mutex::default() }
    }

    /// What every guest shares.
    pub fn surroundings(&self) -> &Surroundings {
        &self.surroundings
    }

    /// The version with this artifact, if it is loaded.
    pub fn get(&self, hash: &[u8; 32]) -> Option<Arc<Program>> {
        self.lock().loaded.get(hash).and_then(Weak::upgrade)
    }

    /// Adds a compiled module version. If another thread was faster, its program is returned.
    ///
    /// # Errors
    /// The node knows too many schemas.
    pub fn add(
        &self,
        hash: [u8; 32],
        name: String,
        module: Arc<neurath_engine::Module<Guest>>,
        manifest: Manifest,
    ) -> Result<Arc<Program>, TooManySchemas> {
        let entries = self.entries(&manifest)?;
        let mut inner = self.lock();
        if let Some(program) = inner.loaded.get(&hash).and_then(Weak::upgrade) {
            return Ok(program);
        }
        inner.last_code += 1;
        let code = CodeId(inner.last_code);
        let Surroundings { types, logs, clock, secret } = self.surroundings.clone();
        let tags = TagTable::new();
        let loaded =
            Arc::new(Loaded { code, name: name.clone(), hash, manifest, module, tags, types, logs, clock, secret });
        let program = Arc::new(Program { code, name, artifact: hash, entries, body: Body(loaded) });
        inner.loaded.retain(|_, program| program.strong_count() > 0);
        inner.loaded.insert(hash, Arc::downgrade(&program));
        Ok(program)
    }

    fn entries(&self, manifest: &Manifest) -> Result<Vec<ProgramEntry>, TooManySchemas> {
        let types = &self.surroundings.types;
        let known = types.known();
        let mut entries = Vec::new();
        for entry in &manifest.entries {
            let mut accepts = Vec::new();
            for schema in entry.accepts.iter().chain(&entry.call).chain(&entry.cast) {
                accepts.push(types.intern(schema.clone())?);
            }
            let is_server = entry.kind == EntryKind::Server;
            let declares = is_server || !entry.accepts.is_empty();
            accepts.retain(|id| ![known.down, known.exit].contains(id));
            entries.push(ProgramEntry { name: entry.name.clone(), accepts: declares.then_some(accepts), is_server });
        }
        Ok(entries)
    }

    /// The current version of a module.
    pub fn current(&self, package: &str) -> Option<Arc<Program>> {
        self.lock().current.get(package).cloned()
    }

    /// Makes a version current; what was before.
    pub fn set_current(&self, package: &str, program: Option<Arc<Program>>) -> Option<Arc<Program>> {
        let mut inner = self.lock();
        let (code, before) = match program {
            Some(program) => {
                loaded(&program).module.set_keeps_idle(true);
                (Some(program.code), inner.current.insert(package.to_owned(), program))
            }
            None => (None, inner.current.remove(package)),
        };
        drop(inner);
        if let Some(before) = before.as_ref().filter(|before| Some(before.code) != code) {
            loaded(before).module.set_keeps_idle(false);
        }
        before
    }

    /// What is loaded, by name.
    pub fn list(&self) -> Vec<LoadedInfo> {
        let inner = self.lock();
        let current: Vec<_> = inner.current.values().map(|program| program.code).collect();
        let mut all: Vec<_> = inner
            .loaded
            .values()
            .filter_map(Weak::upgrade)
            .map(|program| LoadedInfo {
                name: program.name.clone(),
                hash: loaded(&program).hash,
                holders: Arc::strong_count(&program) - 1,
                current: current.contains(&program.code),
            })
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
