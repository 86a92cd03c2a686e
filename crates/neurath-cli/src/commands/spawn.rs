//! `neurath spawn`: starts a process, or runs a function.

use std::time::Duration;

use clap::Args;
use neurath_node::api::Client;
use neurath_node::api::view::{RunRequest, SpawnRequest};
use serde_json::Value;

use crate::failure::Failure;
use crate::output::{print, print_json, print_json_line};
use crate::place::Place;
use crate::show::Pids;
use crate::value::{self, NotJson};

/// Start a process, or run a function
#[derive(Args, Debug)]
#[command(after_help = "Arguments are a JSON array in the entry's order, an object by their names, or the only one.\n\
                  Prints the pid; other commands take it, or a name that the process registered. A function ends with \
                  its result, which nobody can ask for afterwards: --wait prints it.\n\nExamples:\n  \
                  neurath spawn counter 0\n  neurath spawn counter@1.0.0 counter '[0]'\n  \
                  neurath spawn bank account '{\"owner\": \"Otto\"}'\n  neurath spawn math fib 30 --wait")]
pub(crate) struct Arguments {
    /// `name` for its current version, `name@version`, or digits of the artifact's hash
    module: String,
    /// The entry, if there are several, and its arguments as JSON
    #[arg(value_names = ["ENTRY", "ARGS_JSON"], num_args = 0..=2, allow_negative_numbers = true)]
    rest: Vec<String>,
    /// Run a function, and print its result instead of the pid
    #[arg(long)]
    wait: bool,
    /// How long to wait for the result; the function itself goes on after that [default: as long as it takes]
    #[arg(long, value_name = "TIME", requires = "wait", value_parser = value::duration)]
    within: Option<Duration>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments, place: &Place) -> Result<(), Failure> {
    let client = place.client()?;
    // It answers at once, so a node that does not is told from one that compiles.
    let node = client.node().await?;
    let (entry, argument) = split(&arguments.rest);
    let argument = argument.map(value::text).transpose()?;
    let parsed = match argument.as_deref().map(value::json) {
        None => Value::Null,
        Some(Ok(value)) => value,
        Some(Err(wrong)) => return Err(not_json(&client, &arguments.module, entry, &wrong).await),
    };
    let (module, entry) = (arguments.module, entry.map(str::to_owned));
    if arguments.wait {
        let within_ms = arguments.within.map(|within| within.as_millis() as u64);
        let answer = client.run(&RunRequest { module, entry, arguments: parsed, within_ms }).await?;
        if arguments.json {
            print_json(&answer);
        } else {
            print_json_line(&answer.answer);
        }
        return Ok(());
    }
    let request = SpawnRequest { module, entry, arguments: parsed };
    let spawned = client.spawn(&request).await?;
    if arguments.json {
        print_json(&spawned);
    } else if place.on.is_some() {
        // The serial alone would be one of the node that the next command asks.
        print(&spawned.pid);
    } else {
        print(Pids::of(&node).short(&spawned.pid));
    }
    Ok(())
}

/// Of two words the first is the entry; one alone is an entry if it is a name.
pub(crate) fn split(rest: &[String]) -> (Option<&str>, Option<&str>) {
    match rest {
        [entry, arguments, ..] => (Some(entry), Some(arguments)),
        [one] if is_entry(one) => (Some(one), None),
        [one] => (None, Some(one)),
        [] => (None, None),
    }
}

fn is_entry(text: &str) -> bool {
    let name = text.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_alphanumeric() || c == '_');
    name && !["null", "true", "false"].contains(&text)
}

async fn not_json(client: &Client, module: &str, entry: Option<&str>, wrong: &NotJson) -> Failure {
    let info = match client.module(module).await {
        Ok(info) => info,
        Err(error) => return error.into(),
    };
    let chosen = info.entries.iter().find(|e| entry.is_none_or(|entry| e.name == entry));
    wrong.failure(chosen.map_or(&[][..], |entry| &entry.arguments.examples))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_is_an_entry_or_the_arguments() {
        let split = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            let (entry, arguments) = split(&words);
            (entry.map(str::to_owned), arguments.map(str::to_owned))
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(split(&[]), (None, None));
        assert_eq!(split(&["counter"]), (some("counter"), None));
        for json in ["0", "-1", "[1]", "\"x\"", "true", "null", "{}", "-"] {
            assert_eq!(split(&[json]), (None, some(json)));
        }
        assert_eq!(split(&["counter", "0"]), (some("counter"), some("0")));
    }
}
