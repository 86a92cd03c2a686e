//! `neurath modules`: what is installed, and what one version offers.

use clap::Args;
use console::Style;
use neurath_node::api::view::{EntryView, ModuleInfoView, ModuleView, TypeView};

use crate::failure::Failure;
use crate::output::{bold, clean, dim, green, note, print, print_json};
use crate::place::Place;
use crate::show;
use crate::table::{Column, Table};

/// List installed modules, or show one
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  neurath modules\n  neurath modules counter\n  neurath modules counter@1.0.0 --json"
)]
pub(crate) struct Arguments {
    /// `name` for its current version, `name@version`, or digits of the artifact's hash
    module: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments, place: &Place) -> Result<(), Failure> {
    let client = place.client()?;
    match arguments.module {
        Some(module) => {
            // It answers at once, so a node that does not is told from one that compiles.
            client.node().await?;
            let info = client.module(&module).await?;
            if arguments.json { print_json(&info) } else { one(&info) }
        }
        None => {
            let listed = client.modules().await?;
            if arguments.json { print_json(&listed) } else { all(&listed.modules) }
        }
    }
    Ok(())
}

fn all(modules: &[ModuleView]) {
    if modules.is_empty() {
        note("no modules; install one with `neurath install PATH`");
        return;
    }
    let mut table = Table::new([
        Column::Flexible("MODULE"),
        Column::Left("CURRENT"),
        Column::Right("PROCESSES"),
        Column::Left("CODE"),
        Column::Right("SIZE"),
        Column::Left("HASH"),
    ]);
    for module in modules {
        let code = if module.holders.is_some() { "loaded" } else { "-" };
        table.row([
            (module.module.clone(), bold()),
            (if module.current { "current" } else { "-" }.to_owned(), if module.current { green() } else { dim() }),
            (module.processes.to_string(), Style::new()),
            (code.to_owned(), Style::new()),
            (show::bytes(module.size_bytes), Style::new()),
            (module.hash[..12].to_owned(), dim()),
        ]);
    }
    print(table.render());
}

fn one(info: &ModuleInfoView) {
    let ModuleInfoView { module, sdk, entries, converters } = info;
    let fact = |name: &str, value: String| print(format!("{}  {value}", bold().apply_to(format!("{name:<9}"))));
    fact("module", clean(&module.module));
    fact("current", if module.current { "yes" } else { "no" }.into());
    fact("processes", module.processes.to_string());
    let held = module.holders.map(|holders| format!("loaded, {}", show::count(holders, "holder", "holders")));
    fact("code", held.unwrap_or_else(|| "not in memory".into()));
    fact("size", show::bytes(module.size_bytes));
    fact("hash", module.hash.clone());
    fact("sdk", clean(sdk));
    for entry in entries {
        print(format!("\n{} {}", entry.kind, bold().apply_to(signature(entry))));
        let fact = |name: &str, of: &TypeView| print(format!("  {name:<7}  {}", clean(&of.name)));
        let is_function = entry.kind == "function";
        // A function's state is its arguments, and what it is called with says nothing.
        if !is_function {
            fact("state", &entry.state);
        }
        for takes in entry.takes.iter().filter(|takes| !is_function || takes.class != "call") {
            fact(&takes.class, &takes.of);
        }
        if let Some(reply) = &entry.reply {
            fact(if is_function { "result" } else { "reply" }, reply);
        }
    }
    for converter in converters {
        let (from, to) = (clean(&converter.from.name), clean(&converter.to.name));
        print(format!("\nconverter {}  {from} -> {to}", bold().apply_to(clean(&converter.name))));
    }
}

fn signature(entry: &EntryView) -> String {
    clean(&format!("{}({}): {}", entry.name, entry.argument_names.join(", "), entry.arguments.name))
}
