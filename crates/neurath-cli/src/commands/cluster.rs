//! `neurath cluster`: how nodes come together.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use neurath_node::api::ClientError;
use neurath_node::api::view::InviteRequest;
use neurath_node::{create_operator, has_authority, init_cluster};

use crate::failure::Failure;
use crate::output::{note, print};
use crate::place::Place;
use crate::value;

/// Make a cluster, and let nodes and operators into it
#[derive(Args, Debug)]
#[command(
    after_help = "A cluster has one authority, which lives with the node where it was made. It signs the certificate of \
                  each node that joins; nodes without one are not spoken to.\n\nExamples:\n  \
                  neurath --data ./alpha cluster init --node alpha\n  \
                  neurath --data ./alpha node --listen 10.0.0.1:7700\n  \
                  neurath --data ./alpha cluster invite\n  \
                  neurath --data ./beta node --listen 10.0.0.2:7700 --name beta --join TOKEN\n  \
                  neurath --data ./alpha cluster operator ada"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    Init(Init),
    Invite(Invite),
    Operator(Operator),
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

/// Make the file with which a person's commands reach the nodes over the network; where the cluster's authority is
#[derive(Args, Debug)]
#[command(
    after_help = "The file holds a secret key: whoever has it may do everything on every node, until its days are over. It \
                  cannot be taken back, so keep them few.\n\nExamples:\n  \
                  neurath --data ./alpha cluster operator ada --days 7\n  neurath --as ada.operator nodes\n  \
                  neurath --as ada.operator --on beta ps"
)]
struct Operator {
    /// What the operator is called
    name: String,
    /// For how many days it is good
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3650))]
    days: u64,
    /// Where to write it, for its owner only [default: NAME.operator]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Where the operator reaches a node [default: the address of this node, which must run]
    #[arg(long, value_name = "HOST:PORT", value_parser = value::address)]
    address: Option<String>,
}

async fn make_operator(arguments: Operator, place: &Place) -> Result<(), Failure> {
    let Operator { name, days, out, address } = arguments;
    let data = place.own_dir("neurath cluster operator")?;
    if !has_authority(&data) {
        let message = format!("no authority of a cluster lives in {}", data.display());
        return Err(Failure::new(message).help(
            "operators are made where the cluster was: name that directory with `--data DIR`; a new cluster is made with \
             `neurath cluster init`",
        ));
    }
    let address = match address {
        Some(address) => address,
        None => own_address(place).await?,
    };
    let path = out.unwrap_or_else(|| PathBuf::from(format!("{name}.operator")));
    let life = Duration::from_secs(days * 24 * 60 * 60);
    let operator = create_operator(&data, &path, &name, &address, life).map_err(Failure::new)?;
    let (file, cluster, until) = (path.display(), operator.cluster(), operator.last_day());
    note(format!("operator `{name}` of cluster `{cluster}` is good until {until}; the file holds a secret key"));
    note(format!("use it anywhere: neurath --as {file} nodes"));
    print(file.to_string());
    Ok(())
}

/// Where the node of this data directory is reached.
async fn own_address(place: &Place) -> Result<String, Failure> {
    let unknown = "say where operators reach a node: `--address HOST:PORT`";
    let nodes = place.client()?.nodes().await.map_err(|error| match error {
        ClientError::NoNode { .. } => {
            Failure::new("the node does not run, so where it is reached is not known").help(unknown)
        }
        error => error.into(),
    })?;
    let own = nodes.nodes.into_iter().find(|node| node.state == "self");
    own.map(|own| own.address).filter(|address| !address.is_empty()).ok_or_else(|| {
        Failure::new("the node speaks to no other machine: it was started without `--listen`").help(unknown)
    })
}

pub(crate) async fn run(arguments: Arguments, place: &Place) -> Result<(), Failure> {
    match arguments.what {
        What::Init(Init { name, node }) => {
            let data = place.own_dir("neurath cluster init")?;
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
        What::Operator(operator) => make_operator(operator, place).await?,
    }
    Ok(())
}
