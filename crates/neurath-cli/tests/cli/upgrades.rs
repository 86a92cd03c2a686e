//! What an upgrade says beforehand, and of servers that did not take it.

use serde_json::json;

use crate::harness::{Background, Node};

#[test]
fn a_plan_says_what_old_senders_can_send_no_more() {
    let node = Node::start();
    node.install(&["rogue", "rogue-v2"]);
    let pid = node.spawn(["rogue", "gossip", "0"]);
    let plan = node.json(["upgrade", "rogue@2.0.0", "--dry-run"]);
    assert_eq!(plan["plan"], json!(["rogue@1.0.0 gossip: converter `tells`"]));
    let warnings = plan["warnings"].as_array().unwrap();
    assert_eq!(warnings[0], "rogue@1.0.0 gossip: call `GossipAsk::Forget` is not taken any more", "{plan}");
    assert!(warnings[1].as_str().unwrap().contains("callers that know only the old answers get an error"), "{plan}");
    assert_eq!(warnings.len(), 2, "{plan}");
    let shown = node.run(["upgrade", "rogue@2.0.0"]).ok();
    assert!(shown.contains("  warning: rogue@1.0.0 gossip: call `GossipAsk::Forget`"), "{shown}");
    assert_eq!(node.call(&pid, r#""Heard""#), json!("0 by "));
}

#[test]
fn a_converter_that_sends_is_rolled_back() {
    let node = Node::start();
    node.install(&["rogue", "rogue-v2"]);
    let pid = node.spawn(["rogue", "gossip", "3"]);
    node.run(["upgrade", "rogue@2.0.0", "--json"]).fails_with_answer(1, &["`neurath upgrades` says why"]);
    let upgrades = node.run(["upgrades"]).ok();
    assert!(upgrades.contains("converter `tells`: a converter, or the state's encoding, may not act"), "{upgrades}");
    assert_eq!(node.call(&pid, r#""Heard""#), json!(3), "the old code goes on");
}

#[test]
fn a_server_that_was_left_behind_is_listed_and_the_advice_is_patience() {
    let node = Node::start();
    node.install(&["rogue", "rogue-v2"]);
    let pid = node.spawn(["rogue", "gossip", "0"]);
    let mut asking =
        Background::start(&mut node.command(["call", &pid, r#"{"Ponder": 1500}"#, "--within", "60s"]), false);
    node.until(["ps"], |listed| listed["processes"][0]["counts"]["received"] == 1);
    let late = node.run(["upgrade", "rogue@2.0.0", "--patience", "50ms"]);
    late.fails_with_answer(1, &["--patience"]);
    let upgrades = node.json(["upgrades"]);
    assert_eq!((&upgrades["rolled_back"], &upgrades["latest"][0]["from"]), (&json!(1), &json!("rogue@1.0.0")));
    let why = upgrades["latest"][0]["why"].as_str().unwrap();
    assert!(why.contains("not between two messages in time"), "{why}");
    asking.line("0");
    node.run(["upgrade", "rogue@2.0.0"]).ok();
}
