//! `neurath stop`: asks the node to stop, and waits until its directory is free.

use std::time::{Duration, Instant};

use clap::Args;
use neurath_code::store;

use crate::failure::Failure;
use crate::output::{print, print_json};
use crate::place::Place;

/// A node that was told to stop has until then.
const PATIENCE: Duration = Duration::from_secs(30);

/// Stop the node
#[derive(Args, Debug)]
#[command(
    after_help = "Its guests are stopped where they are; what is installed stays installed. Returns when the node can be \
                  started again; of a node elsewhere (--as, --on) when it has been told."
)]
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
    let Ok(data) = place.own_dir("neurath stop") else { return Ok(()) };
    let since = Instant::now();
    while store::is_in_use(&data.join("store")) {
        if since.elapsed() > PATIENCE {
            return Err(Failure::new(format!("the node in {} was told to stop, and still runs", data.display())));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}
