//! Whole clusters in one thread, from a seed.
//!
//! It drives the very state machines that nodes run, with virtual time and a network that misbehaves, and checks
//! what is promised. It never knows the real clock. Invariant: a run depends on its scenario and its seed only, so
//! the command that a failure prints replays it.

pub mod check;
pub mod cluster;
pub mod guest;
pub mod network;
pub mod rng;
pub mod scenario;
pub mod shrink;
pub mod vocabulary;

pub use scenario::{Failure, Report, Run, Scenario, simulate};
