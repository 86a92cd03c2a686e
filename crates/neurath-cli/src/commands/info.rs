//! `neurath info`: one process, and what it can be told.

use clap::Args;
use neurath_node::api::view::{ProcessInfoView, ProcessView};

use crate::failure::{Failure, quoted};
use crate::output::{bold, clean, dim, print, print_json};
use crate::place::Place;
use crate::show::{self, Pids};

/// Show a process, and what it takes
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  neurath info 42\n  neurath info counter\n  neurath info 42 --json")]
pub(crate) struct Arguments {
    /// A pid, its serial, or a name
    target: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments, place: &Place) -> Result<(), Failure> {
    let client = place.client()?;
    let info = client.process(&arguments.target).await?;
    if arguments.json {
        print_json(&info);
        return Ok(());
    }
    let pids = Pids::of(&client.node().await?);
    for (name, value) in facts(&info.process, &pids) {
        print(format!("{}  {}", bold().apply_to(format!("{name:<9}")), clean(&value)));
    }
    takes(&info, &pids);
    Ok(())
}

fn facts(process: &ProcessView, pids: &Pids) -> Vec<(&'static str, String)> {
    let counts = &process.counts;
    let list = |list: &[String]| list.iter().map(|pid| pids.short(pid)).collect::<Vec<_>>().join(" ");
    let pending = if process.upgrade_pending { ", a change of its code waits for it" } else { "" };
    let mut facts = vec![
        ("pid", process.pid.clone()),
        ("names", process.names.join(" ")),
        ("module", process.module.clone()),
        ("entry", format!("{} ({})", process.entry, process.kind)),
        ("state", format!("{} on shard {}{pending}", process.state, process.shard)),
        ("mailbox", format!("{}, {}", messages(process.mailbox), show::bytes(process.mailbox_bytes))),
        ("memory", process.memory_bytes.map_or("none of its own now".into(), show::bytes)),
        ("parent", process.parent.as_deref().map(|pid| pids.short(pid)).unwrap_or_default()),
        ("links", list(&process.links)),
        ("watchers", list(&process.watchers)),
        ("watches", list(&process.watching)),
        (
            "messages",
            format!(
                "{} received, {} sent, {} refused, {} late",
                counts.received, counts.sent, counts.refused, counts.late
            ),
        ),
        ("turns", counts.polls.to_string()),
        ("upgrades", format!("{} committed, {} rolled back", counts.upgrades, counts.rollbacks)),
    ];
    facts.retain(|(_, value)| !value.is_empty());
    facts
}

fn messages(number: u32) -> String {
    show::count(number as usize, "message", "messages")
}

fn takes(info: &ProcessInfoView, pids: &Pids) {
    if info.takes.is_empty() {
        print(format!("{}", dim().apply_to("it declares nothing that it takes")));
        return;
    }
    let target = info.process.names.first().cloned().unwrap_or_else(|| pids.short(&info.process.pid));
    for takes in &info.takes {
        let article = if takes.class == "message" { "a message" } else { &format!("a {}", takes.class) };
        print(format!("\n{} {}", bold().apply_to(clean(&takes.of.name)), dim().apply_to(format!("as {article}"))));
        for example in &takes.of.examples {
            let verb = if takes.asks.contains(example) { "call" } else { "send" };
            print(format!("  neurath {verb} {} {}", quoted(&target), quoted(&clean(&example.to_string()))));
        }
    }
}
