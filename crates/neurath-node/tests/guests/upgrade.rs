//! Changes of code: what stays (G4), and what becomes of those that fail (G3).

use neurath_node::NodeError;
use neurath_proto::Pid;
use serde_json::{Value, json};

use crate::common::{World, eventually, plainly};

#[tokio::test]
async fn a_counter_keeps_its_pid_sum_name_links_and_watchers() {
    let world = World::with(&["counter-v1", "counter-v2", "rogue"]).await;
    let counter = world.spawn("counter@1.0.0", "counter", json!([40])).await;
    let friend = world.spawn("rogue", "clings", json!([counter.to_string(), "tally"])).await;
    let clung = async || {
        let info = world.info(counter).await.info;
        (info.watchers.contains(&friend) && info.links.contains(&friend)).then_some(info)
    };
    let before = eventually("a friend of the counter", clung).await;
    assert_eq!(before.names, ["tally"]);

    let report = world.node.upgrade("counter@2.0.0", plainly()).await.unwrap();
    assert_eq!((report.on_their_own, report.committed, report.current), (vec![counter], vec![], true));
    world.send(counter, json!({"Increment": 2})).await;
    world.send(counter, json!("Upgrade")).await;
    let event = world.upgrade_event(counter, 0).await;
    assert_eq!((event.from.as_str(), event.to.as_str(), event.result), ("counter@1.0.0", "counter@2.0.0", Ok(())));

    world.assert_counts(counter, 42, 2).await;
    assert_eq!(world.node.find("tally").await.unwrap(), counter);
    let after = world.info(counter).await.info;
    assert_eq!((after.pid, after.program.as_str(), after.counts.upgrades), (counter, "counter@2.0.0", 1));
    let kept = |info: &neurath_kernel::kernel::ProcessInfo| {
        (info.names.clone(), info.links.clone(), info.watchers.clone(), info.parent)
    };
    assert_eq!(kept(&after), kept(&before));

    world.send(counter, json!("Reset")).await;
    world.assert_counts(counter, 0, 2).await;
    world.kill(counter).await;
    let reason = world.death(friend).await.to_string();
    assert!(reason.contains("killed"), "the link still works: {reason}");
}

#[tokio::test]
async fn versions_1_2_and_3_run_side_by_side() {
    let world = World::with(&["counter-v1", "counter-v2", "counter-v3"]).await;
    let mut counters = Vec::new();
    for (version, state) in [(1, json!(10)), (2, json!(20)), (3, json!({"sum": 30, "increments": 1}))] {
        let counter = world.spawn(&format!("counter@{version}.0.0"), "counter", json!([state])).await;
        counters.push((counter, version));
    }
    for round in 1..=3 {
        for &(counter, version) in &counters {
            world.send(counter, json!({"Increment": 1})).await;
            world.assert_counts(counter, i64::from(version) * 10 + round, version).await;
        }
    }
    let modules = world.node.modules().await.unwrap();
    let running: Vec<_> = modules.iter().map(|m| (m.version.as_str(), m.processes, m.loaded.is_some())).collect();
    assert_eq!(running, [("1.0.0", 1, true), ("2.0.0", 1, true), ("3.0.0", 1, true)]);
}

#[tokio::test]
async fn a_counter_whose_converter_refuses_goes_on_with_its_sum() {
    let world = World::with(&["counter-v1", "counter-v2", "counter-v3"]).await;
    let counter = world.spawn("counter@2.0.0", "counter", json!([7])).await;
    world.node.upgrade("counter@3.0.0", plainly()).await.unwrap();
    for attempt in 0..3 {
        world.send(counter, json!("Upgrade")).await;
        world.send(counter, json!({"Increment": 1})).await;
        let event = world.upgrade_event(counter, attempt).await;
        assert_eq!((event.from.as_str(), event.to.as_str()), ("counter@2.0.0", "counter@3.0.0"));
        let why = event.result.unwrap_err();
        let sum = 7 + attempt as i64;
        assert!(why.contains(&format!("a sum of {sum} does not say how many increments")), "{why}");
        world.assert_counts(counter, sum + 1, 2).await;
    }
    let counts = world.info(counter).await.info.counts;
    assert_eq!((counts.upgrades, counts.rollbacks, counts.refused), (0, 3, 0));
    assert_eq!(world.node.upgrade_counts(), (0, 3));
    assert!(world.node.deaths().is_empty(), "{:?}", world.node.deaths());
}

