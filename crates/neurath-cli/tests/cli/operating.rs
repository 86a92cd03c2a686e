//! Operating a node: its configuration file, its metrics, its logs, and looking at it with `trace` and `top`.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Background, Node, Outcome, neurath};

fn configured(text: &str) -> (tempfile::TempDir, Node) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("neurath.toml"), text).unwrap();
    let node = Node::start_on(dir.path());
    (dir, node)
}

fn check(path: &Path) -> Outcome {
    Outcome::of(neurath().args(["config", "--check"]).arg(path))
}

#[test]
fn the_printed_configuration_is_right_and_a_wrong_line_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("neurath.toml");
    let printed = Outcome::of(neurath().arg("config")).ok();
    fs::write(&path, &printed).unwrap();
    check(&path).ok();
    fs::write(&path, printed.replace("mailbox_messages = 16_384", "mailbox_mesages = 16_384")).unwrap();
    let line = printed.lines().position(|line| line.starts_with("mailbox_messages")).unwrap() + 1;
    let place = format!("neurath.toml:{line}:1: ");
    check(&path).fails(1, &[&place, "mailbox_mesages", "did you mean `mailbox_messages`"]);
    // A node does not start with it either, and touches nothing.
    let start = |more: &[&str]| Outcome::of(neurath().arg("node").arg("--data").arg(dir.path()).args(more));
    start(&[]).fails(1, &[&place]);
    assert!(!dir.path().join("store").exists());
    fs::write(&path, "[node]\nshards = 5_000\n").unwrap();
    start(&[]).fails(1, &["neurath.toml:2:10: ", "`shards`", "from 0 to 1_024, found 5000"]);
    start(&["--config", "missing.toml"]).fails(1, &["missing.toml", "cannot be read"]);
}

#[test]
fn what_the_file_says_holds_and_what_is_typed_wins() {
    let (_dir, node) = configured("[node]\nshards = 3\n[process]\nmessage_bytes = 2_000\n[log]\nlines = 5\n");
    let (_, answer) = node.http("GET", "/v1/node", b"");
    assert_eq!(serde_json::from_str::<Value>(&answer).unwrap()["shards"], json!(3));
    node.install(&["rogue"]);
    let pid = node.spawn(["rogue", "measures", r#"["m", 0]"#]);
    let bulk = json!({"bulk": "x".repeat(3_000)}).to_string();
    node.run(["send", &pid, &bulk]).fails(1, &["at most 2000"]);
    node.spawn(["rogue", "chatters", "[50]"]);
    node.until(["ps"], |listed| listed["total"] == 1);
    assert_eq!(node.run(["logs"]).ok().lines().count(), 5);
    drop(node);
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("neurath.toml"), "[node]\nshards = 3\n").unwrap();
    let mut command = neurath();
    command.arg("node").arg("--data").arg(dir.path()).args(["--shards", "1"]);
    let mut typed = Background::start(&mut command, false);
    assert!(typed.line("life 1").contains("1 shard"));
    typed.line("ready");
}

#[test]
fn lines_of_processes_and_events_of_the_node_are_json_objects_if_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut command = neurath();
    command.arg("node").arg("--data").arg(&data).args(["--log-format", "json", "--log-processes", "info"]);
    let mut log = Background::start(&mut command, true);
    let started: Value = serde_json::from_str(&log.line("node started")).unwrap();
    assert_eq!((&started["level"], &started["fields"]["incarnation"]), (&json!("INFO"), &json!(1)));
    let run = |arguments: &[&str]| Outcome::of(neurath().args(arguments).env("NEURATH_DATA", &data));
    while run(&["ps"]).code != 0 {
        std::thread::yield_now();
    }
    run(&["install", crate::harness::guest("rogue").to_str().unwrap()]).ok();
    let pid = run(&["spawn", "rogue", "chatters", "[3]"]).ok();
    let line: Value = serde_json::from_str(&log.line("line 2")).unwrap();
    assert_eq!((&line["target"], &line["fields"]["message"]), (&json!("process"), &json!("line 2")));
    assert!(line["fields"]["pid"].as_str().unwrap().starts_with(pid.trim()), "{line}");
}

#[test]
fn metrics_count_what_was_sent() {
    let (_dir, node) = configured("[node]\nshards = 2\n[metrics]\nlisten = \"127.0.0.1:0\"\n");
    node.install(&["counter-v1"]);
    let pid = node.spawn(["counter", "counter", "[0]"]);
    for n in 0..10 {
        node.run(["send", &pid, &json!({"Increment": n}).to_string()]).ok();
    }
    assert_eq!(node.call(&pid, "\"Get\""), json!(45));
    node.run(["kill", &pid, "--force"]).ok();
    node.until(["ps"], |listed| listed["total"] == 0);
    let (status, text) = node.http("GET", "/metrics", b"");
    assert_eq!(status, 200);
    assert!(text.contains("# TYPE neurath_messages_received counter") && text.contains("# EOF"), "{text}");
    let sum = |name: &str| sum(&text, name);
    assert_eq!(sum("neurath_messages_received_total"), 11.0, "{text}");
    assert_eq!(sum("neurath_messages_sent_total"), 1.0, "the answer");
    assert_eq!((sum("neurath_processes_spawned_total"), sum("neurath_processes")), (1.0, 0.0));
    assert_eq!(sum("neurath_processes_ended_total{shard=\"0\",how=\"abnormal\"}"), 1.0, "{text}");
    assert!(sum("neurath_turns_total") >= 2.0 && sum("neurath_uptime_seconds") > 0.0, "{text}");
    assert!(sum("neurath_shard_busy_seconds_total") > 0.0, "{text}");
}

