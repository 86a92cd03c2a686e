//! Runs guests: prepares, compiles and caches modules; starts, polls, stops, captures and restores instances.
//!
//! This is the only crate that knows wasmtime. It knows nothing of other nodes, of scheduling and of
//! what a message means: a guest's calls go to the [`Host`] of its [`Instance`].
//!
//! The way of a module: bytes → [`prepare`] → [`Prepared`] → [`Engine::compile`] → [`Module`] →
//! [`Instance::new`] → [`Instance::start_entry`], [`Instance::poll`] … → [`Instance::recycle`].
//!
//! Invariant: whatever a module or a guest does ends in a value of an error type or a [`Fault`]; no
//! host code panics because of it, and no byte of one process is ever seen by another.
#![deny(unsafe_op_in_unsafe_fn)]

mod cache;
mod describe;
mod engine;
mod fault;
mod host;
mod image;
mod imports;
mod instance;
mod module;
mod pagemap;
mod prepare;
mod slots;
mod state;
mod wasi;

pub use cache::CacheError;
pub use describe::{DescribeError, Identity, describe, with_section};
pub use engine::{Engine, EngineConfig, EngineError, Ticker};
pub use fault::Fault;
pub use host::{Clock, Host, Stop, Taken};
pub use image::{Image, ImageError};
pub use instance::{Instance, InstanceError};
pub use module::{CompileError, ConverterIndex, EntryIndex, Module, Origin};
pub use prepare::{HiddenState, ModuleLimits, PrepareError, Prepared, prepare};
