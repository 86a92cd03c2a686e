//! `neurath stop`: asks the node to stop.

use clap::Args;

use crate::failure::Failure;
use crate::output::{print, print_json};
use crate::place::Place;

/// Stop the node
#[derive(Args, Debug)]
#[command(after_help = "Its guests are stopped where they are; what is installed stays installed.")]
pub(crate) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments, place: &Place) -> Result<(), Failure> {
    let stopping = place.client()?.stop().await?;
    if arguments.json {
        print_json(&stopping);
    } else {
        print("stopping");
    }
    Ok(())
}
