//! Hibernation: a process that waits is kept as an image and notices nothing.

use std::time::Duration;

use neurath_node::Hibernation;
use neurath_proto::Pid;
use serde_json::json;

use crate::common::{World, eventually, plainly};

/// A node whose processes hibernate as soon as they wait.
async fn drowsy(guests: &[&str]) -> World {
    let hibernation = Hibernation { after: Duration::from_millis(1), awake_min: 0, ..Hibernation::default() };
    World::configured(guests, |config| config.hibernation = hibernation).await
}

async fn sleeps(world: &World, pid: Pid) {
    let asleep = async || world.info(pid).await.footprint.is_some_and(|f| f.hibernates).then_some(());
    eventually("a process that hibernates", asleep).await;
}

#[tokio::test]
async fn a_process_that_hibernates_is_small_and_answers_as_before() {
    let world = drowsy(&["counter-v1"]).await;
    let counter = world.spawn("counter", "counter", json!([40])).await;
    for sum in 41..50 {
        sleeps(&world, counter).await;
        let bytes = world.info(counter).await.footprint.unwrap().bytes;
        assert!(bytes < 16 << 10, "an image of {bytes} bytes");
        world.send(counter, json!({"Increment": 1})).await;
        sleeps(&world, counter).await;
        world.assert_counts(counter, sum, 1).await;
    }
}

#[tokio::test]
async fn what_a_process_had_in_memory_and_its_timers_are_there_when_it_wakes() {
    let world = drowsy(&["rogue"]).await;
    let pid = world.spawn("rogue", "remembers", json!([3 << 20])).await;
    for number in 0..3 {
        sleeps(&world, pid).await;
        world.send(pid, json!(number)).await;
    }
    // A timer wakes it as well; what it then logs counts all that it remembers.
    world.logged(pid, "remembers 3 nudges, a timer, and all of its 3145728 bytes").await;
    world.ended(pid).await;
    assert!(world.node.deaths().is_empty(), "{:?}", world.node.deaths());
}

#[tokio::test]
async fn a_server_that_hibernates_is_upgraded_and_a_killed_one_ends() {
    let world = drowsy(&["account-v1", "account-v2"]).await;
    let account = world.spawn("account@1.0.0", "account", json!(["Otto"])).await;
    let other = world.spawn("account@1.0.0", "account", json!(["Karl"])).await;
    sleeps(&world, account).await;
    sleeps(&world, other).await;
    world.kill(other).await;
    let report = world.node.upgrade("account@2.0.0", plainly()).await.unwrap();
    assert_eq!((report.committed, report.rolled_back), (vec![account], vec![]));
    sleeps(&world, account).await;
    assert_eq!(world.call(account, json!("Balance")).await, json!({"Cents": 0}));
}

#[tokio::test]
async fn of_too_many_processes_only_some_stay_awake_and_all_answer() {
    const COUNT: usize = 200;
    let hibernation = Hibernation { after: Duration::from_secs(3600), awake_min: 0, awake_max: 8 };
    let world = World::configured(&["counter-v1"], |config| config.hibernation = hibernation).await;
    let mut counters = Vec::new();
    for n in 0..COUNT {
        counters.push(world.spawn("counter", "counter", json!([n])).await);
    }
    for _ in 0..2 {
        for (n, counter) in counters.iter().enumerate() {
            world.assert_counts(*counter, n as i64, 1).await;
        }
    }
    let mut awake = 0;
    for counter in &counters {
        awake += usize::from(!world.info(*counter).await.footprint.unwrap().hibernates);
    }
    assert!(awake <= 2 * 8, "{awake} of {COUNT} are awake");
}
