//! What `neurath run` does with a crate: builds it, starts it, and replaces its code.
//!
//! Invariant: whatever fails, processes that run go on with the code that they have.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use neurath_code::BuildRequest;
use neurath_node::api::Client;
use neurath_node::api::view::{ProcessView, RunRequest, SpawnRequest, TypeView, UpgradeRequest, UpgradeView};
use neurath_node::{Builder, Built, Node};
use neurath_proto::manifest::{Entry, EntryKind, Manifest};
use serde_json::Value;

use crate::build::{blocking, warn};
use crate::failure::Failure;
use crate::output::{Bar, clean_below, green, note, print, red, yellow};
use crate::show::{self, Pids};
use crate::value;

/// A plain process is watched this long for taking up its new code.
const TAKE_UP_MAX: Duration = Duration::from_secs(600);

/// A process is looked at this long after its start for whether it begins to wait.
const SETTLE_MAX: Duration = Duration::from_millis(500);

/// What was started.
pub(super) enum Started {
    /// A process: its module and pid.
    Process(String, String),
    /// A function, which runs when its result is awaited.
    Function(FunctionRun),
}

/// A function that is to be run.
pub(super) struct FunctionRun {
    client: Client,
    request: RunRequest,
}

impl FunctionRun {
    /// Runs it; its result as JSON.
    pub(super) async fn result(self) -> Result<String, Failure> {
        let answer = self.client.run(&self.request).await?.answer;
        Ok(serde_json::to_string(&answer).unwrap_or_default())
    }
}

/// See the module.
pub(super) struct Session {
    client: Client,
    request: BuildRequest,
    entry: Option<String>,
    arguments: Option<String>,
    builder: Option<Arc<Builder>>,
    watched: Vec<PathBuf>,
    /// The module that was installed last.
    module: Option<String>,
    /// The process that was started last.
    pid: Option<String>,
}

impl Session {
    pub(super) fn new(client: Client, request: BuildRequest, entry: Option<String>, arguments: Option<String>) -> Self {
        let (builder, watched, module, pid) = (None, Vec::new(), None, None);
        Self { client, request, entry, arguments, builder, watched, module, pid }
    }

    /// The directories whose change makes the module stale, as far as is known.
    pub(super) fn watched(&self) -> &[PathBuf] {
        &self.watched
    }

    /// Builds, installs and starts.
    pub(super) async fn start(&mut self) -> Result<Started, Failure> {
        let built = self.build(true).await?;
        let module = self.install(&built).await?;
        self.spawn(module, &built.manifest).await
    }

    /// The start of a watch: a program that does not compile yet is no end of it.
    pub(super) async fn begin(&mut self, node: &Node, pids: &Pids) -> Result<(), Failure> {
        match self.build(true).await {
            Ok(built) => {
                let module = self.install(&built).await?;
                let started = self.spawn(module, &built.manifest).await?;
                say_start(started, "; saving a file upgrades it", node, pids).await;
            }
            Err(failure) => {
                failure.show();
                note("saving a file builds it again");
            }
        }
        Ok(())
    }

    /// A file was saved.
    pub(super) async fn changed(&mut self, saved: Instant, node: &Node, pids: &Pids) {
        if let Err(failure) = self.change(saved, node, pids).await {
            failure.show();
            if self.pid.is_some() {
                note(yellow().apply_to("the old code goes on").to_string());
            }
        }
    }

    async fn change(&mut self, saved: Instant, node: &Node, pids: &Pids) -> Result<(), Failure> {
        let before = self.module.clone();
        let built = self.build(false).await?;
        let installing = Instant::now();
        let module = self.install(&built).await?;
        let installed = installing.elapsed();
        let lives = match &self.pid {
            Some(pid) => node.info(pid).await.is_ok(),
            None => false,
        };
        if lives && before.as_ref() == Some(&module) {
            note("saved, and the module is the same");
            return Ok(());
        }
        let upgrading = Instant::now();
        let upgraded = self.upgrade(&module).await?;
        if !lives {
            let started = self.spawn(module, &built.manifest).await?;
            say_start(started, &format!(", {} after it was saved", show::duration(saved.elapsed())), node, pids).await;
            return Ok(());
        }
        for rolled_back in &upgraded.rolled_back {
            let pid = pids.short(&rolled_back.pid);
            let why = clean_below(&rolled_back.why, 2);
            note(format!("{pid} {}: {why}", yellow().apply_to("goes on with the old code")));
        }
        for warning in &upgraded.warnings {
            note(format!("{} {}", yellow().apply_to("warning:"), clean_below(warning, 2)));
        }
        let [built, installed, upgraded_in] = [built.took, installed, upgrading.elapsed()].map(show::duration);
        let parts = format!("built in {built}, installed in {installed}, upgraded in {upgraded_in}");
        if !upgraded.committed.is_empty() {
            let took = green().apply_to(format!("runs {} after it was saved", show::duration(saved.elapsed())));
            let servers = show::count(upgraded.committed.len(), "server", "servers");
            note(format!("{module} {took}, in {servers} ({parts})"));
        }
        if !upgraded.on_their_own.is_empty() {
            let (one, many) = ("process that changes at its own", "processes that change at their own");
            let processes = show::count(upgraded.on_their_own.len(), one, many);
            note(format!("{module} is ready for {processes} `become_latest!` ({parts})"));
            tokio::spawn(take_up(node.clone(), module, upgraded.on_their_own, saved));
        }
        Ok(())
    }

