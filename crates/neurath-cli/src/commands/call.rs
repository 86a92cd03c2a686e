//! `neurath call`: a question to a process, and its answer.

use std::time::Duration;

use clap::Args;
use neurath_node::api::view::CallRequest;

use crate::commands::send::not_json;
use crate::failure::Failure;
use crate::output::{print_json, print_json_line};
use crate::place::Place;
use crate::value;

/// Ask a process and print its answer
#[derive(Args, Debug)]
#[command(
    after_help = "`neurath info TARGET` shows what a process answers. Of a message with a `ReplyTo`, that is filled \
                  in.\n\nExamples:\n  neurath call 42 '\"Count\"'\n  neurath call counter '\"Get\"' --within 500ms\n  \
                  neurath call 42 '{\"Withdraw\": {\"cents\": 250}}'"
)]
pub(crate) struct Arguments {
    /// A pid, its serial, or a name
    target: String,
    /// The question as JSON; `-` reads standard input
    #[arg(allow_negative_numbers = true)]
    message: String,
    /// How long to wait for the answer
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = value::duration)]
    within: Duration,
    /// Print the API's object instead of the answer alone
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments, place: &Place) -> Result<(), Failure> {
    let client = place.client()?;
    let message = match value::json(&value::text(&arguments.message)?) {
        Ok(message) => message,
        Err(wrong) => return Err(not_json(&client, &arguments.target, true, &wrong).await),
    };
    let request = CallRequest { message, within_ms: Some(arguments.within.as_millis() as u64) };
    let answer = client.call(&arguments.target, &request).await?;
    if arguments.json {
        print_json(&answer);
    } else {
        print_json_line(&answer.answer);
    }
    Ok(())
}
