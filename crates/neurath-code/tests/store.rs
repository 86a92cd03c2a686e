//! The artifact store, through its public interface and through what a crash leaves on the disk.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use neurath_code::store::{
    ArtifactHash, Binding, GetError, ModuleName, ModuleVersion, OpenError, PutError, PutOptions, ReadError,
    RemoveError, Store,
};
use semver::Version;

fn name(text: &str) -> ModuleName {
    text.parse().unwrap()
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn options(binding: Binding) -> PutOptions {
    PutOptions { binding, source: Some("programs/counter".into()) }
}

fn put(store: &Store, bytes: &[u8], module: &str, number: &str, binding: Binding) -> Result<ModuleVersion, PutError> {
    store.put(bytes, &name(module), &version(number), options(binding))
}

fn get(store: &Store, reference: &str) -> Result<String, GetError> {
    store.get(&reference.parse().unwrap()).map(|found| found.to_string())
}

#[test]
fn versions_coexist_and_are_found_by_name_version_requirement_and_hash() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("code")).unwrap();
    for (number, bytes) in [("1.0.0", &b"one"[..]), ("1.10.0", b"ten"), ("1.9.0", b"nine"), ("2.0.0", b"two")] {
        put(&store, bytes, "counter", number, Binding::Release).unwrap();
    }
    put(&store, b"other", "counters", "7.0.0", Binding::Release).unwrap();

    let order: Vec<String> = store.list().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(order, ["counter@1.0.0", "counter@1.9.0", "counter@1.10.0", "counter@2.0.0", "counters@7.0.0"]);
    assert_eq!(store.versions(&name("counter")).unwrap().len(), 4);
    assert_eq!(get(&store, "counter").unwrap(), "counter@2.0.0");
    assert_eq!(get(&store, "counter@1.0.0").unwrap(), "counter@1.0.0");
    assert_eq!(get(&store, "counter@1").unwrap(), "counter@1.10.0");
    assert_eq!(get(&store, "counter@>=1, <1.10").unwrap(), "counter@1.9.0");

    let nine = store.get(&"counter@1.9.0".parse().unwrap()).unwrap();
    assert_eq!(nine.hash, ArtifactHash::of(b"nine"));
    assert_eq!((nine.size_bytes, nine.source.as_deref()), (4, Some("programs/counter")));
    assert_eq!(get(&store, &nine.hash.to_string()[..8]).unwrap(), "counter@1.9.0");
    assert_eq!(store.read(nine.hash).unwrap(), b"nine");
}

#[test]
fn a_release_is_bound_at_first_sight_and_a_conflict_names_both_artifacts() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let first = put(&store, b"a", "counter", "1.0.0", Binding::Release).unwrap();
    assert_eq!(put(&store, b"a", "counter", "1.0.0", Binding::Release).unwrap(), first, "the same again is no change");

    let error = put(&store, b"b", "counter", "1.0.0", Binding::Release).unwrap_err();
    assert!(matches!(&error, PutError::Conflict { bound, offered, .. }
        if *bound == ArtifactHash::of(b"a") && *offered == ArtifactHash::of(b"b")));
    let text = error.to_string();
    assert!(text.contains(&first.hash.to_string()) && text.contains("raise the version"), "{text}");
    assert_eq!(store.list().unwrap(), [first]);
}

#[test]
fn development_versions_carry_their_hash_and_leave_releases_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let release = put(&store, b"a", "counter", "1.0.0", Binding::ReleaseIfFree).unwrap();
    assert_eq!(release.to_string(), "counter@1.0.0");
    let development = put(&store, b"b", "counter", "1.0.0", Binding::ReleaseIfFree).unwrap();
    assert_eq!(development.to_string(), format!("counter@1.0.0+dev.{}", ArtifactHash::of(b"b").short()));
    assert!(development.is_development() && !release.is_development());
    assert_eq!(put(&store, b"a", "counter", "1.0.0", Binding::ReleaseIfFree).unwrap(), release);
    let forced = put(&store, b"a", "counter", "1.0.0", Binding::Development).unwrap();
    assert!(forced.is_development());

    assert_eq!(get(&store, "counter@1").unwrap(), "counter@1.0.0", "a range of versions means releases");
    assert_eq!(get(&store, &development.to_string()).unwrap(), development.to_string());
    assert_eq!(get(&store, "counter@1.0.0").unwrap(), "counter@1.0.0");
    let stolen = put(&store, b"c", "counter", &development.version.to_string(), Binding::Release).unwrap_err();
    assert!(matches!(stolen, PutError::DevelopmentHash { .. }), "{stolen}");
}

