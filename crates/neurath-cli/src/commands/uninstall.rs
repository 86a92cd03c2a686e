//! `neurath uninstall`: a module version out of the node's store.

use clap::Args;

use crate::failure::Failure;
use crate::output::{print, print_json};
use crate::place::Place;

/// Remove a module version that nothing runs
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  neurath uninstall counter@1.0.0\n  neurath uninstall 3f9a0c11d2e4")]
pub(crate) struct Arguments {
    /// `name`, `name@version`, or digits of the artifact's hash
    module: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments, place: &Place) -> Result<(), Failure> {
    let client = place.client()?;
    // It answers at once, so a node that does not is told from one that upgrades first.
    client.node().await?;
    let removed = client.uninstall(&arguments.module).await?;
    if arguments.json {
        print_json(&removed);
    } else {
        print(format!("removed {}", removed.removed));
    }
    Ok(())
}
