//! [`Builder`]: from the directory of a crate to a module that nodes take.
//!
//! It joins what `neurath-code` compiles with what the engine reads out of it, and refuses to know where modules go.
//! Invariant: what it gives, a node of this release prepares and compiles.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use neurath_code::{BuildError, BuildRequest, Progress, Toolchain, ToolchainError};
use neurath_engine::{DescribeError, Engine, EngineConfig, EngineError, Identity, PrepareError, describe, prepare};
use neurath_proto::manifest::Manifest;

/// See the module. Everything here blocks.
#[derive(Debug)]
pub struct Builder {
    toolchain: Toolchain,
    engine: Engine,
}

/// A module, ready to be installed.
#[derive(Clone, Debug)]
pub struct Built {
    /// The module, with its manifest in it.
    pub wasm: Vec<u8>,
    /// What it offers.
    pub manifest: Manifest,
    /// What the compiler warned of.
    pub warnings: String,
    /// Where the compiler's own file is.
    pub compiled: PathBuf,
    /// The directories whose change makes it stale.
    pub local_dirs: Vec<PathBuf>,
    /// How long it took.
    pub took: Duration,
}

/// Why there is no module. Nothing that nodes use has changed.
#[derive(Debug, thiserror::Error)]
pub enum BuilderError {
    /// There is no toolchain.
    #[error(transparent)]
    Toolchain(#[from] ToolchainError),
    /// There is no engine to ask the module with.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The crate does not compile, or is none.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The module does not say what it offers.
    #[error(transparent)]
    Describe(#[from] DescribeError),
    /// The module is not one for nodes.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// The compiler's file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

impl Builder {
    /// Finds a toolchain, and installs what is missing if it can.
    ///
    /// # Errors
    /// No toolchain here can build guests.
    pub fn new(progress: &mut dyn FnMut(Progress)) -> Result<Self, BuilderError> {
        Ok(Self { toolchain: Toolchain::find(progress)?, engine: Engine::new(EngineConfig::default())? })
    }

    /// Compiles a crate, and asks the module what it offers.
    ///
    /// # Errors
    /// The crate does not compile, or is no program for Neurath.
    pub fn build(&self, request: &BuildRequest, progress: &mut dyn FnMut(Progress)) -> Result<Built, BuilderError> {
        let started = Instant::now();
        let built = self.toolchain.build(request, progress)?;
        let compiled = built.wasm_path;
        let wasm = std::fs::read(&compiled).map_err(|source| BuilderError::Read { path: compiled.clone(), source })?;
        let identity = Identity {
            package: built.package,
            version: built.version.to_string(),
            sdk: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let wasm = describe(&self.engine, &wasm, &identity)?;
        let manifest = prepare(&wasm, &self.engine.config().module)?.manifest().clone();
        let (warnings, local_dirs) = (built.warnings, built.local_dirs);
        Ok(Built { wasm, manifest, warnings, compiled, local_dirs, took: started.elapsed() })
    }
}

/// What a module says of itself; nothing of it is run.
///
/// # Errors
/// It is not a module for nodes.
pub fn manifest_of(wasm: &[u8]) -> Result<Manifest, PrepareError> {
    Ok(prepare(wasm, &EngineConfig::default().module)?.manifest().clone())
}