/// The sum of a metric over all its labels; every line is a name and a number.
#[track_caller]
fn sum(text: &str, name: &str) -> f64 {
    let mut sum = None;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((labelled, value)) = line.rsplit_once(' ').filter(|(name, _)| name.starts_with("neurath_")) else {
            // Lengths of HTTP's chunks.
            continue;
        };
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        if labelled == name || labelled.split('{').next() == Some(name) {
            *sum.get_or_insert(0.0) += value;
        }
    }
    sum.unwrap_or_else(|| panic!("no {name} in:\n{text}"))
}

#[test]
fn at_the_tcp_address_there_are_metrics_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("neurath.toml"), "[metrics]\nlisten = \"127.0.0.1:0\"\n").unwrap();
    let mut command = neurath();
    command.arg("node").arg("--data").arg(dir.path());
    let mut node = Background::start(&mut command, false);
    let line = node.line("metrics");
    let address = line.trim().rsplit('/').nth(1).unwrap().to_owned();
    node.line("ready");
    let get = |path: &str| {
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(get("/metrics").contains("neurath_uptime_seconds "));
    for path in ["/v1/node", "/v1/stop", "/"] {
        assert!(get(path).starts_with("HTTP/1.1 404"), "{path}");
    }
    let taken = format!("[metrics]\nlisten = \"{address}\"\n");
    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("neurath.toml"), taken).unwrap();
    let refused = Outcome::of(neurath().arg("node").arg("--data").arg(other.path()));
    refused.fails(1, &["cannot listen on", &address, "`[metrics]`"]);
}

#[test]
fn a_trace_shows_what_a_process_receives_sends_and_how_it_ends_in_order() {
    let node = Node::start();
    node.install(&["counter-v1"]);
    let pid = node.spawn(["counter", "counter", "[40]"]);
    let mut trace = Background::start(&mut node.command(["trace", &pid, "--json"]), false);
    trace.line("tracing");
    node.run(["send", &pid, r#"{"Increment": 2}"#]).ok();
    assert_eq!(node.call(&pid, "\"Get\""), json!(42));
    node.run(["kill", &pid, "--force"]).ok();
    let last = trace.line("died");
    let event = |line: &String| serde_json::from_str::<Value>(line).unwrap()["event"].clone();
    let events: Vec<_> = trace.seen().iter().map(event).collect();
    let kinds: Vec<_> = events.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["received", "received", "sent"], "{events:#?}");
    assert_eq!((&events[0]["type"], &events[2]["class"]), (&json!("Tally"), &json!("reply")));
    assert_eq!(events[1]["peer"], events[2]["peer"], "who asked is answered");
    assert!(event(&last)["why"].as_str().unwrap().contains("killed"), "{last}");
}

#[test]
fn a_trace_is_filtered_and_what_is_beyond_its_rate_is_counted() {
    let node = Node::start();
    node.install(&["pingpong-v1"]);
    let arguments = ["trace", "--all", "--events", "sent,spawned", "--rate", "7/s", "--json"];
    let mut trace = Background::start(&mut node.command(arguments), false);
    trace.line("tracing");
    node.run(["spawn", "pingpong", "play", "[20000, 0]"]).ok();
    let left_out: Value = serde_json::from_str(&trace.line("left_out")).unwrap();
    assert!(left_out["left_out"].as_u64().unwrap() > 0);
    let events: Vec<Value> = trace.seen().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.iter().all(|line| ["sent", "spawned"].contains(&line["event"]["kind"].as_str().unwrap())));
    assert_eq!(events[0]["event"]["entry"], "play", "{events:#?}");
    node.run(["trace", "1", "--events", "snet"]).fails(1, &["no events `snet`", "sent, received"]);
    node.run(["trace", "4711"]).fails(1, &["4711"]);
    node.run(["trace"]).fails(2, &["TARGET"]);
    node.run(["trace", "--all", "--rate", "0"]).fails(1, &["from 1 to 100000"]);
}

#[test]
fn as_many_traces_run_as_may_and_an_ended_one_makes_room() {
    let (_dir, node) = configured("[trace]\ntraces = 1\n");
    let mut first = Background::start(&mut node.command(["trace", "--all", "--json"]), false);
    first.line("tracing");
    node.run(["trace", "--all", "--for", "1s"]).fails(1, &["1 traces run already"]);
    drop(first);
    while node.run(["trace", "--all", "--for", "1ms"]).code != 0 {
        std::thread::yield_now();
    }
}

#[test]
fn top_shows_a_busy_process_first() {
    let node = Node::start();
    node.install(&["counter-v1", "rogue"]);
    for _ in 0..3 {
        node.spawn(["counter", "counter", "[0]"]);
    }
    let busy = node.spawn(["rogue", "spins"]);
    let page = node.json(["top", "--once", "--every", "300ms"]);
    assert_eq!(page["total"], 4);
    assert_eq!(page["processes"][0]["entry"], "spins", "{page:#}");
    assert!(page["processes"][0]["cpu"].as_f64().unwrap() > 0.2, "{page:#}");
    let text = node.run(["top", "--once", "--every", "300ms", "--limit", "1"]).ok();
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("neurath ") && lines[1].starts_with("shards  0: "), "{text}");
    let row = lines.last().unwrap();
    assert!(row.trim_start().starts_with(&busy) && row.contains("spins"), "{text}");
    node.run(["top"]).fails(2, &["needs a terminal", "--once"]);
    let (status, answer) = node.http("GET", "/v1/processes?sort=colour", b"");
    assert!(status == 400 && answer.contains("mailbox"), "{answer}");
}
