//! Real guests on real nodes: what the guarantees G3, G4, G6, G7, G8 and G10 promise, seen through [`Node`].
//!
//! The guests are what `cargo xtask test` builds from `programs/`; NEURATH_GUESTS names another directory.
//! Nothing here knows how a node keeps its promises: tests only start, ask, send, upgrade, kill and look.
//!
//! [`Node`]: neurath_node::Node

mod cluster;
mod code;
mod common;
mod hibernation;
mod hostile;
mod members;
mod mismatch;
mod pressure;
mod receives;
mod supervision;
mod upgrade;
