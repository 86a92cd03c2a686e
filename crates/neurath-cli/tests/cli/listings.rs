//! Listings show what was written as it was meant, and count each thing once.

use serde_json::json;

use crate::harness::Node;

#[test]
fn lines_within_a_text_stand_below_each_other_and_an_unfinished_one_is_not_lost() {
    let node = Node::start();
    node.install(&["rogue"]);
    node.spawn(["rogue", "mutters"]);
    node.until(["deaths"], |deaths| deaths["latest"].as_array().is_some_and(|latest| !latest.is_empty()));
    let logs = node.run(["logs"]).ok();
    let lines: Vec<&str> = logs.lines().collect();
    let column = lines[0].find("first").unwrap();
    assert_eq!((lines.len(), lines[1].find("second")), (3, Some(column)), "{logs}");
    assert!(lines[2].ends_with("no end"), "{logs}");
    let deaths = node.run(["deaths"]).ok();
    assert!(!deaths.contains('\u{fffd}'), "{deaths}");
}

#[test]
fn a_message_for_nobody_counts_once_and_a_timer_of_the_dead_not_at_all() {
    let node = Node::start();
    node.install(&["rogue"]);
    node.spawn(["rogue", "forgets_a_timer"]);
    let gone = node.spawn(["rogue", "measures", r#"["m", 0]"#]);
    let full = node.json(["info", &gone])["pid"].as_str().unwrap().to_owned();
    node.run(["kill", &gone, "--force"]).ok();
    node.until(["ps"], |listed| listed["total"] == 0);
    node.spawn(["rogue", "floods", &json!([full, 3]).to_string()]);
    node.until(["refusals"], |refusals| refusals["undeliverable"].as_u64() >= Some(3));
    let refusals = node.json(["refusals"]);
    assert_eq!((&refusals["undeliverable"], &refusals["refused"]), (&json!(3), &json!(0)), "{refusals}");
    assert_eq!(refusals["latest"].as_array().unwrap().len(), 3);
}

#[test]
fn a_module_that_is_not_there_has_no_processes_to_list() {
    let node = Node::start();
    node.install(&["counter-v1"]);
    node.run(["ps", "conuter"]).fails(1, &["there is no module", "conuter"]);
    node.run(["ps", "counter@zz"]).fails(1, &["counter@zz"]);
    node.run(["ps", "conuter", "--json"]).fails(1, &["there is no module"]);
    let none = node.run(["ps", "counter"]);
    assert!(none.err.contains("no processes of counter"), "{}", none.err);
    node.spawn(["counter", "counter", "0"]);
    assert_eq!(node.json(["ps", "counter@1"])["total"], 1, "any way to name it will do");
    let zero = node.run(["ps", "--limit", "0"]);
    assert!(zero.err.contains("--limit 0 shows none"), "{}", zero.err);
}

#[test]
fn arguments_that_do_not_fit_are_named() {
    let node = Node::start();
    node.install(&["rogue"]);
    let spawn = |arguments: &[&str]| node.run(["spawn", "rogue"].iter().chain(arguments).copied());
    spawn(&["deaf", "{}"]).ok();
    spawn(&["deaf", "[1]"]).fails(1, &["it takes no arguments"]);
    spawn(&["measures"]).fails(1, &["the arguments `label`, `offset` are missing"]);
    spawn(&["measures", r#"{"label": "x"}"#]).fails(1, &["the argument `offset` is missing"]);
    spawn(&["measures", r#"{"lable": "x", "offset": 1}"#])
        .fails(1, &["there is no argument `lable`", "did you mean `label`?"]);
    spawn(&["hungers", r#"{"chnk": 4}"#]).fails(1, &["there is no argument `chnk`", "did you mean `chunk`?"]);
    spawn(&["hungers"]).fails(1, &["the argument `chunk` is missing"]);
}
