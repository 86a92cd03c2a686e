//! Receives through real guests: what comes with a poll is read, or is still there.

use serde_json::json;

use crate::common::{World, eventually};

#[tokio::test]
async fn a_message_that_came_with_the_poll_and_was_not_read_is_not_lost() {
    const COUNT: u64 = 40;
    let world = World::with(&["rogue"]).await;
    let juggler = world.spawn("rogue", "juggles", json!([COUNT])).await;
    for number in 0..COUNT {
        // One at a time, so that each wakes it.
        let waits = async || (world.info(juggler).await.info.mailbox == 0).then_some(());
        eventually("a process that waits", waits).await;
        world.send(juggler, json!(number)).await;
    }
    let line = world.logged(juggler, "juggled").await;
    assert_eq!(line, "juggled 40 nudges, in order: true");
}

#[tokio::test]
async fn a_crowd_of_messages_is_read_in_order_however_it_is_received() {
    const COUNT: u64 = 400;
    let world = World::with(&["rogue"]).await;
    let juggler = world.spawn("rogue", "juggles", json!([COUNT])).await;
    world.spawn("rogue", "floods", json!([juggler.to_string(), COUNT])).await;
    let line = world.logged(juggler, "juggled").await;
    assert_eq!(line, "juggled 400 nudges, in order: true");
}
