//! `neurath send`: a message to a process.

use clap::Args;
use neurath_node::api::Client;

use crate::failure::Failure;
use crate::output::{print, print_json};
use crate::place::Place;
use crate::show::Pids;
use crate::value::{self, NotJson};

/// Send a message to a process
#[derive(Args, Debug)]
#[command(
    after_help = "`neurath info TARGET` shows what a process takes. It does not wait: see `neurath refusals` for \
                  messages that were not taken.\n\nExamples:\n  neurath send 42 '{\"Increment\": 5}'\n  \
                  neurath send counter '\"Upgrade\"'\n  echo '{\"Increment\": 5}' | neurath send 42 -"
)]
pub(crate) struct Arguments {
    /// A pid, its serial, or a name
    target: String,
    /// The message as JSON; `-` reads standard input
    #[arg(allow_negative_numbers = true)]
    message: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments, place: &Place) -> Result<(), Failure> {
    let client = place.client()?;
    let message = match value::json(&value::text(&arguments.message)?) {
        Ok(message) => message,
        Err(wrong) => return Err(not_json(&client, &arguments.target, false, &wrong).await),
    };
    let sent = client.send(&arguments.target, message).await?;
    if arguments.json {
        print_json(&sent);
    } else {
        print(format!("sent to {}", Pids::of(&client.node().await?).short(&sent.pid)));
    }
    Ok(())
}

/// What to say of a message that is no JSON, with messages that the process takes from `call`, or else from `send`.
pub(crate) async fn not_json(client: &Client, target: &str, call: bool, wrong: &NotJson) -> Failure {
    match client.process(target).await {
        Err(error) => error.into(),
        Ok(info) => {
            let examples = info.takes.iter().flat_map(|takes| takes.examples_to(call));
            wrong.failure(&examples.collect::<Vec<_>>())
        }
    }
}
