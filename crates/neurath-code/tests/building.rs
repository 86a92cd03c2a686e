//! Guests really built, with the toolchain that `cargo xtask setup` has found; and, ignored unless asked
//! for because they install things, the two ways to such a toolchain really taken.

use std::fs;
use std::path::Path;
use std::time::Instant;

use neurath_code::build::{BuildError, BuildRequest, Profile, STACK_BYTES};
use neurath_code::toolchain::{Search, Way};
use neurath_code::{Progress, Toolchain};

fn toolchain() -> Toolchain {
    Toolchain::ready().unwrap_or_else(|error| panic!("run `cargo xtask setup` first: {error}"))
}

/// A workspace with a guest, a stand-in for the SDK that exports functions of its own, and a derive macro.
fn workspace(guest_source: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write(
        "Cargo.toml",
        "[workspace]\nresolver = '3'\nmembers = ['guest', 'neurath', 'derive', 'bare', 'tool']\n\
         [profile.release]\nopt-level = 's'\nlto = true\npanic = 'abort'\ncodegen-units = 1\nstrip = 'debuginfo'\n",
    );
    let package =
        |name: &str, rest: &str| format!("[package]\nname = '{name}'\nversion = '1.2.3'\nedition = '2024'\n{rest}");
    write("guest/Cargo.toml", &package("guest", "[dependencies]\nneurath = { path = '../neurath' }\n"));
    write("guest/src/lib.rs", guest_source);
    write("neurath/Cargo.toml", &package("neurath", "[dependencies]\nderive = { path = '../derive' }\n"));
    write(
        "neurath/src/lib.rs",
        "pub use derive::Nothing;\n\
         #[unsafe(export_name = \"neurath:poll\")]\npub extern \"C\" fn poll(x: u32) -> u32 { x.wrapping_mul(3) }\n",
    );
    write("derive/Cargo.toml", &package("derive", "[lib]\nproc-macro = true\n"));
    write(
        "derive/src/lib.rs",
        "#[proc_macro_derive(Nothing)]\npub fn nothing(_: proc_macro::TokenStream) -> proc_macro::TokenStream \
         { Default::default() }\n",
    );
    write("bare/Cargo.toml", &package("bare", ""));
    write("bare/src/lib.rs", "");
    write("tool/Cargo.toml", &package("tool", "[dependencies]\nneurath = { path = '../neurath' }\n"));
    write("tool/src/main.rs", "fn main() {}\n");
    dir
}

