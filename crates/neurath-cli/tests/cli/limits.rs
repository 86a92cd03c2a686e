//! What is too large, out of range or no name is refused where it comes in, with the reason.

use std::fs;
use std::process::Stdio;

use serde_json::json;

use crate::harness::{Node, Outcome, guest, neurath};

#[test]
fn numbers_that_a_guest_cannot_hold_are_refused_before_they_are_sent() {
    let node = Node::start();
    node.install(&["rogue"]);
    let pid = node.spawn(["rogue", "measures", r#"["m", 0]"#]);
    for (wrong, why) in [
        (r#"{"count": 4294967296}"#, "expected an integer (u32)"),
        (r#"{"pause": {"secs": 18446744073709551615, "nanos": 4294967295}}"#, "`nanos`"),
    ] {
        node.run(["send", &pid, wrong]).fails(1, &[why]);
    }
    let good = r#"{"count": 4294967295, "pause": {"secs": 1, "nanos": 5}, "shelves": {"a": 1, "b": 2}}"#;
    node.run(["send", &pid, good]).ok();
    node.until(["ps"], |listed| listed["processes"][0]["counts"]["received"] == 1);
    let logs = node.run(["logs"]).ok();
    assert!(logs.contains("m 0: 4294967295, 1.000000005s, 2 shelves, 0 bytes"), "{logs}");
    let deaths = node.json(["deaths"]);
    assert_eq!(deaths["latest"], json!([]));
}

#[test]
fn a_message_and_an_answer_over_the_limit_are_errors_that_say_so() {
    let node = Node::start();
    node.install(&["rogue"]);
    let pid = node.spawn(["rogue", "measures", r#"["m", 0]"#]);
    let with_bulk = |bytes: usize| {
        let mut command = node.command(["send", &pid, "-"]);
        let file = node.data().join("message.json");
        fs::write(&file, json!({"bulk": "x".repeat(bytes)}).to_string()).unwrap();
        Outcome::of(command.stdin(Stdio::from(fs::File::open(file).unwrap())))
    };
    with_bulk(1_000_000).ok();
    with_bulk(1_100_000).fails(1, &["a message has at most 1048576"]);
    with_bulk(20_000_000).fails(1, &["the limit is 16777216"]);
    let body = json!({"message": {"bulk": "x".repeat(1_100_000)}}).to_string();
    let (status, answer) = node.http("POST", &format!("/v1/processes/{pid}/send"), body.as_bytes());
    assert_eq!(status, 413, "{answer}");
    assert!(answer.contains("\"too_large\""), "{answer}");
    node.run(["send", &"t".repeat(100_000), "1"]).fails(1, &["has 100", "the limit is"]);

    let bulky = node.spawn(["rogue", "bulky"]);
    node.run(["call", &bulky, "1100000", "--within", "60s"]).fails(1, &["the answer has 1100003 bytes"]);
    assert_eq!(node.call(&bulky, "3"), json!({"base64": "BwcH"}), "the server goes on");
    let full = node.json(["info", &bulky])["pid"].as_str().unwrap().to_owned();
    node.spawn(["rogue", "asks_for_bulk", &json!([full, 1_100_000]).to_string()]);
    node.until(["deaths"], |deaths| deaths["latest"].as_array().is_some_and(|latest| !latest.is_empty()));
    let deaths = node.run(["deaths"]).ok();
    assert!(deaths.contains("the answer has 1100003 bytes"), "{deaths}");
}

#[test]
fn a_name_that_could_not_be_used_is_not_given() {
    let node = Node::start();
    node.install(&["rogue"]);
    let named = |name: &str, repeat: u32| {
        let before = node.json(["deaths"])["latest"].as_array().unwrap().len();
        node.spawn(["rogue", "calls_itself", &json!([name, repeat]).to_string()]);
        node.until(["deaths"], |deaths| deaths["latest"].as_array().unwrap().len() > before);
        node.json(["deaths"])["latest"][before]["why"].as_str().unwrap().to_owned()
    };
    assert!(named("tally", 1).contains("Ok(()), true, true"));
    for (name, repeat) in [("", 1), ("42", 1), ("2@ca03fc133ab6dfba.1", 1), ("a\u{1b}b", 1), ("n", 257), ("n", 100_000)]
    {
        let why = named(name, repeat);
        assert!(why.contains("Err(BadName(") && why.contains("false, false"), "{name:?}: {why}");
    }
}

#[test]
fn what_was_typed_is_not_shown_back_whole() {
    let node = Node::start();
    let long = "n".repeat(5_000);
    let outcome = node.run(["info", &long]);
    outcome.fails(1, &["no process `nnn"]);
    assert!(outcome.err.len() < 1_500, "{}", outcome.err);
    let (status, answer) = node.http("POST", "/v1/processes", b"[1, 2]");
    assert_eq!(status, 400);
    assert!(!answer.contains("struct") && answer.contains("no JSON object"), "{answer}");
    let dir = tempfile::tempdir().unwrap();
    let nowhere = dir.path().join("missing/demo.json");
    let demo = Outcome::of(neurath().args(["demo", "--json"]).arg(nowhere));
    demo.fails(1, &["cannot write"]);
}

#[test]
fn a_module_with_a_flipped_bit_is_not_installed() {
    let node = Node::start();
    let mut wasm = fs::read(guest("counter-v1")).unwrap();
    let path = node.data().join("flipped.wasm");
    let mut damaged = 0;
    for at in (wasm.len() / 50..wasm.len()).step_by(wasm.len() / 40) {
        wasm[at] ^= 0x10;
        fs::write(&path, &wasm).unwrap();
        let outcome = node.run(["install", path.to_str().unwrap()]);
        assert_eq!(outcome.code, 1, "byte {at}");
        damaged += usize::from(outcome.err.contains("the module is damaged"));
        wasm[at] ^= 0x10;
    }
    assert!(damaged > 30, "{damaged} of 40 are damaged, others are no modules at all");
    fs::write(&path, &wasm).unwrap();
    node.run(["install", path.to_str().unwrap()]).ok();
}
