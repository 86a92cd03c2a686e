//! The vocabulary that guests and hosts share: identifiers, schemas and their resolution,
//! envelopes, exit reasons, manifests and the guest ABI.
//!
//! It never knows tokio, wasmtime, sockets or clocks, and it is `no_std` + `alloc`, because it is
//! compiled into every guest.
#![no_std]

extern crate alloc;
extern crate self as neurath_proto;
#[cfg(feature = "std")]
extern crate std;

pub mod abi;
pub mod cluster;
pub mod data;
pub mod envelope;
pub mod frame;
pub mod id;
#[cfg(feature = "json")]
pub mod json;
pub mod manifest;
pub mod name;
pub mod notice;
pub mod reason;
pub mod resolve;
pub mod schema;

pub use data::{Data, DecodeError, Reader};
pub use id::{Incarnation, NodeId, Pid, Ref, Serial};
pub use schema::{Schema, SchemaBuilder, SchemaHash, Type};
