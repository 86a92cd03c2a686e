//! What is wrong is refused with its name, its cause and the next step; nothing else in the node is disturbed.

use std::fs;

use crate::harness::{Node, Outcome, guest, neurath};

/// A node with an account that must not notice anything.
struct Undisturbed {
    node: Node,
    pid: String,
}

impl Undisturbed {
    fn start() -> Self {
        let node = Node::start();
        node.install(&["account-v1"]);
        let pid = node.spawn(["account", "\"Otto\""]);
        node.run(["send", &pid, r#"{"Deposit": {"cents": 7}}"#]).ok();
        Self { node, pid }
    }

    #[track_caller]
    fn check(&self) {
        assert_eq!(self.node.call(&self.pid, r#""Balance""#), serde_json::json!({"Cents": 7}));
        assert_eq!(self.node.json(["modules"])["modules"].as_array().unwrap().len(), 1, "nothing else was installed");
    }

    /// Installing these bytes is refused.
    #[track_caller]
    fn refuses(&self, bytes: &[u8], says: &[&str]) {
        let path = self.node.data().join("bad.wasm");
        fs::write(&path, bytes).unwrap();
        self.node.run(["install", path.to_str().unwrap()]).fails(1, says);
    }
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let at = bytes.windows(from.len()).position(|window| window == from).expect("it is in the module");
    let mut bytes = bytes.to_vec();
    bytes[at..at + to.len()].copy_from_slice(to);
    bytes
}

#[test]
fn modules_that_are_none_are_refused() {
    let undisturbed = Undisturbed::start();
    let good = fs::read(guest("counter-v1")).unwrap();
    undisturbed.refuses(b"", &["no WebAssembly module"]);
    undisturbed.refuses(b"#!/bin/sh\necho", &["no WebAssembly module", "neurath build"]);
    undisturbed.refuses(b"\0asm\x01\0\0\0", &["no section `neurath`", "neurath build"]);
    undisturbed.refuses(&replaced(&good, b"NRTH\x01\0\0\0", b"NRTH\x63\0\0\0"), &["version 99", "ABI"]);
    undisturbed.refuses(&replaced(&good, b"fd_write", b"fd_wrong"), &["the module is damaged"]);
    for end in [9, 100, good.len() / 2, good.len() - 1] {
        undisturbed.refuses(&good[..end], &[]);
    }
    undisturbed.check();
}

#[test]
fn flipped_bits_are_refused_or_end_their_own_process_only() {
    let undisturbed = Undisturbed::start();
    let good = fs::read(guest("counter-v1")).unwrap();
    let path = undisturbed.node.data().join("flipped.wasm");
    for step in 0..40 {
        let mut bytes = good.clone();
        let at = step * (good.len() / 40) + step;
        bytes[at] ^= 1 << (step % 8);
        fs::write(&path, &bytes).unwrap();
        let outcome = undisturbed.node.run(["install", path.to_str().unwrap(), "--dev"]);
        assert!([0, 1].contains(&outcome.code), "byte {at}: {}", outcome.err);
        if outcome.code == 0 {
            // The bit was in data or in an instruction: valid, and whatever it does is its own affair.
            let name = outcome.out.split_whitespace().nth(1).unwrap().to_owned();
            undisturbed.node.run(["spawn", &name, "counter", "0"]);
        }
    }
    assert_eq!(undisturbed.node.call(&undisturbed.pid, r#""Balance""#), serde_json::json!({"Cents": 7}));
}

#[test]
fn a_damaged_artifact_in_the_store_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::start_on(dir.path());
    node.install(&["counter-v1", "account-v1"]);
    let hash = node.json(["modules", "counter"])["hash"].as_str().unwrap().to_owned();
    node.kill();
    let path = dir.path().join("store/artifacts").join(format!("{hash}.wasm"));
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();

    let node = Node::start_on(dir.path());
    node.run(["spawn", "counter", "counter", "0"]).fails(1, &["damaged", "install the module again"]);
    node.spawn(["account", "\"Otto\""]);
    node.install(&["counter-v1"]);
    node.spawn(["counter", "counter", "0"]);
}

#[test]
fn misbehaving_processes_end_alone_and_say_why() {
    let undisturbed = Undisturbed::start();
    let node = &undisturbed.node;
    node.install(&["rogue"]);
    for (arguments, why) in [
        (&["panics", "0"][..], "as asked, after 0 nudges"),
        (&["traps"], "unreachable"),
        (&["recurses"], "deeper"),
        (&["reads_outside"], "out of bounds"),
        (&["hungers", "1048576"], "abort"),
        (&["stillborn"], "never meant to be"),
        (&["fed_up"], "with boats"),
    ] {
        let before = node.json(["deaths"])["ended"].as_u64().unwrap();
        node.spawn(["rogue"].into_iter().chain(arguments.iter().copied()));
        node.until(["deaths"], |deaths| deaths["ended"].as_u64().unwrap() > before);
        let deaths = node.json(["deaths"]);
        let reason = deaths["latest"].as_array().unwrap().last().unwrap()["why"].as_str().unwrap();
        assert!(reason.contains(why), "{arguments:?} ended: {reason}");
    }
    let logs = node.run(["logs"]).ok();
    assert!(logs.contains("memory allocation of 1048576 bytes failed"), "{logs}");
    let spinning = node.spawn(["rogue", "spins"]);
    assert_eq!(node.call(&undisturbed.pid, r#""Balance""#), serde_json::json!({"Cents": 7}), "beside an endless loop");
    node.run(["kill", &spinning, "--force"]).ok();
    node.until(["ps"], |listed| listed["total"] == 1);
}

#[test]
fn json_of_the_wrong_shape_is_answered_with_what_fits() {
    let undisturbed = Undisturbed::start();
    let (node, pid) = (&undisturbed.node, &undisturbed.pid);
    node.run(["call", pid, "Balance"]).fails(2, &["`Balance` is not JSON", r#"'"Balance"'"#]);
    node.run(["call", pid, "{Withdraw: 1}"]).fails(2, &["not JSON", r#"'{"Withdraw":{"cents":0}}'"#]);
    node.run(["call", pid, r#""Balanse""#]).fails(1, &["Balanse", "did you mean `Balance`", r#"'"Balance"'"#]);
    node.run(["call", pid, r#"{"Withdraw": {"cents": "a lot"}}"#]).fails(1, &["Ask", "cents", "a lot"]);
    node.run(["send", pid, r#"{"Deposit": {}}"#]).fails(1, &["Tell", "cents"]);
    node.run(["call", pid, r#"{"Deposit": {"cents": 1}}"#]).fails(1, &["Deposit"]);
    node.run(["spawn", "account"]).fails(1, &["arguments of `account`", "name"]);
    node.run(["spawn", "account", "12"]).fails(1, &["at name: expected a string", "12"]);
    node.run(["spawn", "account", r#"["Otto", 12]"#]).fails(1, &["at name: expected a string", "an array of 2"]);
    node.run(["spawn", "account", "{name: x}"]).fails(2, &["not JSON", r#"'["text"]'"#]);
    undisturbed.check();
}

#[test]
fn unknown_names_pids_and_versions_are_named() {
    let undisturbed = Undisturbed::start();
    let node = &undisturbed.node;
    node.run(["spawn", "acount"]).fails(1, &["no module `acount`", "did you mean `account`"]);
    node.run(["spawn", "account@7.0.0"]).fails(1, &["account", "7.0.0", "it has 1.0.0"]);
    node.run(["spawn", "account", "conto", "\"Otto\""]).fails(1, &["no entry `conto`", "account"]);
    node.run(["upgrade", "account@2"]).fails(1, &["it has 1.0.0"]);
    node.run(["upgrade", "nothing"]).fails(1, &["nothing"]);
    node.run(["upgrade", "not a name"]).fails(1, &["not a name"]);
    node.run(["uninstall", "nothing"]).fails(1, &["nothing"]);
    node.run(["modules", "deadbeef"]).fails(1, &["deadbeef"]);
    for command in [&["info", "777"][..], &["kill", "777"], &["send", "777", "1"], &["call", "777", "1"]] {
        node.run(command.iter().copied()).fails(1, &["no process `777`"]);
    }
    node.run(["call", "nobody", "1"]).fails(1, &["no process `nobody`"]);
    node.run(["info", "777@0000000000000001.1"]).fails(1, &["777@0000000000000001.1"]);
    undisturbed.check();
}

#[test]
fn without_a_node_every_command_says_how_to_start_one() {
    let dir = tempfile::tempdir().unwrap();
    for command in ["ps", "modules", "logs", "refusals", "deaths", "upgrades", "stop"] {
        let outcome = Outcome::of(neurath().args([command, "--data"]).arg(dir.path()));
        outcome.fails(3, &["no node runs on", "neurath node"]);
    }
    let outcome = Outcome::of(neurath().args(["call", "1", "Get", "--data"]).arg(dir.path().join("nothing")));
    outcome.fails(3, &["no node runs on"]);
}

#[test]
fn wrong_command_lines_have_their_own_exit_code() {
    for arguments in [&["nonsense"][..], &["call"], &["call", "1", "2", "--within", "soon"], &["node", "--shards", "0"]]
    {
        let outcome = Outcome::of(neurath().args(arguments));
        assert_eq!(outcome.code, 2, "{arguments:?}: {}", outcome.err);
    }
    Outcome::of(neurath().args(["--on", "beta", "config"])).fails(2, &["`neurath config` asks no node", "`--on`"]);
    let help = Outcome::of(neurath().arg("--help")).ok();
    assert!(help.contains("Exit codes:") && help.contains("no node runs"), "{help}");
}

#[test]
fn every_command_has_examples_or_says_what_it_does() {
    let help = Outcome::of(neurath().arg("--help")).ok();
    let commands: Vec<_> = help
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(commands.len() >= 20, "{commands:?}");
    for command in commands {
        let help = Outcome::of(neurath().args([command, "--help"])).ok();
        assert!(help.contains("Example") || command == "stop", "{command}: {help}");
    }
}

#[test]
fn a_data_directory_that_cannot_be_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    Outcome::of(neurath().arg("node").arg("--data").arg(&file)).fails(1, &["data directory", "file"]);
    Outcome::of(neurath().arg("ps").arg("--data").arg(&file)).fails(3, &["no node runs"]);
}

#[test]
fn a_log_filter_that_means_nothing_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let outcome = Outcome::of(neurath().arg("node").arg("--data").arg(dir.path()).env("NEURATH_LOG", "neurath=loud"));
    outcome.fails(2, &["NEURATH_LOG"]);
}
