//! Types that do not fit are loud (G7): a call gets an error with both names, a send is counted and listed.

use serde_json::json;

use crate::common::{World, eventually};

#[tokio::test]
async fn a_call_of_a_type_that_is_not_taken_is_answered_with_both_names() {
    let world = World::with(&["account-v1", "bench"]).await;
    let server = world.spawn("bench", "bench_server", json!([0])).await;
    let teller = world.spawn("account", "teller", json!([server.to_string(), 0])).await;
    let error = world.logged(teller, "has no answer").await;
    assert!(error.contains("`Ask`") && error.contains("`u64 | Count`"), "{error}");
    world.kill(teller).await;
    assert_eq!(world.call(server, json!(0)).await, json!({"calls": 1, "casts": 0, "version": 1}), "nothing ran");
    assert!(world.info(server).await.info.counts.refused > 0);
}

#[tokio::test]
async fn a_question_with_a_reply_to_of_a_type_that_is_not_taken_is_answered_with_both_names() {
    let world = World::with(&["account-v1", "counter-v1"]).await;
    let account = world.spawn("account", "account", json!(["Otto"])).await;
    let client = world.spawn("counter", "client", json!([account.to_string(), 0])).await;
    let error = world.logged(client, "has no answer").await;
    assert!(error.contains("`Tally`") && error.contains("`Ask | Tell`"), "{error}");
    world.kill(client).await;
    assert_eq!(world.call(account, json!("Balance")).await, json!({"Cents": 0}));
}

#[tokio::test]
async fn an_answer_of_a_type_that_is_not_expected_is_an_error_with_both_names() {
    let world = World::with(&["rogue", "bench"]).await;
    let fragile = world.spawn("rogue", "fragile", json!([0])).await;
    let load = world.spawn("bench", "caller", json!([fragile.to_string()])).await;
    let error = world.logged(load, "cannot be read").await;
    assert!(error.contains("`u64`") && error.contains("`BenchAnswer`"), "{error}");
    world.kill(load).await;
    // The caller counts up and may have met the number at which the server breaks: another one answers.
    let another = world.spawn("rogue", "fragile", json!([0])).await;
    assert_eq!(world.call(another, json!(1)).await, json!(2));
}

#[tokio::test]
async fn a_plain_send_of_a_type_that_is_not_taken_is_counted_and_listed() {
    let world = World::with(&["rogue", "counter-v1"]).await;
    let counter = world.spawn("counter", "counter", json!([5])).await;
    let sender = world.spawn("rogue", "floods", json!([counter.to_string(), 3])).await;
    let three = async || {
        let (refused, undeliverable, latest) = world.node.refusals().await;
        (refused == 3).then_some((undeliverable, latest))
    };
    let (undeliverable, latest) = eventually("three refusals", three).await;
    assert_eq!((undeliverable, latest.len()), (0, 3));
    for refusal in latest {
        assert_eq!((refusal.from, refusal.to, refusal.type_name.as_str()), (sender, counter, "Nudge"));
        assert!(refusal.reason.contains("Tally"), "{}", refusal.reason);
    }
    world.assert_counts(counter, 5, 1).await;
    let info = world.info(counter).await.info;
    assert_eq!((info.counts.refused, info.mailbox), (3, 0), "what is refused takes no room");
}

#[tokio::test]
async fn a_message_for_nobody_is_counted_as_such() {
    let world = World::with(&["rogue", "counter-v1"]).await;
    let counter = world.spawn("counter", "counter", json!([5])).await;
    world.kill(counter).await;
    world.spawn("rogue", "floods", json!([counter.to_string(), 2])).await;
    let listed = async || {
        let (_, undeliverable, latest) = world.node.refusals().await;
        (undeliverable == 2).then_some(latest)
    };
    let latest = eventually("two undeliverable messages", listed).await;
    assert!(latest.iter().all(|refusal| refusal.to == counter && refusal.type_name == "Nudge"), "{latest:?}");
}

#[tokio::test]
async fn json_that_fits_no_type_of_the_process_is_refused_before_it_is_sent() {
    let world = World::with(&["counter-v1", "rogue"]).await;
    let counter = world.spawn("counter", "counter", json!([5])).await;
    let error = world.node.send(&counter.to_string(), &json!({"Deposit": 1})).await.unwrap_err().to_string();
    assert!(error.contains("Deposit") && error.contains("Tally"), "{error}");
    let silent = world.spawn("rogue", "answers_wrongly", json!([])).await;
    let error = world.node.send(&silent.to_string(), &json!("Number")).await.unwrap_err().to_string();
    assert!(error.contains("accepts(Type)"), "{error}");
    assert_eq!(world.info(counter).await.info.counts.received, 0);
}