    async fn build(&mut self, with_bar: bool) -> Result<Built, Failure> {
        let (builder, request) = (self.builder.clone(), self.request.clone());
        let (builder, built) = blocking(move || {
            let bar = with_bar.then(|| Bar::new("looking for a toolchain"));
            let mut progress = |step| {
                if let Some(bar) = &bar {
                    bar.build(step);
                }
            };
            let builder = match builder {
                Some(builder) => builder,
                None => Arc::new(Builder::new(&mut progress)?),
            };
            let built = builder.build(&request, &mut progress).map_err(Failure::from);
            Ok((builder, built))
        })
        .await?;
        self.builder = Some(builder);
        let built = built?;
        warn(&built);
        self.watched.clone_from(&built.local_dirs);
        Ok(built)
    }

    async fn install(&mut self, built: &Built) -> Result<String, Failure> {
        let source = std::path::absolute(&self.request.manifest_dir).unwrap_or_default().display().to_string();
        let installed = self.client.install(built.wasm.clone(), true, Some(&source)).await?;
        self.module = Some(installed.module.clone());
        Ok(installed.module)
    }

    async fn upgrade(&self, module: &str) -> Result<UpgradeView, Failure> {
        let request = UpgradeRequest { module: module.to_owned(), patience_ms: None, dry_run: false };
        Ok(self.client.upgrade(&request, |_, _| {}).await?)
    }

    async fn spawn(&mut self, module: String, manifest: &Manifest) -> Result<Started, Failure> {
        let chosen = chosen(manifest, self.entry.as_deref());
        let example = chosen.map(|entry| TypeView::from(&entry.arguments).examples).unwrap_or_default();
        let arguments = match &self.arguments {
            Some(text) => value::json(&value::text(text)?).map_err(|wrong| wrong.failure(&example))?,
            None => example.first().cloned().unwrap_or(Value::Null),
        };
        let entry = self.entry.clone();
        if chosen.is_some_and(|entry| entry.kind == EntryKind::Function) {
            let request = RunRequest { module, entry, arguments, within_ms: None };
            return Ok(Started::Function(FunctionRun { client: self.client.clone(), request }));
        }
        let request = SpawnRequest { module: module.clone(), entry, arguments };
        let pid = self.client.spawn(&request).await?.pid;
        self.pid = Some(pid.clone());
        Ok(Started::Process(module, pid))
    }
}

/// Says what runs, and from then on what becomes of it: its end, or its result.
async fn say_start(started: Started, with: &str, node: &Node, pids: &Pids) {
    match started {
        Started::Process(module, pid) => {
            if settles(node, &pid).await {
                note(format!("{module} runs as {}{with}", pids.short(&pid)));
            }
            tokio::spawn(say_end(node.clone(), pid, pids.clone()));
        }
        Started::Function(run) => {
            tokio::spawn(async move {
                match run.result().await {
                    Ok(result) => print(result),
                    Err(failure) => failure.show(),
                }
            });
        }
    }
}

/// Whether a process lives when it has begun; one that computes on is not waited for.
async fn settles(node: &Node, pid: &str) -> bool {
    let started = Instant::now();
    while started.elapsed() < SETTLE_MAX {
        let Ok(details) = node.info(pid).await else { return false };
        let process = ProcessView::from(details);
        if process.counts.polls > 0 && process.state == "waiting" {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    super::lives(node, pid).await
}

/// Says when and how a process has ended.
async fn say_end(node: Node, pid: String, pids: Pids) {
    while super::lives(&node, &pid).await {
        tokio::time::sleep(super::LOOK_EVERY).await;
    }
    let shown = pids.short(&pid);
    match super::death(&node, &pid, &pids) {
        Some(why) => note(format!("{shown} {}: {why}", red().apply_to("ended"))),
        None => note(format!("{shown} ended")),
    }
    note("saving a file starts it again");
}

/// The entry that the node will choose, if it can.
fn chosen<'m>(manifest: &'m Manifest, entry: Option<&str>) -> Option<&'m Entry> {
    let namesake = manifest.package.replace('-', "_");
    match entry {
        Some(name) => manifest.entry(name),
        None => manifest.entry(&namesake).or(manifest.entries.first()),
    }
}

/// Says when plain processes run their new code.
async fn take_up(node: Node, module: String, mut waiting: Vec<String>, saved: Instant) {
    while !waiting.is_empty() && saved.elapsed() < TAKE_UP_MAX {
        tokio::time::sleep(super::LOOK_EVERY).await;
        let mut rest = Vec::new();
        for pid in waiting {
            match node.info(&pid).await {
                Ok(details) if details.info.program == module => {
                    note(format!("{pid} runs {module} {} after it was saved", show::duration(saved.elapsed())));
                }
                Ok(_) => rest.push(pid),
                Err(_) => {}
            }
        }
        waiting = rest;
    }
}
