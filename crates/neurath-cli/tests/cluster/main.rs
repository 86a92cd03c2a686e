//! Several nodes as users have them: processes of the operating system, with TLS on real sockets, that are killed, stopped
//! and cut off from each other (G1, G2).
//!
//! This is the *real-socket suite*: the one place where a test may let time pass, when what is to be seen is that nothing
//! happens meanwhile. What happens is waited for, here as elsewhere. The guests are what `cargo xtask test` builds from
//! `programs/`; NEURATH_GUESTS names another directory.

mod commands;
mod cut;
mod ends;
#[path = "../cli/harness.rs"]
#[allow(dead_code, reason = "the tests of single nodes use the rest of it")]
mod harness;
mod operators;
mod proxy;
mod silent;
mod strangers;
mod world;
