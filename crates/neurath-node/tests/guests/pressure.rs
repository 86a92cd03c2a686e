//! Every mailbox is bounded, and who fills one waits without holding up others (G10).

use neurath_kernel::kernel::ProcessInfo;
use neurath_node::NodeConfig;
use neurath_proto::Pid;
use neurath_proto::reason::ExitReason;
use serde_json::json;

use crate::common::{World, eventually};

const MAILBOX: u32 = 500;
const OUTBOX: u32 = 100;
const FLOODERS: u32 = 5;
const FLOOD: u32 = 20_000;

/// Small limits, so that a flood is short; and one shard, where a sender is held back as soon as it went too far.
fn small(config: &mut NodeConfig) {
    config.shards = 1;
    scattered(config);
}

/// Small limits on several shards: word that a mailbox is full takes its time.
fn scattered(config: &mut NodeConfig) {
    config.kernel.port.mailbox_messages = MAILBOX;
    config.kernel.port.outbox_actions = OUTBOX;
}

/// What a poll sent is delivered whole: each sender may go over the limit by one outbox, and is then held back.
const BOUND: u32 = MAILBOX + FLOODERS * OUTBOX;

/// What no mailbox holds, whoever sends: the rest is refused, and counted.
const HARD_BOUND: u32 = 4 * MAILBOX;

/// A process, and those that flood it, once all of them are held back.
async fn flooded(world: &World) -> (Pid, Vec<Pid>) {
    let deaf = world.spawn("rogue", "deaf", json!([])).await;
    let mut flooders = Vec::new();
    for _ in 0..FLOODERS {
        flooders.push(world.spawn("rogue", "floods", json!([deaf.to_string(), FLOOD])).await);
    }
    let all_held = async || {
        assert_bounded(&world.info(deaf).await.info);
        for flooder in &flooders {
            let info = world.node.info(&flooder.to_string()).await;
            let standing = format!("{:?}", info.expect("a held flooder lives").info.standing);
            if !standing.contains("BackPressure") {
                return None;
            }
        }
        Some(())
    };
    eventually("flooders that are held back", all_held).await;
    (deaf, flooders)
}

fn assert_bounded(info: &ProcessInfo) {
    assert!(info.mailbox <= BOUND, "{} messages wait; the bound is {BOUND}", info.mailbox);
}

#[tokio::test]
async fn a_flooded_mailbox_is_bounded_and_others_go_on() {
    let world = World::configured(&["counter-v1", "rogue"], small).await;
    let counters = world.counters().await;
    let (deaf, flooders) = flooded(&world).await;
    let mailbox = world.info(deaf).await.info.mailbox;
    assert!((MAILBOX..=BOUND).contains(&mailbox), "{mailbox}");
    let mut polls = Vec::new();
    for flooder in &flooders {
        polls.push(world.info(*flooder).await.info.counts.polls);
    }
    for _ in 0..50 {
        world.assert_undisturbed(&counters).await;
        assert_eq!(world.info(deaf).await.info.mailbox, mailbox);
    }
    for (flooder, before) in flooders.iter().zip(polls) {
        assert_eq!(world.info(*flooder).await.info.counts.polls, before, "who is held back is not polled");
    }
}

#[tokio::test]
async fn a_mailbox_that_is_flooded_from_other_shards_is_bounded_too() {
    let world = World::configured(&["counter-v1", "rogue"], scattered).await;
    let counters = world.counters().await;
    let deaf = world.spawn("rogue", "deaf", json!([])).await;
    for _ in 0..FLOODERS {
        world.spawn("rogue", "floods", json!([deaf.to_string(), FLOOD])).await;
    }
    let full = async || {
        let info = world.info(deaf).await.info;
        assert!(info.mailbox <= HARD_BOUND, "{} messages wait", info.mailbox);
        (info.mailbox >= MAILBOX).then_some(())
    };
    eventually("a full mailbox", full).await;
    for _ in 0..50 {
        world.assert_undisturbed(&counters).await;
        let mailbox = world.info(deaf).await.info.mailbox;
        assert!(mailbox <= HARD_BOUND, "{mailbox} messages wait");
    }
}