#[test]
fn the_current_version_is_what_a_bare_name_means_and_survives_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    put(&store, b"1", "counter", "1.0.0", Binding::Release).unwrap();
    put(&store, b"2", "counter", "2.0.0", Binding::Release).unwrap();
    assert_eq!(store.current(&name("counter")).unwrap(), None);
    store.set_current(&name("counter"), &version("1.0.0")).unwrap();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(get(&store, "counter").unwrap(), "counter@1.0.0");
    let error = store.set_current(&name("counter"), &version("3.0.0")).unwrap_err();
    assert!(error.to_string().contains("has no version 3.0.0; it has 1.0.0, 2.0.0"), "{error}");
}

#[test]
fn unknown_references_say_what_may_have_been_meant() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    put(&store, b"1", "counter", "1.0.0", Binding::Release).unwrap();
    put(&store, b"2", "deadbeef", "1.0.0", Binding::Release).unwrap();
    let error = |reference: &str| get(&store, reference).unwrap_err().to_string();
    assert_eq!(error("conuter"), "there is no module `conuter`; did you mean `counter`?");
    assert_eq!(error("conuter@1.0.0"), error("conuter"));
    assert_eq!(error("telephone"), "there is no module `telephone`");
    assert_eq!(error("counter@2"), "module `counter` has no version ^2; it has 1.0.0");
    assert_eq!(error("0123456789"), "there is no module and no artifact `0123456789`");
    assert_eq!(get(&store, "deadbeef").unwrap(), "deadbeef@1.0.0", "a name goes before a hash");
}

#[test]
fn damaged_artifacts_are_errors_that_name_the_file_and_both_hashes_and_are_mended_by_putting_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let stored = put(&store, b"some artifact", "counter", "1.0.0", Binding::Release).unwrap();
    let path = store.artifact_path(stored.hash);
    for damage in [&b"some artifac"[..], b"some artifacT", b"", b"some artifact and more"] {
        fs::write(&path, damage).unwrap();
        let error = store.verify(stored.hash).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, ReadError::Damaged { .. }));
        for part in [path.display().to_string(), stored.hash.to_string(), ArtifactHash::of(damage).to_string()] {
            assert!(text.contains(&part), "{text}");
        }
    }
    assert_eq!(put(&store, b"some artifact", "counter", "1.0.0", Binding::Release).unwrap(), stored);
    assert_eq!(store.read(stored.hash).unwrap(), b"some artifact");
    fs::remove_file(&path).unwrap();
    assert!(matches!(store.verify(stored.hash), Err(ReadError::Missing { .. })));
}

#[test]
fn a_version_is_removed_unless_something_needs_it_and_its_artifact_goes_with_its_last_version() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let one = put(&store, b"same", "counter", "1.0.0", Binding::Release).unwrap();
    put(&store, b"same", "counter", "1.0.1", Binding::Release).unwrap();
    store.set_current(&one.name, &one.version).unwrap();

    let error = store.remove(&one.name, &one.version, |_| Some("3 processes run it".into())).unwrap_err();
    assert_eq!(error.to_string(), "counter@1.0.0 is not removed: 3 processes run it");
    let error = store.remove(&one.name, &one.version, |_| None).unwrap_err();
    assert!(matches!(error, RemoveError::Current { .. }), "{error}");
    let error = store.remove(&one.name, &version("9.0.0"), |_| None).unwrap_err();
    assert!(matches!(error, RemoveError::Get(GetError::UnknownVersion { .. })), "{error}");

    store.remove(&one.name, &version("1.0.1"), |_| None).unwrap();
    store.verify(one.hash).unwrap();
    store.remove(&one.name, &one.version, |_| None).unwrap();
    assert!(matches!(store.verify(one.hash), Err(ReadError::Missing { .. })));
    assert!(store.list().unwrap().is_empty());
    assert_eq!(store.current(&one.name).unwrap(), None);
}

