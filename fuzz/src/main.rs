//! The fuzzing engine around the targets; `cargo xtask fuzz` builds it with the coverage that it needs, and runs it.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

static RUN: OnceLock<fn(&[u8])> = OnceLock::new();

fuzz_target!(|bytes: &[u8]| {
    let run = RUN.get_or_init(|| {
        let name = std::env::var("NEURATH_FUZZ_TARGET").unwrap_or_default();
        match neurath_fuzz::TARGETS.iter().find(|target| target.name == name) {
            Some(target) => target.run,
            None => panic!("NEURATH_FUZZ_TARGET is {name:?}, which is no target"),
        }
    });
    run(bytes);
});
