//! The demo's programs: found, and told apart by what they say of themselves.

use std::path::{Path, PathBuf};

use neurath_node::manifest_of;

use crate::failure::Failure;

/// What several nodes run.
pub(super) const CLUSTER: &str = "cluster";

/// The modules that are played with, and their versions.
const NEEDED: [(&str, &[&str]); 4] = [
    ("counter", &["1.0.0", "2.0.0", "3.0.0"]),
    ("account", &["1.0.0", "2.0.0", "3.0.0"]),
    ("pingpong", &["1.0.0", "2.0.0"]),
    (CLUSTER, &["1.0.0"]),
];

/// The crate of this program, two directories down in the checkout that it was built from.
const CRATE: &str = env!("CARGO_MANIFEST_DIR");

/// A module's bytes.
pub(super) struct Guest {
    pub(super) package: String,
    pub(super) wasm: Vec<u8>,
    pub(super) file: PathBuf,
}

/// All that are needed, each package's first version first.
pub(super) fn find() -> Result<Vec<Guest>, Failure> {
    let checkout = Path::new(CRATE).ancestors().nth(2).unwrap_or(Path::new("."));
    let dir = std::env::var_os("NEURATH_GUESTS").map_or_else(|| checkout.join("target/guests"), PathBuf::from);
    let mut there = Vec::new();
    for file in modules(&dir)? {
        let wasm = std::fs::read(&file).map_err(|error| missing(&format!("{}: {error}", file.display())))?;
        // Whatever else lies there, such as a module that tests want to see refused, is not ours.
        if let Ok(manifest) = manifest_of(&wasm) {
            let package = manifest.package.clone();
            there.push((manifest.package, manifest.version, Guest { package, wasm, file }));
        }
    }
    let mut found = Vec::new();
    for (package, versions) in NEEDED {
        for version in versions {
            let at = there.iter().position(|(p, v, _)| p == package && v == version);
            let at = at.ok_or_else(|| missing(&format!("there is no {package}@{version} in {}", dir.display())))?;
            found.push(there.swap_remove(at).2);
        }
    }
    Ok(found)
}

/// The files that may be modules, in order.
fn modules(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = std::fs::read_dir(dir).map_err(|error| missing(&format!("{}: {error}", dir.display())))?;
    let files = entries.flatten().map(|entry| entry.path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "wasm")).collect();
    files.sort();
    Ok(files)
}

fn missing(what: &str) -> Failure {
    Failure::new(format!("the demo's programs are not built: {what}")).help(
        "`cargo xtask demo`, in the checkout, builds them and runs the demo; NEURATH_GUESTS says where else they are",
    )
}
