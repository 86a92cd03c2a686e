//! Making and building programs.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::harness::{Node, Outcome, neurath};

/// Where crates of these tests are compiled, so that the SDK is compiled once.
pub fn target_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("programs")
}

#[test]
fn init_makes_a_crate_that_builds_runs_and_passes_its_test() {
    let dir = tempfile::tempdir().unwrap();
    let made = Outcome::of(neurath().args(["init", "first-steps"]).current_dir(dir.path())).ok();
    assert!(made.contains("neurath run first-steps --watch"), "{made}");
    let path = dir.path().join("first-steps");

    let tested = Outcome::of(
        Command::new("cargo").args(["test", "--quiet"]).current_dir(&path).env("CARGO_TARGET_DIR", target_dir()),
    );
    assert!(tested.ok().contains("1 passed"));

    let built =
        Outcome::of(neurath().arg("build").arg(&path).arg("--json").env("CARGO_TARGET_DIR", target_dir())).json();
    assert_eq!((&built["name"], &built["version"]), (&"first-steps".into(), &"0.1.0".into()));
    assert_eq!(built["entries"][0]["name"], "counter");
    let module = built["path"].as_str().unwrap();
    assert!(module.ends_with("neurath/first-steps-0.1.0.wasm"), "{module}");
    assert_eq!(fs::metadata(module).unwrap().len(), built["size_bytes"].as_u64().unwrap());

    let node = Node::start();
    node.run(["install", module]).ok();
    let pid = node.spawn(["first-steps", "1"]);
    node.run(["send", &pid, r#"{"Add": 5}"#]).ok();
    assert_eq!(node.call(&pid, r#""Count""#), 6);
}

#[test]
fn init_refuses_what_is_there_and_names_that_will_not_do() {
    let dir = tempfile::tempdir().unwrap();
    let init = |name: &str| Outcome::of(neurath().args(["init", name]).current_dir(dir.path()));
    fs::create_dir(dir.path().join("taken")).unwrap();
    fs::write(dir.path().join("taken/mine"), "").unwrap();
    init("taken").fails(1, &["taken", "there already"]);
    for name in ["Counter", "9lives", "a b", "fn", "neurath", "-x", "über"] {
        let outcome = init(name);
        assert_eq!(outcome.code, 2, "{name}: {}", outcome.err);
    }
    init("no/such/parent").fails(1, &["no/such/parent"]);
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["taken"], "a refusal leaves nothing");
}

#[test]
fn what_does_not_compile_shows_the_compilers_words() {
    let dir = tempfile::tempdir().unwrap();
    let build = |path: &str| {
        Outcome::of(neurath().args(["build", path]).current_dir(dir.path()).env("CARGO_TARGET_DIR", target_dir()))
    };
    build(".").fails(1, &["no Cargo.toml", "neurath init"]);
    Outcome::of(neurath().args(["init", "broken"]).current_dir(dir.path())).ok();
    fs::write(dir.path().join("broken/src/lib.rs"), "pub fn broken() -> i32 { \"text\" }\n").unwrap();
    build("broken").fails(1, &["error[E0308]", "src/lib.rs:1", "package `broken` does not compile"]);
    fs::write(dir.path().join("broken/src/lib.rs"), "//! Nothing.\n").unwrap();
    build("broken").fails(1, &["nothing to start", "#[neurath::process]"]);
    fs::write(dir.path().join("broken/Cargo.toml"), "[package\n").unwrap();
    build("broken").fails(1, &["Cargo.toml"]);
}

#[test]
fn completions_are_for_the_shell_that_was_named() {
    for (shell, part) in
        [("bash", "complete -F _neurath"), ("zsh", "#compdef neurath"), ("fish", "complete -c neurath")]
    {
        let text = Outcome::of(neurath().args(["completions", shell])).ok();
        assert!(text.contains(part), "{shell}");
    }
    assert_eq!(Outcome::of(neurath().args(["completions", "tcsh"])).code, 2);
}
