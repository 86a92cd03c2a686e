//! `neurath logs`: what processes wrote.

use clap::Args;
use neurath_node::api::view::LogView;

use crate::failure::Failure;
use crate::output::{clean_below, dim, print, print_json_line, red, yellow};
use crate::place::Place;
use crate::show::{self, Pids};

/// Show what processes wrote
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  neurath logs\n  neurath logs -f\n  neurath logs -n 20 --json")]
pub(crate) struct Arguments {
    /// Go on with what comes, until Ctrl-C or the node's end
    #[arg(long, short)]
    follow: bool,
    /// The latest so many lines
    #[arg(long, short = 'n', value_name = "N", default_value_t = 1000)]
    lines: usize,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments, place: &Place) -> Result<(), Failure> {
    let client = place.client()?;
    let pids = Pids::of(&client.node().await?);
    let mut lines = client.logs(arguments.lines, arguments.follow).await?;
    let mut last = None;
    while let Some(line) = lines.next().await? {
        if arguments.json {
            print_json_line(&line);
        } else {
            let missed = last.map_or(0, |last| line.number.saturating_sub(last + 1));
            if missed > 0 {
                let missed = show::count(missed as usize, "line was", "lines were");
                print(dim().apply_to(format!("({missed} dropped)")).to_string());
            }
            print(show_line(&line, &pids));
        }
        last = Some(line.number);
    }
    Ok(())
}

/// `12:34:56.789Z  info  1  text`
pub(crate) fn show_line(line: &LogView, pids: &Pids) -> String {
    let level = format!("{:<5}", line.level);
    let level = match line.level.as_str() {
        "error" => red().apply_to(level),
        "warn" => yellow().apply_to(level),
        _ => dim().apply_to(level),
    };
    let pid = pids.short(&line.pid);
    let time = show::time(line.at_ms);
    // Further lines of the text stand below its first.
    let indent = time.len() + 2 + 5 + 2 + pid.len().max(4) + 2;
    format!("{}  {level}  {pid:>4}  {}", dim().apply_to(time), clean_below(&line.text, indent))
}
