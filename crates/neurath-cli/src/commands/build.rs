//! `neurath build`: a crate to a module.

use std::path::PathBuf;

use clap::Args;
use neurath_node::Built;
use neurath_node::api::view::EntryView;
use serde::Serialize;

use crate::build::{BuildArguments, artifact_path, build};
use crate::failure::Failure;
use crate::output::{bold, dim, print, print_json};
use crate::show;

/// Build a crate to a module that nodes run
#[derive(Args, Debug)]
#[command(after_help = "The module goes to target/neurath/NAME-VERSION.wasm.\n\nExamples:\n  neurath build\n  \
                  neurath build programs --package ping-pong\n  neurath build counter -o counter.wasm")]
pub(crate) struct Arguments {
    /// The directory of the crate
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Where to put the module
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    build: BuildArguments,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    name: String,
    version: String,
    path: String,
    size_bytes: usize,
    took_ms: u64,
    entries: Vec<EntryView>,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let built = build(&arguments.path, &arguments.build).await?;
    let path = arguments.output.unwrap_or_else(|| artifact_path(&built));
    write(&path, &built.wasm)?;
    if arguments.json {
        print_json(&report(&built, path));
    } else {
        let manifest = &built.manifest;
        let size = show::bytes(built.wasm.len() as u64);
        let head = bold().apply_to(format!("{}@{}", manifest.package, manifest.version));
        print(format!("{head}  {size}  {}", dim().apply_to(format!("in {}", show::duration(built.took)))));
        for entry in manifest.entries.iter().map(EntryView::from) {
            print(format!("  {} {}({})", entry.kind, entry.name, entry.argument_names.join(", ")));
        }
        print(path.display().to_string());
    }
    Ok(())
}

fn report(built: &Built, path: PathBuf) -> Report {
    Report {
        name: built.manifest.package.clone(),
        version: built.manifest.version.clone(),
        path: std::path::absolute(&path).unwrap_or(path).display().to_string(),
        size_bytes: built.wasm.len(),
        took_ms: built.took.as_millis() as u64,
        entries: built.manifest.entries.iter().map(EntryView::from).collect(),
    }
}

fn write(path: &std::path::Path, wasm: &[u8]) -> Result<(), Failure> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let made = folder.map_or(Ok(()), std::fs::create_dir_all);
    made.and_then(|()| std::fs::write(path, wasm))
        .map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))
}
