//! `neurath unconfirmed`: messages to other nodes that are not known to have arrived.

use std::collections::{BTreeSet, HashMap};

use clap::Args;
use console::Style;
use neurath_node::api::view::UnconfirmedMessageView;

use crate::failure::Failure;
use crate::output::{dim, note, print, print_json, red};
use crate::place::Place;
use crate::show;
use crate::table::{Column, Table};

/// List messages to other nodes that are not known to have arrived
#[derive(Args, Debug)]
#[command(
    after_help = "When the association with a node ends, because it had no connection for the grace time or the node began \
                  another life, what it had not acknowledged is unconfirmed. ARRIVED is `maybe` if a part of the message \
                  was on its way, and `no` if none was. Messages of one type to one process that are unconfirmed for the \
                  same reason are one line; `--json` has each.\n\nExamples:\n  neurath unconfirmed\n  neurath unconfirmed --json"
)]
pub(crate) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments, place: &Place) -> Result<(), Failure> {
    let unconfirmed = place.client()?.unconfirmed().await?;
    if arguments.json {
        print_json(&unconfirmed);
        return Ok(());
    }
    note(format!("{} since the node's start", show::count(unconfirmed.count as usize, "message", "messages")));
    if unconfirmed.latest.is_empty() {
        return Ok(());
    }
    let mut table = Table::new([
        Column::Left("LAST"),
        Column::Right("COUNT"),
        Column::Left("FROM"),
        Column::Left("TO"),
        Column::Left("TYPE"),
        Column::Left("ARRIVED"),
        Column::Flexible("WHY"),
    ]);
    for alike in group(unconfirmed.latest) {
        table.row([
            (show::time(alike.last.at_ms), dim()),
            (alike.count.to_string(), Style::new()),
            (alike.senders(), Style::new()),
            (alike.last.to.clone(), Style::new()),
            (alike.last.type_name.clone(), Style::new()),
            (alike.arrived(), Style::new()),
            (alike.last.reason, red()),
        ]);
    }
    print(table.render());
    Ok(())
}

/// Messages of one type to one process, unconfirmed for the same reason.
struct Alike {
    last: UnconfirmedMessageView,
    count: usize,
    /// Those that may have arrived.
    maybe: usize,
    from: BTreeSet<String>,
}

impl Alike {
    fn senders(&self) -> String {
        match self.from.len() {
            1 => self.last.from.clone(),
            many => format!("{many} processes"),
        }
    }

    fn arrived(&self) -> String {
        match (self.maybe, self.count - self.maybe) {
            (0, _) => "no".into(),
            (_, 0) => "maybe".into(),
            (maybe, no) => format!("{maybe} maybe, {no} no"),
        }
    }
}

/// Those that are alike together, by the latest of each.
fn group(messages: Vec<UnconfirmedMessageView>) -> Vec<Alike> {
    let mut groups: Vec<Alike> = Vec::new();
    let mut places: HashMap<[String; 3], usize> = HashMap::new();
    for message in messages {
        let key = [&message.to, &message.type_name, &message.reason].map(Clone::clone);
        let place = *places.entry(key).or_insert(groups.len());
        if place == groups.len() {
            groups.push(Alike { last: message.clone(), count: 0, maybe: 0, from: BTreeSet::new() });
        }
        let alike = &mut groups[place];
        alike.count += 1;
        alike.maybe += usize::from(message.maybe_delivered);
        alike.from.insert(message.from.clone());
        alike.last = message;
    }
    groups.sort_by_key(|alike| alike.last.at_ms);
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_are_alike_are_one_line_with_a_count() {
        let message = |at_ms, from: &str, to: &str, maybe_delivered| UnconfirmedMessageView {
            at_ms,
            from: from.into(),
            to: to.into(),
            type_name: "Job".into(),
            association: None,
            maybe_delivered,
            reason: "it has left".into(),
        };
        let all = vec![
            message(1, "1", "8", true),
            message(2, "1", "9", false),
            message(3, "2", "8", false),
            message(4, "1", "8", true),
        ];
        let lines = group(all);
        let shown: Vec<_> =
            lines.iter().map(|alike| (alike.last.at_ms, alike.count, alike.senders(), alike.arrived())).collect();
        let line = |at, count, from: &str, arrived: &str| (at, count, from.to_owned(), arrived.to_owned());
        assert_eq!(shown, [line(2, 1, "1", "no"), line(4, 3, "2 processes", "2 maybe, 1 no")]);
    }
}
