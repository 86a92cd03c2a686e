//! `neurath run`: a program in the foreground, upgraded when a file is saved.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::{Background, Outcome, neurath, signal};
use crate::programs::target_dir;

fn program(dir: &Path) -> PathBuf {
    Outcome::of(neurath().args(["init", "watched"]).current_dir(dir)).ok();
    dir.join("watched")
}

/// A program that `neurath run` watches.
struct Watched {
    run: Background,
    path: PathBuf,
    data: PathBuf,
    _dir: tempfile::TempDir,
}

impl Watched {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (path, data) = (program(dir.path()), dir.path().join("data"));
        let mut command = neurath();
        command.arg("run").arg(&path).args(["40", "--watch", "--data"]).arg(&data);
        let mut run = Background::start(command.env("CARGO_TARGET_DIR", target_dir()), true);
        run.line("saving a file upgrades it");
        Self { run, path, data, _dir: dir }
    }

    fn ask(&self, arguments: &[&str]) -> Outcome {
        Outcome::of(neurath().args(arguments).arg("--data").arg(&self.data))
    }

    fn pid(&self) -> String {
        self.ask(&["ps", "--json"]).json()["processes"][0]["pid"].as_str().unwrap().to_owned()
    }
}

#[test]
fn saving_a_file_upgrades_the_running_process_and_a_mistake_leaves_it_alone() {
    let mut watched = Watched::start();
    let pid = watched.pid();
    watched.ask(&["send", &pid, r#"{"Add": 2}"#]).ok();

    let source = watched.path.join("src/lib.rs");
    let text = fs::read_to_string(&source).unwrap();
    fs::write(&source, text.replace("Ask::Count => self.count,", "Ask::Count => self.count * 100,")).unwrap();
    let line = watched.run.line("after it was saved");
    assert!(line.contains("1 server"), "{line}");
    assert_eq!(watched.ask(&["call", &pid, r#""Count""#]).ok(), "4200\n", "new code, old state, the same pid");

    fs::write(&source, text.replace("Ask::Count => self.count,", "Ask::Count => self.cuont,")).unwrap();
    watched.run.line("no field `cuont`");
    watched.run.line("the old code goes on");
    fs::write(
        &source,
        text.replace("pub count: i64,", "pub count: i64, pub by: String,")
            .replace("count: start", "count: start, by: String::new()"),
    )
    .unwrap();
    let line = watched.run.line("cannot be upgraded");
    assert!(line.contains("watched"), "{line}");
    watched.run.line("the old code goes on");
    assert_eq!(watched.ask(&["call", &pid, r#""Count""#]).ok(), "4200\n");

    signal(&watched.run.child, "INT");
    assert_eq!(watched.run.child.wait().unwrap().code(), Some(0));
    watched.ask(&["ps"]).fails(3, &["no node runs"]);
}

#[test]
fn run_ends_with_its_process_and_shows_what_it_wrote() {
    let pingpong = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../programs/pingpong-v1");
    let run = |arguments: &[&str]| {
        Outcome::of(neurath().arg("run").arg(&pingpong).args(arguments).env("CARGO_TARGET_DIR", target_dir()))
    };
    let shown = run(&["[6, 0]", "--entry", "play"]).ok();
    assert!(shown.contains("done: 6 pings, 6 pongs"), "{shown}");
    run(&["[6", "--entry", "play"]).fails(2, &["`[6` is not JSON"]);
    run(&["--entry", "pong"]).fails(1, &["no entry `pong`"]);
}

#[test]
fn the_end_of_a_watched_process_is_said_and_saving_starts_it_again() {
    let mut watched = Watched::start();
    watched.ask(&["kill", &watched.pid(), "--force"]).ok();
    watched.run.line("ended: killed by an operator");

    let source = watched.path.join("src/lib.rs");
    let text = fs::read_to_string(&source).unwrap();
    fs::write(&source, text.replace("Tell::Add(n) => self.count += n,", "Tell::Add(_) => panic!(\"not\\nany more\"),"))
        .unwrap();
    watched.run.line("after it was saved");
    watched.ask(&["send", &watched.pid(), r#"{"Add": 2}"#]).ok();
    watched.run.line("ended: panicked at");
    assert_eq!(watched.run.line("any more"), "  any more");
    watched.run.line("saving a file starts it again");

    let dead = text.replace(r#"info!("counting from {start}");"#, r#"assert!(start < 0, "stillborn");"#);
    assert_ne!(dead, text);
    fs::write(&source, dead).unwrap();
    let line = watched.run.line("stillborn");
    assert!(line.contains("ended: panicked"), "{line}");
    assert!(!watched.run.seen().iter().any(|line| line.contains("runs as")), "{:?}", watched.run.seen());
}

#[test]
fn a_function_is_run_and_its_result_printed() {
    let pingpong = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../programs/pingpong-v1");
    let arguments = ["[2, 0]", "--entry", "play"];
    let manifest = pingpong.join("Cargo.toml");
    let outcome = Outcome::of(neurath().arg("run").arg(manifest).args(arguments).env("CARGO_TARGET_DIR", target_dir()));
    assert!(outcome.ok().contains(r#""pings":2"#));
}

#[test]
fn what_is_no_crate_or_no_free_node_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("nothing");
    Outcome::of(neurath().arg("run").arg(&missing).arg("--watch")).fails(1, &["nothing does not exist"]);
    let node = crate::harness::Node::start();
    let path = program(dir.path());
    let taken = Outcome::of(neurath().arg("run").arg(path).env("NEURATH_DATA", node.data()));
    taken.fails(1, &["in use", "env -u NEURATH_DATA"]);
}

#[test]
fn a_program_that_fails_fails_its_run() {
    let dir = tempfile::tempdir().unwrap();
    let path = program(dir.path());
    let source = "use neurath::prelude::*;\n\n#[neurath::process]\nasync fn watched() {\n    info!(\"so far\");\n    panic!(\"no further\");\n}\n";
    fs::write(path.join("src/lib.rs"), source).unwrap();
    let outcome = Outcome::of(neurath().arg("run").arg(&path).env("CARGO_TARGET_DIR", target_dir()));
    assert_eq!(outcome.code, 1, "{}", outcome.err);
    assert!(outcome.err.contains("no further"), "{}", outcome.err);
    let source = "use neurath::prelude::*;\n\n#[neurath::process]\nasync fn watched() {\n    exit(format!(\"had {}\", \"enough\"));\n}\n";
    fs::write(path.join("src/lib.rs"), source).unwrap();
    let outcome = Outcome::of(neurath().arg("run").arg(&path).env("CARGO_TARGET_DIR", target_dir()));
    outcome.fails(1, &["the process ended: String: \"had enough\""]);
}
