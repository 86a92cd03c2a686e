//! A node: shards with their guests, the store, the control API. This is what an embedder uses.
//!
//! It drives the kernel with threads and clocks. It never knows terminals or argument parsing.

pub mod api;
mod bodies;
mod builder;
mod catalog;
mod cluster;
pub mod config;
mod error;
mod guest;
mod identity;
mod inbox;
mod logs;
mod meter;
mod metrics;
mod node;
mod shard;
mod shared;
mod trace;
mod types;
mod upgrade;

pub use bodies::{BodiesHeld, Footprint};
pub use builder::{Builder, BuilderError, Built, manifest_of};
pub use catalog::LoadedInfo;
pub use cluster::peers::PeerInfo;
pub use cluster::{ClusterConfig, SetupError, Transport, Unconfirmed};
pub use config::{Hibernation, NodeConfig, Settings};
pub use error::{NodeError, StartError};
pub use identity::IdentityError;
pub use logs::LogLine;
pub use meter::ShardLoad;
pub use neurath_net::memory::Hub;
pub use neurath_net::{ConnectError, Member, Operator, OperatorError, check_address};
pub use neurath_proto::NodeId;
pub use node::{
    InstallOptions, ModuleInfo, Node, NodeStanding, ProcessDetails, UpgradeOptions, UpgradeReport, create_operator,
    has_authority, init_cluster,
};
pub use shared::{Death, UpgradeEvent};
pub use trace::{RATE_PER_S_MAX, Trace, TraceOptions};
