//! `neurath api`: where the control API is.

use clap::Args;

use crate::failure::Failure;
use crate::output::print;
use crate::place::Place;

/// Print the path of the control socket
#[derive(Args, Debug)]
#[command(after_help = "docs/control-api.md describes what can be asked there.\n\nExample:\n  \
                  curl --unix-socket \"$(neurath api)\" http://localhost/v1/node")]
pub(crate) struct Arguments {}

pub(crate) fn run(Arguments {}: Arguments, place: &Place) -> Result<(), Failure> {
    place.own_dir("neurath api")?;
    print(place.client()?.socket().map(|socket| socket.display().to_string()).unwrap_or_default());
    Ok(())
}
