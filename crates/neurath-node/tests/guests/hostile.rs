//! Guests that misbehave end with a clear reason, and nothing else on the node is disturbed (G8).

use neurath_node::NodeError;
use neurath_proto::Schema;
use neurath_proto::json::to_json;
use neurath_proto::reason::{CallError, ExitReason};
use serde_json::{Value, json};

use crate::common::{SHARDS, World, eventually, guest};

/// Asserts that this entry of `rogue` ends as a trap or a panic whose text holds every one of `words`, on each
/// shard, and that others go on.
async fn check(entry: &str, arguments: Value, words: &[&str]) {
    let world = World::with(&["counter-v1", "rogue"]).await;
    let counters = world.counters().await;
    for _ in 0..SHARDS {
        let rogue = world.spawn("rogue", entry, arguments.clone()).await;
        let reason = world.death(rogue).await;
        assert!(matches!(reason, ExitReason::Trap { .. } | ExitReason::Panic { .. }), "{reason:?}");
        let text = reason.to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{entry}: {text}");
    }
    world.assert_undisturbed(&counters).await;
}

/// The value of a reason of its own type.
fn custom(reason: &ExitReason) -> (String, Value) {
    let ExitReason::Custom { type_name, schema, value } = reason else { panic!("{reason:?}") };
    let schema = Schema::decode(schema).unwrap();
    (type_name.clone(), to_json(&schema, value).unwrap())
}

#[tokio::test]
async fn a_panic_is_told_with_its_message_and_location() {
    check("panics", json!([0]), &["panicked at", "lib.rs:", "as asked, after 0 nudges"]).await;
}

#[tokio::test]
async fn a_trap_is_told_with_its_cause() {
    check("traps", json!([]), &["trapped: unreachable code was reached in `"]).await;
}

#[tokio::test]
async fn reading_outside_its_memory_ends_a_process() {
    check("reads_outside", json!([]), &["trapped: out of bounds memory access in `"]).await;
}

#[tokio::test]
async fn memory_hunger_ends_a_process() {
    check("hungers", json!([1 << 20]), &["more memory than the 67108864 bytes"]).await;
}

#[tokio::test]
async fn a_stack_that_overflows_ends_a_process() {
    // It lies below the data, so that what overflows it reads outside the memory, as `reads_outside` does on purpose.
    check("recurses", json!([]), &["trapped: the stack overflowed in `rogue::deeper"]).await;
}

#[tokio::test]
async fn a_thread_s_sleep_is_refused_with_advice() {
    check("blocks", json!([]), &["neurath::sleep"]).await;
}

#[tokio::test]
async fn starting_what_is_not_there_is_told_by_name() {
    check("starts_nothing", json!([]), &["rogue@1.0.0", "no such entry"]).await;
}

#[tokio::test]
async fn leaving_like_a_command_is_told_with_the_code() {
    check("leaves", json!([3]), &["3"]).await;
}

#[tokio::test]
async fn pointers_to_nowhere_end_a_process() {
    let world = World::with(&["counter-v1", "rogue"]).await;
    let counters = world.counters().await;
    for which in 0..8 {
        let liar = world.spawn("rogue", "lies_about_pointers", json!([which])).await;
        world.ended(liar).await;
        // Bytes that are no text may be logged as they are; every other lie is told.
        if which != 5 {
            let reason = world.death(liar).await;
            let ExitReason::Trap { message } = &reason else { panic!("lie {which}: {reason:?}") };
            assert!(!message.is_empty());
        }
        world.assert_undisturbed(&counters).await;
    }
}

#[tokio::test]
async fn a_reason_of_its_own_type_can_be_read_by_others() {
    let world = World::with(&["counter-v1", "rogue"]).await;
    let fed_up = world.spawn("rogue", "fed_up", json!([])).await;
    let reason = world.death(fed_up).await;
    assert_eq!(custom(&reason), ("Fed".to_owned(), json!({"up": "with boats"})));
}

#[tokio::test]
async fn what_a_poll_sent_before_it_panicked_never_arrives() {
    let world = World::with(&["rogue"]).await;
    let deaf = world.spawn("rogue", "deaf", json!([])).await;
    for _ in 0..20 {
        let rogue = world.spawn("rogue", "sends_and_panics", json!([deaf.to_string()])).await;
        world.death(rogue).await;
    }
    let info = world.info(deaf).await.info;
    assert_eq!((info.mailbox, info.counts.received), (0, 0));
}

