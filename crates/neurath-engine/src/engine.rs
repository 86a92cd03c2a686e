//! [`Engine`]: wasmtime's engine as Neurath configures it, the slots of all guests, and time.
//!
//! It has no thread of its own: whoever made it ticks it, by hand or with a [`Ticker`]. Invariant:
//! compiled code checks every access, so a memory needs no guard and may move when it grows.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use thiserror::Error;
use wasmtime::{Config, OptLevel, ProfilingStrategy, WasmBacktraceDetails};

use crate::cache::{Cache, CacheError};
use crate::prepare::ModuleLimits;
use crate::slots::{SlotMemories, Slots};

/// What an engine may use.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Native stack that a guest may use, in bytes. Threads that poll guests need this much and 256 KiB more.
    pub stack_bytes_max: usize,
    /// Linear memory that one process may have, in bytes, unless its instance is given another limit.
    pub memory_bytes_max: usize,
    /// Address space for all memories, in bytes. Less is taken if there is less.
    pub mapping_bytes: usize,
    /// Where compiled modules are kept; only its owner may have access. None keeps nothing.
    pub cache: Option<PathBuf>,
    /// Compiled modules are removed, the longest unused first, when there are more bytes of them.
    pub cache_bytes_max: u64,
    /// Idle instances that a module keeps for the next spawn.
    pub idle_instances_max: usize,
    /// Tells Linux's `perf` the names of guests' functions, in `/tmp/perf-PID.map`.
    pub perf_map: bool,
    /// Bytes of a state or a converted state.
    pub state_bytes_max: usize,
    /// Bytes of an image.
    pub image_bytes_max: usize,
    /// What a module may ask for.
    pub module: ModuleLimits,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            stack_bytes_max: 512 << 10,
            memory_bytes_max: 64 << 20,
            mapping_bytes: 8 << 40,
            cache: None,
            cache_bytes_max: 1 << 30,
            idle_instances_max: 256,
            perf_map: false,
            state_bytes_max: 16 << 20,
            image_bytes_max: 64 << 20,
            module: ModuleLimits::default(),
        }
    }
}

/// Why there is no engine.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The kernel gives no address space.
    #[error("there is no address space for the guests' memories ({0}); raise the limit on virtual memory (ulimit -v)")]
    Mapping(#[source] std::io::Error),
    /// The cache directory cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The compiler does not support this machine or this configuration.
    #[error("wasmtime refuses its configuration: {0}; check `stack_bytes_max`, or run on x86-64 or AArch64 Linux")]
    Wasmtime(String),
}

/// Compiles modules and runs their instances. Cheap to clone; clones are the same engine.
#[derive(Clone, Debug)]
pub struct Engine(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) wasmtime: wasmtime::Engine,
    pub(crate) slots: Arc<Slots>,
    pub(crate) cache: Option<Cache>,
    pub(crate) config: EngineConfig,
}

impl Engine {
    /// An engine with its own mapping.
    pub fn new(config: EngineConfig) -> Result<Self, EngineError> {
        let slots = Slots::new(config.mapping_bytes).map_err(EngineError::Mapping)?;
        let cache = match &config.cache {
            Some(directory) => Some(Cache::open(directory, config.cache_bytes_max)?),
            None => None,
        };
        let wasmtime = wasmtime::Engine::new(&wasmtime_config(&config, &slots))
            .map_err(|e| EngineError::Wasmtime(format!("{e:#}")))?;
        Ok(Self(Arc::new(Inner { wasmtime, slots, cache, config })))
    }

    /// What it was made with.
    pub fn config(&self) -> &EngineConfig {
        &self.0.config
    }

    /// Lets one tick pass. A guest that has run since before the last tick asks its host
    /// ([`Host::overrun`](crate::Host::overrun)) whether it may go on.
    pub fn tick(&self) {
        self.0.wasmtime.increment_epoch();
    }

    /// Memories that exist at present, those of idle instances included.
    pub fn memories(&self) -> usize {
        self.0.slots.in_use()
    }

    /// Whether the kernel says which pages a guest has touched. Without, a reset costs as much as the
    /// memory is large.
    pub fn sees_pages(&self) -> bool {
        self.0.slots.sees_pages()
    }
}

fn wasmtime_config(config: &EngineConfig, slots: &Arc<Slots>) -> Config {
    let mut wasmtime = Config::new();
    wasmtime
        .cranelift_opt_level(OptLevel::Speed)
        .parallel_compilation(true)
        .epoch_interruption(true)
        .max_wasm_stack(config.stack_bytes_max)
        // Memories come from slots without guards, and may move.
        .with_host_memory(Arc::new(SlotMemories(Arc::clone(slots))))
        .memory_reservation(0)
        .memory_reservation_for_growth(0)
        .memory_guard_size(0)
        .guard_before_linear_memory(false)
        .memory_may_move(true)
        .memory_init_cow(false)
        // The name of the function that trapped is wanted, addresses and DWARF are not.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .generate_address_map(false)
        .native_unwind_info(false)
        // What an image cannot hold, or what computes differently on another processor.
        .wasm_multi_memory(false)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false)
        .wasm_custom_page_sizes(false);
    if config.perf_map {
        wasmtime.profiler(ProfilingStrategy::PerfMap);
    }
    wasmtime
}

/// A thread that ticks an engine until it is dropped.
#[derive(Debug)]
pub struct Ticker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// The period that the runtime uses.
    pub const PERIOD: Duration = Duration::from_millis(1);

    /// Ticks `engine` every `period`.
    pub fn start(engine: &Engine, period: Duration) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (engine, stopped) = (engine.clone(), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("neurath-ticker".into()).spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                std::thread::park_timeout(period);
                engine.tick();
            }
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The thread does nothing that could panic, and nothing would follow from it if it did.
            let _ = thread.join();
        }
    }
}
