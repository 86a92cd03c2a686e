//! `neurath cluster`: how nodes come together.

use std::time::Duration;

use clap::{Args, Subcommand};
use neurath_node::api::view::InviteRequest;
use neurath_node::init_cluster;

use crate::failure::Failure;
use crate::output::{note, print};
use crate::place::Place;

/// Make a cluster, and let nodes into it
#[derive(Args, Debug)]
#[command(
    after_help = "A cluster has one authority, which lives with the node where it was made. It signs the certificate of \
                  each node that joins; nodes without one are not spoken to.\n\nExamples:\n  \
                  neurath --data ./alpha cluster init --node alpha\n  \
                  neurath --data ./alpha node --listen 10.0.0.1:7700\n  \
                  neurath --data ./alpha cluster invite\n  \
                  neurath --data ./beta node --listen 10.0.0.2:7700 --name beta --join TOKEN"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    Init(Init),
    Invite(Invite),
}

/// Make a cluster whose authority is the node of this data directory; the node must not run
#[derive(Args, Debug)]
struct Init {
    /// What the cluster is called
    #[arg(long, default_value = "neurath")]
    name: String,
    /// What this node is called
    #[arg(long, value_name = "NAME", default_value = "first")]
    node: String,
}

/// Print a token with which one node can join; ask the node that has the authority
#[derive(Args, Debug)]
struct Invite {
    /// For how many minutes it is good
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=10_080))]
    minutes: u64,
}

pub(crate) async fn run(arguments: Arguments, place: &Place) -> Result<(), Failure> {
    match arguments.what {
        What::Init(Init { name, node }) => {
            let data = place.dir()?;
            let id = init_cluster(&data, &name, &node).map_err(Failure::new)?;
            note(format!(
                "cluster `{name}` is made; {} holds its authority: keep a copy",
                data.join("authority").display()
            ));
            note(format!("node `{node}` is {id}; start it with `neurath node --listen ADDRESS`"));
        }
        What::Invite(Invite { minutes }) => {
            let valid_ms = Duration::from_secs(minutes * 60).as_millis() as u64;
            let invitation = place.client()?.invite(&InviteRequest { valid_ms }).await?;
            note(format!(
                "good for one node and {minutes} min: neurath node --listen ADDRESS --name NAME --join TOKEN"
            ));
            print(invitation.token);
        }
    }
    Ok(())
}
