//! [`Module`]: compiled code, the image that its processes begin with, and its idle instances.
//!
//! Invariants: the native code lives exactly as long as the module or one of its instances; an idle
//! instance is equal to a fresh one, to the byte.

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use neurath_proto::abi::export;
use neurath_proto::manifest::Manifest;
use thiserror::Error;
use wasmtime::{InstancePre, Linker, ModuleExport};

use crate::engine::Engine;
use crate::fault::Fault;
use crate::host::Host;
use crate::image::GlobalValue;
use crate::instance::{InstanceError, Parts};
use crate::pagemap::PAGE;
use crate::prepare::{GLOBAL_PREFIX, HiddenState, Inspected, Prepared, REWRITE_VERSION};
use crate::state::State;
use crate::{imports, wasi};

/// Why a module could not be compiled. Nothing has changed.
#[derive(Debug, Error)]
pub enum CompileError {
    /// Cranelift or wasmtime refuses it.
    #[error(
        "module `{package}` cannot be compiled: {reason}; if it was built with `neurath build`, please report this"
    )]
    Compiler {
        /// The module's name.
        package: String,
        /// What the compiler says.
        reason: String,
    },
    /// Its `_initialize` did not return.
    #[error("module `{package}` cannot be initialized: {fault}; its constructors must neither fail nor reach outside")]
    Initialize {
        /// The module's name.
        package: String,
        /// How it ended.
        fault: Fault,
    },
    /// There is no room for its first instance.
    #[error(transparent)]
    Instance(#[from] InstanceError),
}

/// Where a module's native code came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was compiled; the engine has no cache.
    Compiled,
    /// It was compiled and put into the cache.
    CompiledAndKept,
    /// It was compiled, and could not be put into the cache for this reason.
    CompiledNotKept(String),
    /// It was in the cache.
    Cached,
}

/// The number of an entry in the module's manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryIndex(pub u32);

/// The number of a converter in the module's manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConverterIndex(pub u32);

/// A compiled module version.
pub struct Module<H: Host> {
    pub(crate) engine: Engine,
    pub(crate) pre: InstancePre<State<H>>,
    pub(crate) exports: Exports,
    pub(crate) initial: InitialImage,
    pub(crate) hidden_state: Option<HiddenState>,
    pub(crate) hash: [u8; 32],
    manifest: Manifest,
    origin: Origin,
    idle: Mutex<Vec<Parts<H>>>,
    keeps_idle: AtomicBool,
}

/// Where the exports are.
pub(crate) struct Exports {
    pub(crate) memory: ModuleExport,
    pub(crate) alloc: ModuleExport,
    pub(crate) poll: ModuleExport,
    pub(crate) state: Option<ModuleExport>,
    pub(crate) initialize: Option<ModuleExport>,
    pub(crate) globals: Vec<ModuleExport>,
    /// Whether the first of the globals is number 0 of the module.
    pub(crate) begins_with_global_0: bool,
    pub(crate) starts: Vec<ModuleExport>,
    pub(crate) converts: Vec<ModuleExport>,
}

/// What every process begins with: memory and globals after `_initialize`.
#[derive(Debug, Default)]
pub(crate) struct InitialImage {
    pub(crate) memory_bytes: usize,
    /// Pages that are not zero, in ascending order.
    pub(crate) pages: Vec<(u32, Box<[u8; PAGE]>)>,
    pub(crate) globals: Vec<GlobalValue>,
    /// Whether wasmtime's own initialization makes the same.
    pub(crate) is_instantiated: bool,
}

impl InitialImage {
    /// The page as every process begins with it.
    pub(crate) fn page(&self, page: u32) -> &[u8; PAGE] {
        static ZERO: [u8; PAGE] = [0; PAGE];
        match self.pages.binary_search_by_key(&page, |(n, _)| *n) {
            Ok(at) => &self.pages[at].1,
            Err(_) => &ZERO,
        }
    }
}

impl Engine {
    /// Compiles `prepared`, or takes its code from the cache, and makes its initial image.
    ///
    /// It takes as long as it takes, with all threads; a guest that does not come back from
    /// `_initialize` is stopped after some ticks of the engine.
    pub fn compile<H: Host>(&self, prepared: &Prepared) -> Result<Arc<Module<H>>, CompileError> {
        self.build(*prepared.hash(), prepared.manifest().clone(), prepared.inspected())
    }

    pub(crate) fn build<H: Host>(
        &self,
        hash: [u8; 32],
        manifest: Manifest,
        inspected: &Inspected,
    ) -> Result<Arc<Module<H>>, CompileError> {
        let failed =
            |e: wasmtime::Error| CompileError::Compiler { package: manifest.package.clone(), reason: format!("{e:#}") };
        let (code, origin) = self.code(&hash, &inspected.wasm).map_err(failed)?;
        let mut linker = Linker::new(&self.0.wasmtime);
        imports::define(&mut linker).map_err(failed)?;
        wasi::define(&mut linker).map_err(failed)?;
        let pre = linker.instantiate_pre(&code).map_err(failed)?;
        let exports = Exports::find(&code, &manifest, inspected).map_err(failed)?;
        let mut module = Module {
            engine: self.clone(),
            pre,
            exports,
            initial: InitialImage::default(),
            hidden_state: inspected.hidden_state.clone(),
            hash,
            manifest,
            origin,
            idle: Mutex::default(),
            keeps_idle: AtomicBool::new(true),
        };
        let mut first = Parts::instantiate(&module)?;
        let before = first.look(&module);
        first
            .initialize(&module)
            .map_err(|fault| CompileError::Initialize { package: module.manifest.package.clone(), fault })?;
        let after = first.look(&module);
        let is_instantiated =
            before.memory_bytes == after.memory_bytes && before.pages == after.pages && before.globals == after.globals;
        module.initial = InitialImage { is_instantiated, ..after };
        module.keep(first);
        Ok(Arc::new(module))
    }

