//! Scenarios: the kernel alone, in virtual time, driven by a seed. Guests are scripts in Rust that act on their port as
//! a real guest's host would.

mod channels;
mod full;
mod lives;
mod names;
mod nodes;
mod order;
mod receives;
mod records;
mod traces;
mod upgrades;
mod world;
