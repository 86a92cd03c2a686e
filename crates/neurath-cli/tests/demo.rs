//! The main job, as users run it: nothing is lost, whatever is upgraded.

use std::process::{Command, Output};

use serde_json::Value;

fn demo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_neurath"));
    command.arg("demo").args(arguments).env_remove("NEURATH_LOG").env("NO_COLOR", "1");
    command
}

#[track_caller]
fn texts(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn nothing_is_lost_while_programs_are_upgraded_under_load() {
    let (code, out, err) = texts(demo(&["--json", "--seconds", "1"]).output().unwrap());
    assert_eq!(code, 0, "{out}\n{err}");
    assert_eq!(err, "", "what is no terminal sees no progress");
    let record: Value = serde_json::from_str(&out).unwrap();
    let number = |name: &str| record[name].as_i64().unwrap_or_else(|| panic!("no {name} in {out}"));
    for bad in ["lost", "duplicated", "reordered", "refused"] {
        assert_eq!(number(bad), 0, "{bad} in {out}");
    }
    assert!(number("sum_expected") > 0 && number("answered") > 0 && number("sent") > number("answered"), "{out}");
    assert_eq!(number("sum_expected"), number("sum_found"));
    assert_eq!(record["version_at_end"], "2.0.0");
    assert_eq!(record["reset_works"], true);
    assert_eq!((&record["pingpong"]["pings"], &record["pingpong"]["pongs"]), (&10.into(), &10.into()));
    assert_eq!(record["pingpong"]["versions"], serde_json::json!([1, 1, 1, 1, 2, 2, 2, 2, 2, 2]));
    for module in ["counter", "account"] {
        let count = &record["subjects"][module];
        assert_eq!(count["answered"], count["reads"], "{out}");
        assert_eq!(count["sum_expected"], count["additions"], "{out}");
        assert_eq!(count["sum_found"], count["sum_expected"], "{out}");
    }
    upgrades_are_as_expected(record["upgrades"].as_array().unwrap());
}

#[track_caller]
fn upgrades_are_as_expected(upgrades: &[Value]) {
    let expected = [
        ("account", "1.0.0", "2.0.0", "committed", ""),
        ("account", "2.0.0", "3.0.0", "rolled_back", "converter `from_v2`: panicked"),
        ("counter", "1.0.0", "2.0.0", "committed", ""),
        ("counter", "2.0.0", "3.0.0", "rolled_back", "does not say how many increments"),
        ("pingpong", "1.0.0", "2.0.0", "committed", ""),
    ];
    for (module, from, to, outcome, reason) in expected {
        let is_it = |u: &&Value| u["module"] == module && u["from"] == from && u["to"] == to;
        let upgrade = upgrades.iter().find(is_it).unwrap_or_else(|| panic!("no {module} {from} {to}: {upgrades:?}"));
        assert_eq!(upgrade["outcome"], outcome);
        assert!(upgrade["reason"].as_str().unwrap_or_default().contains(reason), "{upgrade}");
        let [p50, p99, max] = ["p50", "p99", "max"].map(|name| upgrade["pause_us"][name].as_f64().unwrap());
        assert!(0.0 < p50 && p50 <= p99 && p99 <= max, "{upgrade}");
    }
    assert_eq!(upgrades.len(), expected.len());
}

#[test]
fn the_report_shows_people_what_happened() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("demo.json");
    let (code, out, err) = texts(demo(&["--seconds", "1", "--json", file.to_str().unwrap()]).output().unwrap());
    assert_eq!(code, 0, "{out}\n{err}");
    for part in ["0 lost, 0 duplicated, 0 out of order", "3.0.0 rolled back", "10 pings, 10 pongs", "▲", "✗", "┝"]
    {
        assert!(out.contains(part), "no `{part}` in:\n{out}");
    }
    let record: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(record["lost"], 0);
}

#[test]
fn without_its_programs_the_demo_says_how_to_build_them() {
    let empty = tempfile::tempdir().unwrap();
    for dir in [empty.path(), &empty.path().join("nowhere")] {
        let (code, out, err) = texts(demo(&[]).env("NEURATH_GUESTS", dir).output().unwrap());
        assert_eq!((code, out.as_str()), (1, ""), "{err}");
        assert!(err.contains("not built") && err.contains("cargo xtask demo"), "{err}");
    }
}
