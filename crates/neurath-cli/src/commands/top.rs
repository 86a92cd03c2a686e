//! `neurath top`: what a node is busy with, again and again, in a terminal.
//!
//! [`model`] knows what is shown and what keys mean, [`draw`] how it looks; only this file touches node and terminal.

mod draw;
mod model;

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use console::Style;
use crossterm::event::{Event, EventStream, KeyEventKind};
use futures_util::StreamExt;
use neurath_node::api::Client;
use neurath_node::api::view::UpgradeRequest;
use ratatui::DefaultTerminal;

use crate::failure::Failure;
use crate::output::{print, print_json};
use crate::place::Place;
use crate::show::{self, Pids};
use crate::table::{Column, Table};
use crate::value::duration;
use model::{Page, Request, Sample, Sort, State, share};

/// Processes that are looked at; of more, those are left out that have least of what is sorted by.
const LOOKED_AT: usize = 10_000;

/// Show what a node is busy with
#[derive(Args, Debug)]
#[command(
    after_help = "CPU is estimated from some of each process's turns. Keys: arrows select, s sorts, / filters, k kills, \
                  u upgrades the module of the selected process, q ends.\n\nExamples:\n  neurath top\n  \
                  neurath top --sort mailbox --every 5s\n  neurath top --once\n  neurath top --once --json"
)]
pub(crate) struct Arguments {
    /// What comes first
    #[arg(long, value_enum, default_value_t = Sort::Cpu)]
    sort: Sort,
    /// How often it looks; rates are of this time
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "1s")]
    every: Duration,
    /// Print one page and end
    #[arg(long)]
    once: bool,
    /// Processes on that page
    #[arg(long, value_name = "N", default_value_t = 20, requires = "once")]
    limit: usize,
    /// Print that page as JSON
    #[arg(long, requires = "once")]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments, place: &Place) -> Result<(), Failure> {
    let Arguments { sort, every, once, limit, json } = arguments;
    let every = every.max(Duration::from_millis(100));
    let client = place.client()?;
    let pids = Pids::of(&client.node().await?);
    let first = look(&client, sort).await?;
    if once {
        tokio::time::sleep(every).await;
        let mut page = Page::between(&first, &look(&client, sort).await?, &pids);
        page.sort(sort);
        page.rows.truncate(limit);
        match json {
            true => print_json(&page),
            false => print(text(&page)),
        }
        return Ok(());
    }
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Failure::usage("`top` needs a terminal").help("`neurath top --once` prints one page"));
    }
    // A note would land in the middle of the page; that there is no answer ends it.
    let client = client.with_patience(place.patience(|_| {}));
    let terminal = ratatui::try_init().map_err(|error| Failure::new(format!("the terminal: {error}")))?;
    let shown = show(terminal, &client, State::new(Page::between(&first, &first, &pids), sort), first, every, &pids);
    let result = shown.await;
    ratatui::restore();
    result
}

async fn look(client: &Client, sort: Sort) -> Result<Sample, Failure> {
    let (node, shards, processes, nodes) =
        tokio::try_join!(client.node(), client.shards(), client.processes_by(sort.name(), LOOKED_AT), client.nodes())?;
    Ok(Sample { node, shards, processes, nodes })
}

async fn show(
    mut terminal: DefaultTerminal,
    client: &Client,
    mut state: State,
    mut last: Sample,
    every: Duration,
    pids: &Pids,
) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::new(format!("the terminal: {error}"));
    let mut events = EventStream::new();
    let mut tick = tokio::time::interval(every);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tick.tick().await;
    loop {
        terminal.draw(|frame| draw::draw(&state, frame)).map_err(failed)?;
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(Event::Key(key))) if key.kind != KeyEventKind::Release => match state.key(key) {
                    Some(Request::Quit) => return Ok(()),
                    Some(request) => state.says(carry_out(client, request, pids).await),
                    None => {}
                },
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(failed(error)),
                None => return Ok(()),
            },
            _ = tick.tick() => {
                let now = look(client, state.sort).await?;
                state.shows(Page::between(&last, &now, pids));
                last = now;
            }
        }
    }
}

async fn carry_out(client: &Client, request: Request, pids: &Pids) -> String {
    match request {
        Request::Quit => String::new(),
        Request::Kill(pid) => match client.kill(&pid, true).await {
            Ok(_) => format!("killed {}", pids.short(&pid)),
            Err(error) => error.to_string(),
        },
        Request::Upgrade(module) => {
            let request = UpgradeRequest { module, patience_ms: None, dry_run: false };
            match client.upgrade(&request, |_, _| {}).await {
                Ok(report) => format!(
                    "{}: {} upgraded, {} rolled back",
                    report.to,
                    report.committed.len(),
                    report.rolled_back.len()
                ),
                Err(error) => error.to_string(),
            }
        }
    }
}

/// One page for people.
fn text(page: &Page) -> String {
    let mut table = Table::new([
        Column::Right("PID"),
        Column::Flexible("MODULE"),
        Column::Left("ENTRY"),
        Column::Left("STATE"),
        Column::Right("CPU"),
        Column::Right("MESSAGES/S"),
        Column::Right("MAILBOX"),
        Column::Right("MEMORY"),
        Column::Left("NAMES"),
    ]);
    for row in &page.rows {
        table.row(
            [
                row.short.clone(),
                row.module.clone(),
                row.entry.clone(),
                row.state.clone(),
                share(row.cpu),
                format!("{:.0}", row.messages_per_s),
                row.mailbox.to_string(),
                row.memory_bytes.map_or("-".into(), show::bytes),
                row.names.join(" "),
            ]
            .map(|text| (text, Style::new())),
        );
    }
    let header: Vec<String> = page.header().into_iter().filter(|line| !line.is_empty()).collect();
    format!("{}\n\n{}", header.join("\n"), table.render())
}
