//! `neurath trace`: what happens to processes, as it happens.

use std::time::Duration;

use clap::Args;
use neurath_node::api::view::{EventView, TraceLine, TraceRequest};

use crate::failure::Failure;
use crate::output::{bold, clean_below, dim, green, note, print, print_json_line, red, yellow};
use crate::place::Place;
use crate::show::{self, Pids};
use crate::value::duration;

/// Show what happens to processes: started, sent, received, linked, ended, upgraded, …
#[derive(Args, Debug)]
#[command(
    after_help = "Events: spawned, registered, unregistered, sent, received, refused, linked, unlinked, monitored, \
                  demonitored, died, upgraded, rolled_back, full, blocked, unblocked, node_up, node_down. What is beyond \
                  the rate is counted and left out.\n\nExamples:\n  neurath trace 42\n  \
                  neurath trace till 43 --events sent,received\n  neurath trace --all --events died --json\n  \
                  neurath trace 42 --peer 43 --rate 10/s --for 1m"
)]
pub(crate) struct Arguments {
    /// Pids, their serials, or names
    #[arg(value_name = "TARGET", required_unless_present = "all")]
    targets: Vec<String>,
    /// Every process
    #[arg(long, conflicts_with = "targets")]
    all: bool,
    /// Only these kinds of events
    #[arg(long, value_name = "KIND,…", value_delimiter = ',')]
    events: Vec<String>,
    /// Only what has to do with this process as well
    #[arg(long, value_name = "TARGET")]
    peer: Option<String>,
    /// At most so many events of a second
    #[arg(long, value_name = "N/s", value_parser = rate, default_value = "1000/s")]
    rate: u32,
    /// Stop after this time, such as 10s
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    time: Option<Duration>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

fn rate(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    number.parse().map_err(|_| "not a number of events of a second, such as 1000/s".into())
}

pub(crate) async fn run(arguments: Arguments, place: &Place) -> Result<(), Failure> {
    let Arguments { targets, all, events, peer, rate, time, json } = arguments;
    let client = place.client()?;
    let pids = Pids::of(&client.node().await?);
    let request = TraceRequest { targets, all, events, peer, rate_per_s: Some(rate) };
    let mut lines = client.trace(&request).await?;
    let over = async {
        match time {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(over);
    loop {
        let line = tokio::select! {
            line = lines.next() => line?,
            () = &mut over => return Ok(()),
        };
        match line {
            None => return Ok(()),
            Some(line) if json => print_json_line(&line),
            Some(TraceLine::Tracing(_)) => note(dim().apply_to("tracing; Ctrl-C stops").to_string()),
            Some(TraceLine::LeftOut(count)) => {
                let left_out = show::count(count as usize, "event was", "events were");
                print(dim().apply_to(format!("… {left_out} left out")).to_string());
            }
            Some(TraceLine::Event(event)) => print(show_event(&event, &pids)),
        }
    }
}

/// `12:34:56.789Z    42  sent         Tally to 43, 12 bytes`
fn show_event(event: &EventView, pids: &Pids) -> String {
    let pid = event.pid.as_ref().map_or("-".into(), |pid| pids.short(pid));
    let kind = format!("{:<12}", event.kind);
    let kind = match event.kind.as_str() {
        "died" | "refused" | "rolled_back" | "node_down" => red().apply_to(kind),
        "full" | "blocked" => yellow().apply_to(kind),
        "spawned" | "upgraded" | "node_up" => green().apply_to(kind),
        _ => bold().apply_to(kind),
    };
    let time = dim().apply_to(show::time(event.at_ms));
    format!("{time}  {pid:>4}  {kind}  {}", clean_below(&pids.short_in(&about(event)), 35))
}

fn about(event: &EventView) -> String {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let (peer, why) = (text(&event.peer), text(&event.why));
    let message = || {
        let class = match event.class.as_deref() {
            None | Some("message") => String::new(),
            Some(class) => format!("{class} "),
        };
        let bytes = event.bytes.map(|bytes| format!(", {}", show::bytes(bytes))).unwrap_or_default();
        (class + &text(&event.type_name), bytes)
    };
    match event.kind.as_str() {
        "spawned" if event.peer.is_none() => format!("{} {}", text(&event.module), text(&event.entry)),
        "spawned" => format!("{} {} by {peer}", text(&event.module), text(&event.entry)),
        "registered" | "unregistered" => text(&event.name),
        "sent" => {
            let (what, bytes) = message();
            format!("{what} to {peer}{bytes}")
        }
        "received" => {
            let (what, bytes) = message();
            format!("{what} from {peer}{bytes}")
        }
        "refused" => format!("{} from {peer}: {why}", text(&event.type_name)),
        "died" | "rolled_back" => why,
        "upgraded" => format!("to {}", text(&event.module)),
        "node_up" => text(&event.node),
        "node_down" => format!("{}: {why}", text(&event.node)),
        _ => peer,
    }
}
