//! Nodes, modules and processes from beginning to end.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::harness::{Background, Node, Outcome, guest, neurath};

#[test]
fn a_process_is_started_asked_listed_and_ended() {
    let node = Node::start();
    node.install(&["counter-v1"]);
    let pid = node.spawn(["counter", "counter", "40"]);
    assert_eq!(node.run(["send", &pid, r#"{"Increment": 2}"#]).ok(), format!("sent to {pid}\n"));
    assert_eq!(node.run(["call", &pid, r#""Get""#]).ok(), "42\n");
    assert_eq!(node.json(["call", &pid, r#""Get""#, "--within", "2s"]), json!({"answer": 42}));

    let listed = node.json(["ps"]);
    assert_eq!(listed["total"], 1);
    let process = &listed["processes"][0];
    let full = process["pid"].as_str().unwrap();
    assert!(full.starts_with(&format!("{pid}@")), "{full}");
    assert_eq!((&process["module"], &process["entry"]), (&json!("counter@1.0.0"), &json!("counter")));
    assert_eq!((&process["state"], &process["mailbox"]), (&json!("waiting"), &json!(0)));
    assert!(process["memory_bytes"].as_u64().unwrap() > 0);
    assert_eq!(process["counts"]["received"], 3);

    let info = node.json(["info", full]);
    assert_eq!(info["pid"], full);
    assert_eq!(info["takes"][0]["class"], "message");
    assert_eq!(info["takes"][0]["type"], "Tally");
    let examples = info["takes"][0]["examples"].as_array().unwrap();
    assert_eq!(examples[0], json!({"Increment": 0}));
    assert_eq!(info["takes"][0]["asks"], json!([{"Get": null}, {"Version": null}]));
    let shown = node.run(["info", &pid]).ok();
    assert!(shown.contains(&format!("neurath call {pid} '{{\"Get\":null}}'")), "{shown}");
    assert!(shown.contains(&format!("neurath send {pid} '\"Upgrade\"'")), "{shown}");

    let killed = node.json(["kill", &pid, "--force"]);
    assert_eq!(killed["pid"], full);
    node.until(["ps"], |listed| listed["total"] == 0);
    let deaths = node.json(["deaths"]);
    assert_eq!(deaths["latest"][0]["why"], "killed by an operator");
}

#[test]
fn a_function_is_run_and_its_result_is_printed() {
    let node = Node::start();
    node.install(&["pingpong-v1", "counter-v1"]);
    let score: Value = serde_json::from_str(&node.run(["spawn", "pingpong", "play", "[4, 0]", "--wait"]).ok()).unwrap();
    assert_eq!((&score["pings"], &score["pongs"]), (&json!(4), &json!(4)), "{score}");
    let answer = node.json(["spawn", "pingpong@1.0.0", "play", r#"{"count": 2, "pause_ms": 0}"#, "--wait"]);
    assert_eq!(answer["answer"]["versions"], json!([1, 1]));
    node.until(["ps"], |listed| listed["total"] == 0);

    let slowly = ["spawn", "pingpong", "play", "[1000, 1000]", "--wait", "--within", "1ms"];
    node.run(slowly).fails(1, &["no answer within the deadline"]);
    assert_ne!(node.json(["ps"])["total"], 0, "the function goes on");
    node.run(["spawn", "pingpong", "play", "[4, \"x\"]", "--wait"]).fails(1, &["at pause_ms: expected an integer"]);
    node.run(["spawn", "counter", "counter", "0", "--wait"]).fails(1, &["`counter` of counter@1.0.0 is no function"]);
    let usage = node.run(["spawn", "pingpong", "play", "[4, 0]", "--within", "1s"]);
    assert_eq!(usage.code, 2, "--within is for --wait: {}", usage.err);
}

#[test]
fn tables_are_aligned_and_fit_a_terminal() {
    let node = Node::start();
    node.install(&["counter-v1", "account-v1"]);
    let pid = node.spawn(["counter", "counter", "0"]);
    node.spawn(["account", "\"Otto\""]);
    for command in ["ps", "modules"] {
        let text = node.run([command]).ok();
        assert!(text.lines().count() == 3, "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80 && line.trim_end() == line), "{text}");
        assert!(!text.contains('\x1b'), "colours are for terminals");
    }
    let ps = node.run(["ps"]).ok();
    let (header, row) = (ps.lines().next().unwrap(), ps.lines().find(|line| line.contains("counter")).unwrap());
    assert_eq!(header.find("MODULE"), row.find("counter@1.0.0"), "{ps}");
    assert!(row.trim_start().starts_with(&pid), "local pids are short: {ps}");
    let info = node.run(["info", &pid]).ok();
    assert!(info.contains(&format!("{pid}@")), "info shows the whole pid: {info}");
}

#[test]
fn modules_are_listed_shown_and_removed() {
    let node = Node::start();
    node.install(&["counter-v1", "counter-v2"]);
    let wasm = guest("counter-v1");
    let dev = node.json(["install", wasm.to_str().unwrap(), "--dev"]);
    assert!(dev["version"].as_str().unwrap().starts_with("1.0.0+dev."), "{dev}");

    let again = node.run(["install", guest("counter-v2").to_str().unwrap()]);
    let stays = "new processes still run counter@1.0.0; `neurath upgrade counter@2.0.0` switches";
    assert!(again.code == 0 && again.err.contains(stays), "{again:?}");
    let first = node.run(["install", wasm.to_str().unwrap()]);
    assert!(first.out.contains("current") && first.err.is_empty(), "{first:?}");

    let modules = node.json(["modules"]);
    let all: Vec<_> = modules["modules"].as_array().unwrap().iter().collect();
    assert_eq!(all.len(), 3, "{modules}");
    let first = all.iter().find(|m| m["module"] == "counter@1.0.0").unwrap();
    assert_eq!(first["current"], true, "the first version is current");
    assert_eq!(first["hash"].as_str().unwrap().len(), 64);
    assert_eq!(first["size_bytes"], fs::metadata(&wasm).unwrap().len());

    let shown = node.json(["modules", "counter@2.0.0"]);
    let counter = shown["entries"].as_array().unwrap().iter().find(|e| e["name"] == "counter").unwrap();
    assert_eq!((&counter["kind"], &counter["argument_names"]), (&json!("process"), &json!(["sum"])));
    let text = node.run(["modules", "counter@2.0.0"]).ok();
    assert!(text.contains("\n  state    (i64,)\n  message  Tally\n"), "{text}");
    let by_hash = node.json(["modules", &first["hash"].as_str().unwrap()[..16]]);
    assert_eq!(by_hash["name"], "counter");

    let pid = node.spawn(["counter@1.0.0", "counter", "1"]);
    node.run(["uninstall", "counter@1.0.0"]).fails(1, &["counter@1.0.0", "in use", "1 process runs it"]);
    node.run(["kill", &pid, "--force"]).ok();
    node.until(["ps"], |listed| listed["total"] == 0);
    node.run(["uninstall", "counter@1.0.0"]).fails(1, &["current"]);
    assert_eq!(node.run(["uninstall", "counter@2.0.0"]).ok(), "removed counter@2.0.0\n");
}

#[test]
fn servers_are_upgraded_with_their_state_and_rolled_back_when_that_fails() {
    let node = Node::start();
    node.install(&["account-v1", "account-v2", "account-v3"]);
    let pid = node.spawn(["account", r#"{"name": "Otto"}"#]);
    node.run(["send", &pid, r#"{"Deposit": {"cents": 500}}"#]).ok();

    let plan = node.json(["upgrade", "account@2.0.0", "--dry-run"]);
    assert_eq!((&plan["dry_run"], &plan["current"]), (&json!(true), &json!(false)));
    assert_eq!(plan["plan"].as_array().unwrap().len(), 1, "{plan}");
    assert_eq!(node.call(&pid, r#""Version""#), json!({"Version": 1}));

    let refused = node.run(["upgrade", "account@3.0.0"]);
    refused.fails(1, &["account@1.0.0 account", "name"]);
    assert_eq!(refused.err.matches("converter").count(), 1, "what to do is said once: {}", refused.err);
    assert_eq!(node.call(&pid, r#""Version""#), json!({"Version": 1}), "a refused plan touches nothing");

    let report = node.json(["upgrade", "account@2.0.0"]);
    assert_eq!((&report["from"], &report["to"]), (&json!("account@1.0.0"), &json!("account@2.0.0")));
    assert_eq!((report["committed"].as_array().unwrap().len(), &report["current"]), (1, &json!(true)), "{report}");
    assert_eq!(node.call(&pid, r#""Version""#), json!({"Version": 2}));
    assert_eq!(node.call(&pid, r#""Balance""#), json!({"Cents": 500}), "the state went over");

    let failed = node.run(["upgrade", "account@3.0.0", "--json"]);
    assert_eq!(failed.code, 1, "{}", failed.err);
    let report: Value = serde_json::from_str(&failed.out).unwrap();
    assert!(report["rolled_back"][0]["why"].as_str().unwrap().contains("an owner is a number"), "{report}");
    assert_eq!(node.call(&pid, r#""Balance""#), json!({"Cents": 500}), "the old code goes on");
    assert_eq!(node.call(&pid, r#""Version""#), json!({"Version": 2}));

    let upgrades = node.json(["upgrades"]);
    assert_eq!((&upgrades["committed"], &upgrades["rolled_back"]), (&json!(1), &json!(1)));
    assert_eq!(upgrades["latest"][1]["outcome"], "rolled_back");
    let node_view: Value = serde_json::from_str(&node.http("GET", "/v1/node", b"").1).unwrap();
    assert_eq!(node_view["upgrades"], json!({"committed": 1, "rolled_back": 1}));
}

#[test]
fn a_dry_run_of_a_module_leaves_nothing_in_the_store() {
    let node = Node::start();
    node.install(&["account-v1"]);
    let pid = node.spawn(["account", r#"{"name": "Otto"}"#]);
    let files = || {
        let in_dir = |dir: &str| fs::read_dir(node.data().join(dir)).unwrap().flatten().map(|entry| entry.path());
        let mut all: Vec<_> = in_dir("store/artifacts").chain(in_dir("native")).collect();
        all.sort();
        all
    };
    let before = (files(), node.json(["modules"]));
    let path = |name: &str| guest(name).to_str().unwrap().to_owned();

    let plan = node.json(["upgrade", &path("account-v2"), "--dry-run"]);
    assert_eq!((&plan["dry_run"], &plan["from"]), (&json!(true), &json!("account@1.0.0")));
    assert!(plan["to"].as_str().unwrap().starts_with("account@2.0.0+dev."), "{plan}");
    assert_eq!(plan["plan"], json!(["account@1.0.0 account: converter `from_v1`"]));
    node.run(["upgrade", &path("account-v3"), "--dry-run"]).fails(1, &["account@1.0.0 account", "name"]);
    node.run(["upgrade", &path("counter-v1"), "--dry-run"]).ok();
    assert_eq!((files(), node.json(["modules"])), before);
    assert_eq!(node.call(&pid, r#""Version""#), json!({"Version": 1}));

    let report = node.json(["upgrade", &path("account-v2")]);
    assert_eq!((&report["to"], &report["current"]), (&plan["to"], &json!(true)), "what was planned is done");
}

#[test]
fn plain_processes_change_when_they_say_so() {
    let node = Node::start();
    node.install(&["counter-v1", "counter-v2"]);
    let pid = node.spawn(["counter", "counter", "5"]);
    let planned = node.run(["upgrade", "counter@2.0.0", "--dry-run"]).ok();
    assert!(planned.contains("  1 process at its own `become_latest!`"), "{planned}");
    let report = node.json(["upgrade", "counter@2.0.0"]);
    assert_eq!(report["on_their_own"].as_array().unwrap().len(), 1, "{report}");
    assert_eq!(node.call(&pid, r#""Version""#), 1);
    node.run(["send", &pid, r#""Upgrade""#]).ok();
    assert_eq!(node.call(&pid, r#""Version""#), 2);
    assert_eq!(node.call(&pid, r#""Get""#), 5);
}

#[test]
fn what_processes_write_is_shown_and_followed_until_the_node_stops() {
    let mut node = Node::start();
    node.install(&["pingpong-v1"]);
    let mut following = Background::start(&mut node.command(["logs", "-f"]), false);
    node.spawn(["pingpong", "play", "[4, 0]"]);
    following.line("done: 4 pings, 4 pongs");
    let text = node.run(["logs", "--json"]).ok();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["number"], &lines[0]["level"]), (&json!(1), &json!("info")));
    assert_eq!(node.run(["logs", "-n", "1"]).ok().lines().count(), 1);
    assert_eq!(node.run(["stop"]).ok(), "stopping\n");
    assert_eq!(node.wait(), Some(0));
    assert_eq!(following.child.wait().unwrap().code(), Some(0), "following ends with the node");
}

#[test]
fn a_message_of_another_type_is_refused_and_listed() {
    let node = Node::start();
    node.install(&["pingpong-v1", "rogue"]);
    let to = node.spawn(["pingpong", "server"]);
    let info = node.json(["info", &to]);
    let full = info["pid"].as_str().unwrap();
    node.spawn(["rogue", "floods", &json!([full, 3]).to_string()]);
    node.until(["refusals"], |refusals| refusals["refused"].as_u64() >= Some(3));
    let refusals = node.json(["refusals"]);
    let latest = &refusals["latest"][0];
    assert_eq!((&latest["to"], &latest["type"]), (&json!(full), &json!("Nudge")), "{refusals}");
    assert!(node.run(["refusals"]).ok().contains("Nudge"));
}

#[test]
fn listings_keep_their_columns_apart() {
    let node = Node::start();
    node.install(&["account-v1", "account-v2", "pingpong-v1", "rogue"]);
    let account = node.spawn(["account", r#"{"name": "Otto"}"#]);
    node.run(["upgrade", "account@2.0.0"]).ok();
    node.spawn(["rogue", "recurses"]);
    node.spawn(["pingpong", "play", "[1, 0]", "--wait"]);
    let full = node.json(["info", &account])["pid"].as_str().unwrap().to_owned();
    node.spawn(["rogue", "floods", &json!([full, 3]).to_string()]);
    node.until(["refusals"], |refusals| refusals["refused"].as_u64() >= Some(3));
    node.until(["deaths"], |deaths| deaths["latest"].as_array().unwrap().len() >= 2);

    let cells = |line: &str| line.split("  ").filter(|cell| !cell.trim().is_empty()).count();
    for command in ["modules", "deaths", "refusals", "upgrades"] {
        let text = node.run([command]).ok();
        let columns = cells(text.lines().next().unwrap());
        assert!(text.lines().count() > 1 && text.lines().all(|line| cells(line) == columns), "{text}");
    }
    let deaths = node.run(["deaths"]).ok();
    assert!(deaths.contains("  trapped: the stack overflowed in `rogue::deeper`"), "{deaths}");
    assert!(deaths.contains("  killed by ") && !deaths.contains('@'), "pids of this node are short: {deaths}");
    let function = node.run(["modules", "pingpong"]).ok();
    assert!(function.contains("\nfunction play(count, pause_ms): (u32, u64)\n  result   Score\n"), "{function}");
}

#[test]
fn only_the_owner_reaches_a_node_and_its_socket_goes_with_it() {
    let mut node = Node::start();
    let socket = node.data().join("control.sock");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&socket), mode(node.data())), (0o600, 0o700));
    assert_eq!(node.run(["api"]).ok().trim(), socket.to_str().unwrap());
    node.signal("TERM");
    assert_eq!(node.wait(), Some(0));
    assert!(!socket.exists());
}

#[test]
fn a_second_node_on_a_data_directory_is_refused() {
    let node = Node::start();
    let second = Outcome::of(neurath().arg("node").arg("--data").arg(node.data()));
    second.fails(1, &["in use by process"]);
    node.run(["ps"]).ok();
}

#[test]
fn a_killed_node_finds_its_modules_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::start_on(dir.path());
    node.install(&["account-v1", "account-v2"]);
    let before = node.json(["spawn", "account", "\"Otto\""])["pid"].as_str().unwrap().to_owned();
    node.json(["upgrade", "account@2.0.0"]);
    node.kill();
    assert!(dir.path().join("control.sock").exists(), "nobody could remove it");
    node.run(["ps"]).fails(3, &["no node runs", "neurath node"]);

    let node = Node::start_on(dir.path());
    let modules = node.json(["modules"]);
    let current: Vec<_> =
        modules["modules"].as_array().unwrap().iter().map(|m| (&m["module"], &m["current"])).collect();
    assert_eq!(
        current,
        [(&json!("account@1.0.0"), &json!(false)), (&json!("account@2.0.0"), &json!(true))],
        "what was current is current"
    );
    assert_eq!(node.json(["ps"])["total"], 0);
    for command in [&["info", &before][..], &["call", &before, "\"Version\""], &["kill", &before]] {
        let outcome = node.run(command.iter().copied());
        outcome.fails(1, &[&before, "belongs to life 1", "is in life 2", "neurath ps"]);
    }
    let pid = node.spawn(["account", "\"Otto\""]);
    assert_eq!(node.call(&pid, r#""Version""#), json!({"Version": 2}));
}

#[test]
fn the_api_answers_in_json_whatever_is_asked() {
    let node = Node::start();
    let code = |(status, body): (u16, String)| {
        let body: Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
        (status, body["error"]["code"].as_str().unwrap().to_owned())
    };
    let is = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(code(node.http("GET", "/v2/node", b"")), is(404, "no_such_route"));
    assert_eq!(code(node.http("PATCH", "/v1/node", b"")), is(405, "no_such_method"));
    assert_eq!(code(node.http("POST", "/v1/processes", b"{")), is(400, "bad_request"));
    assert_eq!(code(node.http("POST", "/v1/processes", b"{\"modul\": 1}")), is(400, "bad_request"));
    assert_eq!(code(node.http("POST", "/v1/processes", b"{\"module\": \"x\"}")), is(404, "unknown_module"));
    assert_eq!(code(node.http("GET", "/v1/processes/1", b"")), is(404, "unknown_process"));
    assert_eq!(code(node.http("GET", "/v1/processes?limit=x", b"")), is(400, "bad_request"));
    assert_eq!(code(node.http("GET", "/v1/modules/@", b"")), is(400, "bad_module_ref"));
    assert_eq!(code(node.http("POST", "/v1/modules", b"no")), is(422, "not_wasm"));
    assert_eq!(code(node.http("DELETE", "/v1/modules/x", b"")), is(404, "unknown_module"));
    let patient = br#"{"module": "x", "patience_ms": 99999999999}"#;
    assert_eq!(code(node.http("POST", "/v1/upgrades", patient)), is(400, "bad_request"));
    let (status, node_view) = node.http("GET", "/v1/node", b"");
    assert_eq!(status, 200, "{node_view}");
}
