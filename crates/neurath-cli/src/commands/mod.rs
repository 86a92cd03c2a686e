//! The commands, one a file: its arguments, and what it does.

pub(crate) mod api;
pub(crate) mod build;
pub(crate) mod call;
pub(crate) mod cluster;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod deaths;
pub(crate) mod demo;
pub(crate) mod groups;
pub(crate) mod info;
pub(crate) mod init;
pub(crate) mod install;
pub(crate) mod kill;
pub(crate) mod logs;
pub(crate) mod modules;
pub(crate) mod node;
pub(crate) mod nodes;
pub(crate) mod ps;
pub(crate) mod refusals;
pub(crate) mod run;
pub(crate) mod send;
pub(crate) mod spawn;
pub(crate) mod stop;
pub(crate) mod top;
pub(crate) mod trace;
pub(crate) mod unconfirmed;
pub(crate) mod uninstall;
pub(crate) mod upgrade;
pub(crate) mod upgrades;

use crate::arguments::{Arguments, Command};
use crate::failure::Failure;
use crate::place::Typed;

/// Does what the command line says.
pub(crate) fn run(arguments: Arguments, typed: &Typed) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(format!("threads cannot be started: {error}")))?;
    let result = runtime.block_on(dispatch(arguments, typed));
    // Whatever still blocks, such as a compiler or a node's guests, is left where it is.
    runtime.shutdown_background();
    result
}

async fn dispatch(Arguments { place, command }: Arguments, typed: &Typed) -> Result<(), Failure> {
    let about_no_node = match &command {
        Command::Init(_) => Some("neurath init"),
        Command::Build(_) => Some("neurath build"),
        Command::Config(_) => Some("neurath config"),
        Command::Demo(_) => Some("neurath demo"),
        Command::Completions(_) => Some("neurath completions"),
        _ => None,
    };
    about_no_node.map_or(Ok(()), |command| typed.no_node(command))?;
    match command {
        Command::Init(arguments) => init::run(arguments),
        Command::Build(arguments) => build::run(arguments).await,
        Command::Run(arguments) => run::run(arguments, &place).await,
        Command::Node(arguments) => node::run(arguments, &place).await,
        Command::Config(arguments) => config::run(arguments),
        Command::Stop(arguments) => stop::run(arguments, &place).await,
        Command::Install(arguments) => install::run(arguments, &place).await,
        Command::Uninstall(arguments) => uninstall::run(arguments, &place).await,
        Command::Modules(arguments) => modules::run(arguments, &place).await,
        Command::Spawn(arguments) => spawn::run(arguments, &place).await,
        Command::Send(arguments) => send::run(arguments, &place).await,
        Command::Call(arguments) => call::run(arguments, &place).await,
        Command::Ps(arguments) => ps::run(arguments, &place).await,
        Command::Info(arguments) => info::run(arguments, &place).await,
        Command::Kill(arguments) => kill::run(arguments, &place).await,
        Command::Upgrade(arguments) => upgrade::run(arguments, &place).await,
        Command::Upgrades(arguments) => upgrades::run(arguments, &place).await,
        Command::Top(arguments) => top::run(arguments, &place).await,
        Command::Trace(arguments) => trace::run(arguments, &place).await,
        Command::Logs(arguments) => logs::run(arguments, &place).await,
        Command::Refusals(arguments) => refusals::run(arguments, &place).await,
        Command::Deaths(arguments) => deaths::run(arguments, &place).await,
        Command::Cluster(arguments) => cluster::run(arguments, &place).await,
        Command::Nodes(arguments) => nodes::run(arguments, &place).await,
        Command::Groups(arguments) => groups::run(arguments, &place).await,
        Command::Unconfirmed(arguments) => unconfirmed::run(arguments, &place).await,
        Command::Demo(arguments) => demo::run(arguments).await,
        Command::Api(arguments) => api::run(arguments, &place),
        Command::Completions(arguments) => completions::run(arguments),
    }
}