#[tokio::test]
async fn what_waits_in_the_mailbox_from_version_1_is_understood_by_version_2() {
    const BEFORE: i64 = 1000;
    let world = World::with(&["counter-v1", "counter-v2"]).await;
    let counter = world.spawn("counter@1.0.0", "counter", json!([0])).await;
    world.node.upgrade("counter@2.0.0", plainly()).await.unwrap();
    // All are encoded for version 1, and pushed to the shard together: most of them wait when the code changes.
    let message = |n| if n == 10 { json!("Upgrade") } else { json!({"Increment": n}) };
    futures_util::future::join_all((0..BEFORE).map(|n| world.send(counter, message(n)))).await;
    world.assert_counts(counter, (0..BEFORE).sum::<i64>() - 10, 2).await;
    assert_eq!(world.node.refusals().await.0, 0);
}

#[tokio::test]
async fn clients_of_version_1_lose_nothing_while_their_counter_changes() {
    let world = World::with(&["counter-v1", "counter-v2", "counter-v3"]).await;
    let counter = world.spawn("counter@1.0.0", "counter", json!([0])).await;
    let clients = busy(&world, "counter@1.0.0", "client", counter).await;
    for (attempt, (wanted, outcome)) in [("counter@2.0.0", true), ("counter@3.0.0", false)].into_iter().enumerate() {
        world.node.upgrade(wanted, plainly()).await.unwrap();
        world.send(counter, json!("Upgrade")).await;
        assert_eq!(world.upgrade_event(counter, attempt).await.result.is_ok(), outcome);
        more_calls(&world, counter).await;
    }
    let additions = nothing_lost(&world, &clients).await;
    world.assert_counts(counter, additions, 2).await;
}

#[tokio::test]
async fn an_account_is_converted_while_calls_are_in_flight_and_none_is_lost() {
    let world = World::with(&["account-v1", "account-v2"]).await;
    let account = world.spawn("account@1.0.0", "account", json!(["Otto"])).await;
    let tellers = busy(&world, "account@1.0.0", "teller", account).await;
    let report = world.node.upgrade("account@2.0.0", plainly()).await.unwrap();
    assert_eq!((report.committed, report.rolled_back), (vec![account], vec![]));
    assert!(report.current);
    more_calls(&world, account).await;
    let cents = nothing_lost(&world, &tellers).await;
    assert_eq!(world.call(account, json!("Balance")).await, json!({"Cents": cents}));
    assert_eq!(world.call(account, json!("Version")).await, json!({"Version": 2}));
    assert_eq!(world.node.refusals().await.0, 0);
}

#[tokio::test]
async fn accounts_whose_converter_panics_are_rolled_back_each_alone() {
    let world = World::with(&["account-v2", "account-v3"]).await;
    let mut accounts = Vec::new();
    for (n, owner) in ["Otto", "Marie", "Rudolf", "17"].into_iter().enumerate() {
        let account = world.spawn("account@2.0.0", "account", json!([owner])).await;
        world.send(account, json!({"Deposit": {"cents": n}})).await;
        accounts.push(account);
    }
    let numbered = accounts.pop().unwrap();

    let report = world.node.upgrade("account@3.0.0", plainly()).await.unwrap();
    assert_eq!(report.committed, [numbered]);
    let mut rolled_back: Vec<_> = report.rolled_back.iter().map(|(pid, _)| *pid).collect();
    rolled_back.sort();
    accounts.sort();
    assert_eq!(rolled_back, accounts);
    for (_, why) in &report.rolled_back {
        assert!(why.contains("an owner is a number"), "{why}");
    }
    for account in &accounts {
        assert_eq!(world.call(*account, json!("Version")).await, json!({"Version": 2}));
        assert_eq!(world.info(*account).await.info.counts.rollbacks, 1);
        let why = world.upgrade_event(*account, 0).await.result.unwrap_err();
        assert!(why.contains("an owner is a number"), "{why}");
    }
    assert_eq!(world.call(numbered, json!("Version")).await, json!({"Version": 3}));
    assert_eq!(world.call(numbered, json!("Balance")).await, json!({"Cents": 3}));
    let cents = futures_util::future::join_all(accounts.iter().map(|a| world.call(*a, json!("Balance")))).await;
    assert_eq!(cents.len(), 3);
    assert!((0..3).all(|n| cents.contains(&json!({"Cents": n}))), "{cents:?}");
    assert!(world.node.deaths().is_empty(), "{:?}", world.node.deaths());
}

