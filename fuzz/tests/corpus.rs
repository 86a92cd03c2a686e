//! What was found once stays found: the whole corpus on every run of the tests, without the engine.

use std::fs;
use std::path::Path;

#[test]
fn every_input_of_the_corpus_keeps_the_promises() {
    for target in neurath_fuzz::TARGETS {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
        let inputs: Vec<_> = fs::read_dir(&corpus).expect("each target has a corpus").collect();
        assert!(inputs.len() >= (target.seeds)().len(), "{} has a corpus", target.name);
        for input in inputs {
            let path = input.expect("a directory can be read").path();
            let bytes = fs::read(&path).expect("a file can be read");
            let kept = std::panic::catch_unwind(|| (target.run)(&bytes));
            assert!(kept.is_ok(), "{} with {}", target.name, path.display());
        }
    }
}

#[test]
fn good_bytes_and_all_their_beginnings_keep_the_promises() {
    for target in neurath_fuzz::TARGETS {
        for seed in (target.seeds)() {
            for end in 0..=seed.len().min(400) {
                (target.run)(&seed[..end]);
            }
            (target.run)(&seed);
        }
    }
}
