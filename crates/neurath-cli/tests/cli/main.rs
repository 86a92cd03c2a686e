//! The `neurath` command as people use it: the real binary, real nodes, real guests.
//!
//! The guests are what `cargo xtask test` builds from `programs/`; NEURATH_GUESTS names another directory.

mod bad_input;
mod harness;
mod life;
mod limits;
mod listings;
mod operating;
mod programs;
mod upgrades;
mod watch;