#[test]
fn a_second_opening_is_refused_with_the_directory_and_the_holder() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(&error, OpenError::Locked { pid, .. } if *pid == Some(std::process::id())), "{error}");
    let text = error.to_string();
    assert!(text.contains(&dir.path().display().to_string()), "{text}");
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
    drop(store);
    Store::open(dir.path()).unwrap();
}

#[test]
fn an_index_that_is_not_ours_is_refused_by_name_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let index = dir.path().join("index.redb");
    fs::write(&index, b"this is no database, and it is longer than a header would be".repeat(100)).unwrap();
    let before = fs::read(&index).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(&error, OpenError::Index { path, .. } if *path == index), "{error}");
    assert!(error.to_string().contains(&index.display().to_string()));
    assert_eq!(fs::read(&index).unwrap(), before);
}

#[test]
fn a_torn_or_flipped_index_is_never_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for number in 0..20 {
        put(&store, &[number], "counter", &format!("{number}.0.0"), Binding::Release).unwrap();
    }
    drop(store);
    let index = dir.path().join("index.redb");
    let whole = fs::read(&index).unwrap();
    let look = || {
        if let Ok(store) = Store::open(dir.path()) {
            let _ = store.list();
            let _ = put(&store, b"new", "counter", "99.0.0", Binding::Release);
        }
    };
    let steps = 61;
    for step in 0..steps {
        fs::write(&index, &whole[..whole.len() * step / steps]).unwrap();
        look();
        let mut flipped = whole.clone();
        flipped[whole.len() * step / steps] ^= 1 << (step % 8);
        fs::write(&index, &flipped).unwrap();
        look();
    }
    fs::write(&index, &whole).unwrap();
    assert!(Store::open(dir.path()).unwrap().list().unwrap().len() >= 20);
}

/// The variable that makes [`a_writer_to_be_killed`] write.
const VICTIM: &str = "NEURATH_STORE_VICTIM";

/// Not a test by itself: it runs in a process of its own, and is killed.
#[test]
fn a_writer_to_be_killed() {
    let Some(dir) = std::env::var_os(VICTIM) else { return };
    let store = Store::open(Path::new(&dir)).unwrap();
    for number in 0.. {
        let bytes = format!("{number}").repeat(50_000);
        let stored = put(&store, bytes.as_bytes(), "counter", &format!("{number}.0.0"), Binding::Release).unwrap();
        store.set_current(&stored.name, &stored.version).unwrap();
        println!("stored {number}");
    }
}

#[test]
fn after_a_killed_writer_the_store_opens_and_everything_acknowledged_is_whole() {
    use std::io::{BufRead, BufReader};
    let dir = tempfile::tempdir().unwrap();
    for round in 0..4 {
        let store = dir.path().join(round.to_string());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_writer_to_be_killed", "--nocapture"])
            .env(VICTIM, &store)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut acknowledged = 0;
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for line in lines.map_while(Result::ok) {
            if line.contains("stored ") {
                acknowledged += 1;
            }
            if acknowledged == 3 + round {
                child.kill().unwrap();
                break;
            }
        }
        child.wait().unwrap();
        fs::write(store.join("artifacts/0123.7.tmp"), b"half an artif").unwrap();

        let store = Store::open(store).unwrap();
        let found = store.list().unwrap();
        assert!(found.len() >= acknowledged, "{} of {acknowledged}", found.len());
        for version in &found {
            store.verify(version.hash).unwrap();
        }
        assert!(store.current(&name("counter")).unwrap().is_some());
        let left = fs::read_dir(store.dir().join("artifacts")).unwrap();
        assert!(left.flatten().all(|entry| entry.path().extension().unwrap() == "wasm"), "temporary files stay");
    }
}

#[test]
fn a_store_can_be_used_from_several_threads() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for number in 0..5 {
                    put(store, b"shared", "shared", &format!("{number}.0.0"), Binding::Release).unwrap();
                    put(store, &[thread, number], "own", &format!("{thread}.{number}.0"), Binding::Release).unwrap();
                }
            });
        }
    });
    assert_eq!(store.list().unwrap().len(), 25);
    let mut sequences: Vec<u64> = store.list().unwrap().iter().map(|version| version.sequence).collect();
    sequences.sort_unstable();
    assert_eq!(sequences, (1..=25).collect::<Vec<u64>>());
}