#[tokio::test]
async fn a_rollback_puts_back_even_what_writing_the_state_changed() {
    let world = World::with(&["rogue", "rogue-v2"]).await;
    let sly = world.spawn("rogue@1.0.0", "sly", json!([])).await;
    for _ in 0..3 {
        let report = world.node.upgrade("rogue@2.0.0", plainly()).await.unwrap();
        assert_eq!(report.rolled_back.len(), 1, "{report:?}");
        assert_eq!(world.call(sly, json!(null)).await, json!(0));
    }
}

#[tokio::test]
async fn an_upgrade_that_nobody_could_take_leaves_the_old_version_current() {
    let world = World::with(&["account-v2", "account-v3"]).await;
    let account = world.spawn("account", "account", json!(["Otto"])).await;
    let report = world.node.upgrade("account@3.0.0", plainly()).await.unwrap();
    assert_eq!((report.committed, report.rolled_back.len(), report.current), (vec![], 1, false));
    let another = world.spawn("account", "account", json!(["Marie"])).await;
    for account in [account, another] {
        assert_eq!(world.call(account, json!("Version")).await, json!({"Version": 2}));
    }
}

#[tokio::test]
async fn a_refused_plan_touches_nothing() {
    let world = World::with(&["bench-v2", "bench"]).await;
    let server = world.spawn("bench@2.0.0", "bench_server", json!([100])).await;
    assert_eq!(world.call(server, json!(0)).await, json!({"calls": 1, "casts": 0, "version": 2}));

    let refused = world.node.upgrade("bench@1.0.0", plainly()).await.unwrap_err();
    assert!(matches!(refused, NodeError::PlanRefused { .. }), "{refused}");
    let text = refused.to_string();
    assert!(text.contains("bench@2.0.0 bench_server") && text.contains("since_upgrade"), "{text}");

    assert_eq!(world.call(server, json!(0)).await, json!({"calls": 2, "casts": 0, "version": 2}));
    let info = world.info(server).await.info;
    assert_eq!((info.program.as_str(), info.counts.upgrades, info.counts.rollbacks), ("bench@2.0.0", 0, 0));
    assert_eq!(world.node.upgrade_counts(), (0, 0));
    let modules = world.node.modules().await.unwrap();
    let current: Vec<_> = modules.iter().filter(|m| m.current).map(|m| m.version.as_str()).collect();
    assert_eq!(current, ["2.0.0"]);
}

#[tokio::test]
async fn a_dry_run_says_what_would_happen_and_does_nothing() {
    let world = World::with(&["account-v1", "account-v2"]).await;
    let account = world.spawn("account", "account", json!(["Otto"])).await;
    let teller = world.spawn("account", "teller", json!([account.to_string(), 1])).await;
    let options = neurath_node::UpgradeOptions { dry_run: true, ..plainly() };
    let report = world.node.upgrade("account@2.0.0", options).await.unwrap();
    let plan = report.plan.join("\n");
    assert!(plan.contains("account@1.0.0 account: converter `from_v1`"), "{plan}");
    assert!(plan.contains("teller: goes on as it is"), "{plan}");
    assert!(!report.current);
    assert_eq!(world.call(account, json!("Version")).await, json!({"Version": 1}));
    assert_eq!(world.call(teller, json!("Stop")).await["lost"], 0);
}

/// Three clients that keep `target` busy.
async fn busy(world: &World, module: &str, entry: &str, target: Pid) -> Vec<Pid> {
    let mut clients = Vec::new();
    for batch in [1, 10, 200] {
        clients.push(world.spawn(module, entry, json!([target.to_string(), batch])).await);
    }
    more_calls(world, target).await;
    clients
}

/// Waits until `target` has taken more messages of its clients.
async fn more_calls(world: &World, target: Pid) {
    let before = world.info(target).await.info.counts.received;
    let more = async || (world.info(target).await.info.counts.received > before + 1000).then_some(());
    eventually("a process that goes on taking messages", more).await;
}

/// Ends the clients, and says how much they added together.
async fn nothing_lost(world: &World, clients: &[Pid]) -> i64 {
    let mut additions = 0;
    for client in clients {
        let seen = world.call(*client, json!("Stop")).await;
        let number = |name: &str| seen.get(name).and_then(Value::as_i64).unwrap();
        assert_eq!((number("lost"), number("reordered")), (0, 0), "{seen}");
        assert_eq!(number("reads"), number("answered"), "{seen}");
        assert!(number("answered") > 0, "{seen}");
        additions += number("additions");
    }
    additions
}
