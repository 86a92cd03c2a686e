//! `neurath install`: a module into the node's store.

use std::path::PathBuf;

use clap::Args;
use neurath_node::api::view::ModuleView;

use crate::build::{BuildArguments, module};
use crate::failure::Failure;
use crate::output::{bold, note, print, print_json};
use crate::place::Place;
use crate::show;

/// Put a module into the node's store
#[derive(Args, Debug)]
#[command(
    after_help = "A version is bound to its artifact for good: raise the version in Cargo.toml, or install with --dev. \
                  The first version of a module becomes current; later ones with `neurath upgrade`.\n\nExamples:\n  \
                  neurath install counter-1.0.0.wasm\n  neurath install ./counter --dev"
)]
pub(crate) struct Arguments {
    /// A module that `neurath build` made, or the directory of a crate, which is built
    path: PathBuf,
    /// As a development version, which carries its artifact's hash and never conflicts
    #[arg(long)]
    dev: bool,
    #[command(flatten)]
    build: BuildArguments,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments, place: &Place) -> Result<(), Failure> {
    let client = place.client()?;
    // Before a build that would be for nothing.
    client.node().await?;
    let (wasm, source) = module(&arguments.path, &arguments.build).await?;
    let installed = client.install(wasm, arguments.dev, Some(&source)).await?;
    if arguments.json {
        print_json(&installed);
    } else {
        // Said beside the answer, so that nobody waits for the new version to run.
        let stays = if installed.current { None } else { Some(client.modules().await?) };
        let name = bold().apply_to(&installed.module);
        let current = if installed.current { ", current" } else { "" };
        print(format!("installed {name}  {}{current}", show::bytes(installed.size_bytes)));
        let package = |module: &str| module.split('@').next().map(str::to_owned);
        let of_package = |other: &&ModuleView| other.current && package(&other.module) == package(&installed.module);
        let stays = stays.as_ref().and_then(|stays| stays.modules.iter().find(of_package));
        if let Some(stays) = stays {
            note(format!(
                "new processes still run {}; `neurath upgrade {}` switches them and those that run",
                stays.module, installed.module
            ));
        }
    }
    Ok(())
}
