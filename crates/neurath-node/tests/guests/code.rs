//! Code that nobody runs leaves memory (G6).

use std::collections::BTreeSet;

use neurath_engine::with_section;
use neurath_node::{InstallOptions, ModuleInfo, manifest_of};
use serde_json::json;

use crate::common::{World, eventually, guest, plainly};

/// The same program as another artifact: a custom section is added, which nothing reads.
fn variant(wasm: &[u8], mark: u8) -> Vec<u8> {
    let section = [0, 6, 4, b'm', b'a', b'r', b'k', mark];
    with_section(&[wasm, &section].concat(), &manifest_of(wasm).unwrap().to_section()).unwrap()
}

fn loaded(modules: &[ModuleInfo]) -> BTreeSet<String> {
    modules.iter().filter(|m| m.loaded.is_some()).map(|m| format!("{}@{}", m.package, m.version)).collect()
}

#[tokio::test]
async fn after_fifty_upgrades_only_what_runs_or_is_current_is_in_memory() {
    let world = World::with(&[]).await;
    let mut versions = Vec::new();
    for package in ["counter-v1", "account-v1"] {
        let mut pair = Vec::new();
        for mark in [1, 2] {
            let options = InstallOptions { dev: true, ..InstallOptions::default() };
            let installed = world.node.install(variant(&guest(package), mark), options).await.unwrap();
            pair.push(format!("{}@{}", installed.package, installed.version));
        }
        assert_ne!(pair[0], pair[1], "each artifact is a development version of its own");
        versions.push(pair);
    }
    let (counters, accounts) = (&versions[0], &versions[1]);
    let counter = world.spawn(&counters[0], "counter", json!([1])).await;
    let account = world.spawn(&accounts[0], "account", json!(["Otto"])).await;
    for round in 1..=50 {
        let passing = world.spawn("counter", "counter", json!([0])).await;
        world.node.upgrade(&counters[round % 2], plainly()).await.unwrap();
        world.send(counter, json!("Upgrade")).await;
        world.send(counter, json!({"Increment": 1})).await;
        let report = world.node.upgrade(&accounts[round % 2], plainly()).await.unwrap();
        assert_eq!((report.committed, report.rolled_back), (vec![account], vec![]));
        world.kill(passing).await;
        world.assert_counts(counter, 1 + round as i64, 1).await;
    }
    assert_eq!(world.node.upgrade_counts(), (100, 0));

    let only_current = async |processes: usize| {
        let wanted = BTreeSet::from([counters[0].clone(), accounts[0].clone()]);
        eventually("code that only those hold who run it", async || {
            let modules = world.node.modules().await.unwrap();
            let held = modules.iter().filter_map(|m| m.loaded.as_ref());
            let surplus = held.clone().any(|loaded| loaded.holders > 1 + processes);
            (loaded(&modules) == wanted && !surplus).then_some(())
        })
        .await;
    };
    only_current(1).await;
    world.kill(counter).await;
    world.kill(account).await;
    only_current(0).await;
}

#[tokio::test]
async fn a_version_stays_in_memory_as_long_as_one_process_runs_it() {
    let world = World::with(&["counter-v1", "counter-v2"]).await;
    let old = world.spawn("counter@1.0.0", "counter", json!([1])).await;
    world.node.upgrade("counter@2.0.0", plainly()).await.unwrap();
    world.assert_counts(old, 1, 1).await;
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let both = loaded(&world.node.modules().await.unwrap());
    assert_eq!(both, names(&["counter@1.0.0", "counter@2.0.0"]));
    world.kill(old).await;
    eventually("the old code's end", async || {
        (loaded(&world.node.modules().await.unwrap()) == names(&["counter@2.0.0"])).then_some(())
    })
    .await;
}