#[tokio::test]
async fn a_reader_on_another_shard_gets_every_message_of_a_flood() {
    const COUNT: u64 = 200_000;
    let world = World::with(&["rogue"]).await;
    let slow = world.spawn("rogue", "slow", json!([0])).await;
    world.spawn("rogue", "floods", json!([slow.to_string(), COUNT])).await;
    let done = async || {
        let received = world.info(slow).await.info.counts.received;
        let refused = world.node.refusals().await.0;
        (received + refused >= COUNT).then_some((received, refused))
    };
    assert_eq!(eventually("the end of a flood", done).await, (COUNT, 0));
}

#[tokio::test]
async fn who_floods_the_dead_is_let_go() {
    let world = World::configured(&["rogue"], small).await;
    let (deaf, flooders) = flooded(&world).await;
    world.kill(deaf).await;
    for flooder in flooders {
        world.ended(flooder).await;
    }
    let deaths = world.node.deaths();
    assert!(deaths.iter().all(|death| death.pid == deaf), "{deaths:?}");
    assert!(world.node.refusals().await.1 > 0, "what was sent to the dead is counted");
}

#[tokio::test]
async fn who_is_held_back_can_be_killed() {
    let world = World::configured(&["rogue"], small).await;
    let (_, flooders) = flooded(&world).await;
    for flooder in flooders {
        world.kill(flooder).await;
    }
}

#[tokio::test]
async fn a_slow_reader_gets_every_message_of_a_flood() {
    let world = World::configured(&["rogue"], small).await;
    let slow = world.spawn("rogue", "slow", json!([0])).await;
    let flooder = world.spawn("rogue", "floods", json!([slow.to_string(), 5 * MAILBOX])).await;
    let drained = async || {
        let info = world.info(slow).await.info;
        assert_bounded(&info);
        (info.counts.received == u64::from(5 * MAILBOX) && info.mailbox == 0).then_some(())
    };
    eventually("a slow reader that has read everything", drained).await;
    world.ended(flooder).await;
    let (refused, undeliverable, _) = world.node.refusals().await;
    assert_eq!((refused, undeliverable), (0, 0));
    assert!(world.node.deaths().is_empty(), "{:?}", world.node.deaths());
}

#[tokio::test]
async fn a_process_that_floods_itself_is_told_that_its_mailbox_is_full() {
    let world = World::configured(&["counter-v1", "rogue"], small).await;
    let counters = world.counters().await;
    let narcissus = world.spawn("rogue", "floods_itself", json!([3 * MAILBOX])).await;
    let reason = world.death(narcissus).await;
    let ExitReason::Custom { type_name, value, .. } = &reason else { panic!("{reason:?}") };
    let refused = neurath_proto::data::decode::<u64>(value).unwrap();
    assert_eq!(type_name, "Nudge");
    let at_least = u64::from(3 * MAILBOX - MAILBOX - OUTBOX);
    assert!((at_least..=u64::from(2 * MAILBOX)).contains(&refused), "{refused}");
    world.assert_undisturbed(&counters).await;
}

#[tokio::test]
async fn a_message_larger_than_any_may_be_is_not_sent() {
    let world = World::configured(&["rogue"], |config| config.kernel.port.message_bytes = 1000).await;
    let deaf = world.spawn("rogue", "deaf", json!([])).await;
    let sender = world.spawn("rogue", "sends_much", json!([deaf.to_string(), 2000])).await;
    let reason = world.death(sender).await;
    let ExitReason::Custom { value, .. } = &reason else { panic!("{reason:?}") };
    assert_eq!(neurath_proto::data::decode::<String>(value).unwrap(), "TooLarge");
    assert_eq!(world.info(deaf).await.info.counts.received, 0);
}

#[tokio::test]
async fn requests_that_nobody_waits_for_do_not_add_up() {
    let few = |config: &mut NodeConfig| config.kernel.port.waiting = 100;
    let world = World::configured(&["rogue"], few).await;
    let server = world.spawn("rogue", "fragile", json!([1])).await;
    let asker = world.spawn("rogue", "asks_in_vain", json!([server.to_string(), 1000])).await;
    world.logged(asker, "answered 1 after 1000").await;
}