#[tokio::test]
async fn a_server_that_fails_to_start_says_why() {
    let world = World::with(&["counter-v1", "rogue"]).await;
    let counters = world.counters().await;
    let text = match world.node.spawn("rogue", Some("stillborn"), &json!([])).await {
        Ok(stillborn) => match world.death(stillborn).await {
            reason @ ExitReason::Custom { .. } => custom(&reason).1.to_string(),
            reason => reason.to_string(),
        },
        Err(error) => error.to_string(),
    };
    assert!(text.contains("never meant to be"), "{text}");
    world.assert_undisturbed(&counters).await;
}

#[tokio::test]
async fn a_caller_is_told_that_the_server_panicked_and_why() {
    let world = World::with(&["rogue"]).await;
    let fragile = world.spawn("rogue", "fragile", json!([1000])).await;
    assert_eq!(world.call(fragile, json!(12)).await, json!(13));
    let error = world.node.call(&fragile.to_string(), &json!(13), std::time::Duration::from_secs(30)).await;
    let Err(NodeError::Call(CallError::Down(ExitReason::Panic { message, location }))) = error else {
        panic!("{error:?}")
    };
    assert!(message.contains("thirteen is too much") && location.contains("lib.rs"), "{message} {location}");
}

#[tokio::test]
async fn endless_loops_on_every_shard_hold_nobody_up_and_can_be_killed() {
    let world = World::with(&["counter-v1", "rogue"]).await;
    let counters = world.counters().await;
    let mut spinners = Vec::new();
    for entry in ["spins", "wakes_itself"] {
        for _ in 0..2 * SHARDS {
            spinners.push(world.spawn("rogue", entry, json!([])).await);
        }
    }
    for _ in 0..10 {
        world.assert_undisturbed(&counters).await;
    }
    let started_meanwhile = world.spawn("counter", "counter", json!([9])).await;
    world.assert_counts(started_meanwhile, 9, 1).await;
    for spinner in spinners {
        assert!(world.lives(spinner).await);
        world.kill(spinner).await;
        assert_eq!(world.death(spinner).await, ExitReason::Killed { by: None });
    }
    world.assert_undisturbed(&counters).await;
}

#[tokio::test]
async fn a_chatterer_fills_no_more_log_than_is_kept() {
    const KEPT: usize = 100;
    let world = World::configured(&["counter-v1", "rogue"], |config| config.log_lines = KEPT).await;
    let counters = world.counters().await;
    let chatterer = world.spawn("rogue", "chatters", json!([10_000])).await;
    world.ended(chatterer).await;
    let lines = world.node.logs().since(0);
    assert!(lines.len() <= KEPT, "{}", lines.len());
    assert_eq!(lines.last().map(|line| line.text.as_str()), Some("line 9999"));
    world.assert_undisturbed(&counters).await;
}

#[tokio::test]
async fn processes_that_multiply_end_at_the_limit_of_the_shard() {
    let world = World::configured(&["counter-v1", "rogue"], |config| config.kernel.processes = 64).await;
    let counters = world.counters().await;
    world.spawn("rogue", "multiplies", json!([12])).await;
    let over = async || (world.node.processes().await.len() == counters.len()).then_some(());
    eventually("the end of all that were started", over).await;
    world.assert_undisturbed(&counters).await;
}

#[tokio::test]
async fn damaged_modules_are_refused_and_disturb_nobody() {
    let world = World::with(&["counter-v1"]).await;
    let counters = world.counters().await;
    let good = guest("counter-v2");
    let mut flipped = good.clone();
    flipped[3] ^= 1;
    let damaged = [Vec::new(), b"not wasm".to_vec(), good[..good.len() / 2].to_vec(), flipped];
    for wasm in damaged {
        let len = wasm.len();
        let refused = world.node.install(wasm, Default::default()).await;
        assert!(matches!(refused, Err(NodeError::Prepare(_))), "{len} bytes: {refused:?}");
    }
    assert_eq!(world.node.modules().await.unwrap().len(), 1);
    world.assert_undisturbed(&counters).await;
}