const GUEST: &str = "
#[derive(neurath::Nothing)]
pub struct Nothing;
#[unsafe(export_name = \"neurath:start:guest\")]
pub extern \"C\" fn start(n: u32) -> usize {
    let words: Vec<String> = (0..n).map(|i| format!(\"{i:?}\")).collect();
    println!(\"{words:?}\");
    words.len()
}
";

fn request(dir: &Path, package: &str) -> BuildRequest {
    BuildRequest {
        package: Some(package.to_owned()),
        target_dir: Some(dir.join("target")),
        ..BuildRequest::new(dir.join(if package == "guest" { "guest" } else { "" }))
    }
}

#[test]
fn a_guest_keeps_the_exports_of_its_dependencies_and_is_a_reactor_without_wrappers() {
    let dir = workspace(GUEST);
    let mut seen = vec![];
    let built = toolchain().build(&request(dir.path(), "guest"), &mut |progress| seen.push(progress)).unwrap();
    assert_eq!((built.package.as_str(), built.version.to_string().as_str()), ("guest", "1.2.3"));
    assert!(!built.fresh);
    assert!(built.local_dirs.iter().any(|dir| dir.ends_with("neurath")));
    assert!(seen.iter().any(|p| matches!(p, Progress::Compiled { done: 3, total: 3, .. })), "{seen:?}");

    let wasm = fs::read(&built.wasm_path).unwrap();
    assert_eq!(&wasm[..4], b"\0asm");
    let holds = |text: &str| wasm.windows(text.len()).any(|bytes| bytes == text.as_bytes());
    for kept in ["neurath:poll", "neurath:start:guest", "_initialize"] {
        assert!(holds(kept), "{kept} is missing");
    }
    assert!(!holds("command_export"), "each call of an export would run constructors and destructors");
    assert!(holds("__wasm_call_ctors"), "the name section is missing");
    assert!(!holds(".debug_info"), "debug information should be stripped");

    assert_eq!(first_global(&wasm), u64::from(STACK_BYTES), "the stack pointer starts at the top of the lowest bytes");

    let again = toolchain().build(&request(dir.path(), "guest"), &mut |_| {}).unwrap();
    assert!(again.fresh);
}

/// The initial value of a module's first global, which the linker makes the stack pointer.
fn first_global(wasm: &[u8]) -> u64 {
    fn number(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        value
    }
    let mut rest = &wasm[8..];
    loop {
        let (section, len) = (number(&mut rest), number(&mut rest) as usize);
        if section == 6 {
            // How many, the type i32, mutable, `i32.const`.
            let _count = number(&mut rest);
            assert_eq!(rest[..3], [0x7f, 1, 0x41]);
            rest = &rest[3..];
            return number(&mut rest);
        }
        rest = &rest[len..];
    }
}

#[test]
fn a_changed_guest_is_built_again_soon() {
    let dir = workspace(GUEST);
    let toolchain = toolchain();
    for profile in [Profile::Release, Profile::Quick] {
        let request = BuildRequest { profile, ..request(dir.path(), "guest") };
        toolchain.build(&request, &mut |_| {}).unwrap();
        for round in 0..3 {
            let source =
                format!("{GUEST}\n#[unsafe(no_mangle)] pub extern \"C\" fn round{round}() -> u32 {{ {round} }}");
            fs::write(dir.path().join("guest/src/lib.rs"), source).unwrap();
            let started = Instant::now();
            let built = toolchain.build(&request, &mut |_| {}).unwrap();
            println!("{profile:?}: {:?} from save to module", started.elapsed());
            let wasm = fs::read(&built.wasm_path).unwrap();
            let name = format!("round{round}");
            assert!(wasm.windows(name.len()).any(|bytes| bytes == name.as_bytes()), "an old module was returned");
        }
    }
}

#[test]
fn two_versions_and_two_profiles_in_one_target_directory_are_not_mistaken_for_each_other() {
    let toolchain = toolchain();
    let shared = tempfile::tempdir().unwrap();
    let versions = [1, 2].map(|number| {
        let mark = format!("#[unsafe(no_mangle)] pub extern \"C\" fn version{number}() -> u32 {{ {number} }}");
        workspace(&format!("{GUEST}\n{mark}"))
    });
    let mut seen = std::collections::HashSet::new();
    for _ in 0..2 {
        for profile in [Profile::Release, Profile::Quick] {
            for (number, dir) in (1..).zip(&versions) {
                let request = BuildRequest {
                    target_dir: Some(shared.path().to_owned()),
                    profile,
                    ..request(dir.path(), "guest")
                };
                let built = toolchain.build(&request, &mut |_| {}).unwrap();
                let wasm = fs::read(&built.wasm_path).unwrap();
                let mark = format!("version{number}");
                assert!(wasm.windows(mark.len()).any(|bytes| bytes == mark.as_bytes()), "{mark}, {profile:?}");
                seen.insert(wasm);
            }
        }
    }
    assert_eq!(seen.len(), 4, "the same source built in the same way gives the same bytes");
}

#[test]
fn the_compilers_own_words_are_in_the_error() {
    let dir = workspace("pub fn broken() -> u32 { \"text\" }");
    let error = toolchain().build(&request(dir.path(), "guest"), &mut |_| {}).unwrap_err();
    let BuildError::Compile { diagnostics, .. } = &error else { panic!("{error:?}") };
    assert!(diagnostics.contains("mismatched types") && diagnostics.contains("src/lib.rs:1:"), "{diagnostics}");
    assert!(!diagnostics.contains("Compiling"), "{diagnostics}");
}

#[test]
fn what_cannot_become_a_module_is_refused_with_advice() {
    let dir = workspace(GUEST);
    let toolchain = toolchain();
    let error = |package: &str| toolchain.build(&request(dir.path(), package), &mut |_| {}).unwrap_err();
    assert!(matches!(error("bare"), BuildError::NoSdk { .. }));
    assert!(error("bare").to_string().contains("add `neurath` to [dependencies]"));
    assert!(matches!(error("tool"), BuildError::NoLibrary { .. }));
    assert!(error("tool").to_string().contains("src/lib.rs"));
    let BuildError::NoPackage { names, .. } = error("gest") else { panic!() };
    assert!(names.contains(&"guest".to_owned()));

    let whole = BuildRequest { package: None, ..request(dir.path(), "workspace") };
    assert!(matches!(toolchain.build(&whole, &mut |_| {}), Err(BuildError::WhichPackage { .. })));
    let nowhere = BuildRequest::new(dir.path().join("target"));
    assert!(matches!(toolchain.build(&nowhere, &mut |_| {}), Err(BuildError::NoManifest { .. })));
    fs::write(dir.path().join("guest/Cargo.toml"), "[package").unwrap();
    let BuildError::Manifest { said, .. } = error("guest") else { panic!() };
    assert!(said.contains("Cargo.toml"), "{said}");
}

/// Takes one way from nothing and builds a guest with what it gives.
fn take(way: Way, cache_dir: &Path) {
    let search = Search { ways: vec![way], cache_dir: cache_dir.to_owned(), ..Search::of_this_machine().unwrap() };
    let started = Instant::now();
    let toolchain = search.find(&mut |progress| println!("{progress:?}")).unwrap_or_else(|error| panic!("{error}"));
    println!("{toolchain}: {:?}", started.elapsed());
    assert_eq!(toolchain.way, way);
    let dir = workspace(GUEST);
    toolchain.build(&request(dir.path(), "guest"), &mut |_| {}).unwrap();
}

#[test]
#[ignore = "changes the machine: `rustup target add` in the active toolchain"]
fn rustups_way_really_taken() {
    take(Way::Rustup, tempfile::tempdir().unwrap().path());
}

#[test]
#[ignore = "changes the machine: on Debian as root, installs packages; builds a standard library (a minute)"]
fn debians_way_really_taken() {
    take(Way::DebianSource, tempfile::tempdir().unwrap().path());
}
