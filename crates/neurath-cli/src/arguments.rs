//! The command line as a whole; each command's own arguments are in its file.

use clap::{Parser, Subcommand};

use crate::commands::{
    api, build, call, cluster, completions, config, deaths, demo, groups, info, init, install, kill, logs, modules,
    node, nodes, ps, refusals, run, send, spawn, stop, top, trace, unconfirmed, uninstall, upgrade, upgrades,
};
use crate::failure::EXIT_CODES;
use crate::place::Place;

const EXAMPLES: &str = "\
First steps:
  neurath init counter            make a crate
  neurath run counter --watch     run it; saving a file upgrades it

A node that stays:
  neurath node                    start it (another terminal for the rest)
  neurath install counter         build and install the crate
  neurath spawn counter 0         start a process
  neurath call PID '\"Count\"'      ask it; `spawn` printed its PID
  neurath upgrade ./counter       replace its code while it runs

Several nodes:
  neurath cluster --help          make a cluster, and let nodes and operators into it
  neurath nodes                   list them
  neurath --on beta ps            ask another node through this one
  neurath --as ada.operator ps    ask from anywhere, as an operator";

/// Programs that are upgraded while they run
#[derive(Parser, Debug)]
#[command(name = "neurath", version, propagate_version = true, after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    Init(init::Arguments),
    Build(build::Arguments),
    Run(run::Arguments),
    Node(node::Arguments),
    Config(config::Arguments),
    Stop(stop::Arguments),
    Install(install::Arguments),
    Uninstall(uninstall::Arguments),
    Modules(modules::Arguments),
    Spawn(spawn::Arguments),
    Send(send::Arguments),
    Call(call::Arguments),
    Ps(ps::Arguments),
    Info(info::Arguments),
    Kill(kill::Arguments),
    Upgrade(upgrade::Arguments),
    Upgrades(upgrades::Arguments),
    Top(top::Arguments),
    Trace(trace::Arguments),
    Logs(logs::Arguments),
    Refusals(refusals::Arguments),
    Deaths(deaths::Arguments),
    Cluster(cluster::Arguments),
    Nodes(nodes::Arguments),
    Groups(groups::Arguments),
    Unconfirmed(unconfirmed::Arguments),
    Demo(demo::Arguments),
    Api(api::Arguments),
    Completions(completions::Arguments),
}