    fn code(&self, hash: &[u8; 32], wasm: &[u8]) -> wasmtime::Result<(wasmtime::Module, Origin)> {
        let Some(cache) = &self.0.cache else {
            return Ok((wasmtime::Module::from_binary(&self.0.wasmtime, wasm)?, Origin::Compiled));
        };
        let name = self.cache_name(hash);
        if let Some(code) = cache.get(&name) {
            // SAFETY: the bytes carry the checksum that `put` gave them, under a name made from the
            // artifact and from all of the engine's configuration, in a directory that only this user
            // can write; so they are what `serialize` made of this artifact.
            if let Ok(module) = unsafe { wasmtime::Module::deserialize(&self.0.wasmtime, code) } {
                return Ok((module, Origin::Cached));
            }
        }
        let module = wasmtime::Module::from_binary(&self.0.wasmtime, wasm)?;
        let origin = match cache.put(&name, &module.serialize()?) {
            Ok(()) => Origin::CompiledAndKept,
            Err(e) => Origin::CompiledNotKept(e.to_string()),
        };
        Ok((module, origin))
    }

    /// What native code depends on: the artifact, how it is rewritten, and how it is compiled.
    fn cache_name(&self, hash: &[u8; 32]) -> [u8; 32] {
        let mut hasher = Blake3(blake3::Hasher::new());
        hasher.write(hash);
        hasher.write_u32(REWRITE_VERSION);
        self.0.wasmtime.precompile_compatibility_hash().hash(&mut hasher);
        *hasher.0.finalize().as_bytes()
    }
}

impl<H: Host> Module<H> {
    /// The artifact hash.
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// What it offers.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The entry of this name.
    pub fn entry(&self, name: &str) -> Option<EntryIndex> {
        self.manifest.entries.iter().position(|e| e.name == name).map(|i| EntryIndex(i as u32))
    }

    /// The converter of this name.
    pub fn converter(&self, name: &str) -> Option<ConverterIndex> {
        self.manifest.converters.iter().position(|c| c.name == name).map(|i| ConverterIndex(i as u32))
    }

    /// Why its processes cannot be captured, if they cannot.
    pub fn hidden_state(&self) -> Option<&HiddenState> {
        self.hidden_state.as_ref()
    }

    /// Where its native code came from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Bytes of native code.
    pub fn code_bytes(&self) -> usize {
        self.pre.module().text().len()
    }

    /// Bytes of linear memory that a process begins with.
    pub fn initial_memory_bytes(&self) -> usize {
        self.initial.memory_bytes
    }

    /// Idle instances that wait for the next spawn.
    pub fn idle(&self) -> usize {
        self.lock().len()
    }

    /// Whether instances that end are kept for the next spawn, as they are at first. Without, the idle ones go: that is
    /// for a module that is not the newest any more.
    pub fn set_keeps_idle(&self, keeps: bool) {
        self.keeps_idle.store(keeps, Ordering::Relaxed);
        if !keeps {
            let idle = std::mem::take(&mut *self.lock());
            drop(idle);
        }
    }

    pub(crate) fn take_idle(&self) -> Option<Parts<H>> {
        self.lock().pop()
    }

    /// Keeps an instance for the next spawn if it can be made equal to a fresh one.
    pub(crate) fn keep(&self, mut parts: Parts<H>) {
        let max = self.engine.0.config.idle_instances_max;
        if !self.keeps_idle.load(Ordering::Relaxed)
            || self.hidden_state.is_some()
            || self.idle() >= max
            || !parts.reset(self)
        {
            return;
        }
        let mut idle = self.lock();
        if idle.len() < max {
            idle.push(parts);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Parts<H>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<H: Host> std::fmt::Debug for Module<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Module({}@{})", self.manifest.package, self.manifest.version)
    }
}

impl Exports {
    fn find(code: &wasmtime::Module, manifest: &Manifest, inspected: &Inspected) -> wasmtime::Result<Self> {
        let optional = |name: &str| code.get_export_index(name);
        let required = |name: &str| {
            optional(name).ok_or_else(|| wasmtime::Error::msg(format!("the export `{name}` was lost in compilation")))
        };
        let with = |prefix: &str, name: &str| required(&format!("{prefix}{name}"));
        Ok(Self {
            memory: required(export::MEMORY)?,
            alloc: required(export::ALLOC)?,
            poll: required(export::POLL)?,
            state: optional(export::STATE),
            initialize: optional(export::INITIALIZE),
            globals: inspected
                .globals
                .iter()
                .map(|(number, _)| required(&format!("{GLOBAL_PREFIX}{number}")))
                .collect::<Result<_, _>>()?,
            begins_with_global_0: inspected.globals.first().is_some_and(|(number, _)| *number == 0),
            starts: manifest
                .entries
                .iter()
                .map(|entry| with(export::START_PREFIX, &entry.name))
                .collect::<Result<_, _>>()?,
            converts: manifest
                .converters
                .iter()
                .map(|converter| with(export::CONVERT_PREFIX, &converter.name))
                .collect::<Result<_, _>>()?,
        })
    }
}

/// BLAKE3 as a [`Hasher`]: the standard library's may change with its version.
struct Blake3(blake3::Hasher);

impl Hasher for Blake3 {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let hash = self.0.finalize();
        u64::from_le_bytes(std::array::from_fn(|i| hash.as_bytes()[i]))
    }
}
