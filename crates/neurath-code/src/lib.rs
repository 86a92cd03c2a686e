//! Code of programs: the toolchain that builds guests, the builds, and the store that keeps artifacts.
//!
//! It never knows wasmtime, tokio, or who is connected. Everything here blocks; callers that must not
//! block run it on a thread of their own.
//!
//! - [`toolchain`] finds, and if needed installs, a Rust toolchain for the guests' target.
//! - [`build`] compiles one guest with it.
//! - [`store`] keeps the artifacts of several versions of several modules.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod build;
mod command;
pub mod progress;
pub mod store;
mod sysroot;
pub mod toolchain;

pub use build::{BuildError, BuildRequest, BuiltModule, Profile};
pub use progress::Progress;
pub use toolchain::{Toolchain, ToolchainError};

/// The target that guests are compiled for.
pub const GUEST_TARGET: &str = "wasm32-wasip1";

/// The crate that every guest depends on.
pub const SDK_CRATE: &str = "neurath";
