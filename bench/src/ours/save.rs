//! From saving a source file to the first answer of the new code: built as `neurath run --watch` builds it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use neurath_code::{BuildRequest, Profile, Progress};
use neurath_node::{Builder, InstallOptions, UpgradeOptions};
use serde_json::json;

use super::{Ours, print};

impl Ours {
    /// Saves, builds and upgrades `repeats` times.
    pub(super) async fn save(&self, repeats: u32) -> Result<()> {
        let mut quiet = |_: Progress| {};
        let builder = Builder::new(&mut quiet)?;
        let dir = self.data.join("saved");
        write_manifest(&dir)?;
        let request = BuildRequest { profile: Profile::Quick, ..BuildRequest::new(&dir) };
        // Another process's first build may have left the file as it is now.
        let first = 1000 * u64::from(std::process::id());
        let mut server = None;
        for answer in first..=first + u64::from(repeats) {
            let since = Instant::now();
            save(&dir, answer)?;
            let built = builder.build(&request, &mut quiet)?;
            let compiled = since.elapsed();
            let options = InstallOptions { dev: true, source: None };
            let module = self.node.install(built.wasm, options).await?;
            let module = format!("{}@{}", module.package, module.version);
            let installed = since.elapsed();
            let pid = match &server {
                None => {
                    let pid = self.node.spawn(&module, None, &json!([])).await?;
                    server.insert(pid.to_string())
                }
                Some(pid) => {
                    self.node.upgrade(&module, UpgradeOptions { patience: None, dry_run: false }).await?;
                    pid
                }
            };
            let found = self.call(pid, &json!(null)).await?;
            let running = since.elapsed();
            if found.as_u64() != Some(answer) {
                bail!("the code that was saved answers {answer}, the process {found}");
            }
            // The first is the start.
            if answer > first {
                let millis = |from: std::time::Duration, to: std::time::Duration| (to - from).as_secs_f64() * 1e3;
                print("value", running.as_secs_f64() * 1e3);
                print("build", compiled.as_secs_f64() * 1e3);
                print("install", millis(compiled, installed));
                print("upgrade", millis(installed, running));
            }
        }
        Ok(())
    }
}

fn write_manifest(dir: &Path) -> Result<()> {
    let sdk: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/neurath");
    let sdk = sdk.canonicalize().with_context(|| format!("the SDK is not in {}", sdk.display()))?;
    std::fs::create_dir_all(dir.join("src"))?;
    let manifest = format!(
        "[package]\nname = \"saved\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[lib]\ncrate-type = [\"cdylib\"]\n\n\
         [dependencies]\nneurath = {{ path = {sdk:?} }}\n\n[profile.release]\npanic = \"abort\"\n\n[workspace]\n"
    );
    Ok(std::fs::write(dir.join("Cargo.toml"), manifest)?)
}

fn save(dir: &Path, answer: u64) -> Result<()> {
    let source = format!(
        "use neurath::prelude::*;\n\n\
         #[derive(State)]\npub struct Saved {{\n    count: u64,\n}}\n\n\
         #[neurath::server]\nimpl Server for Saved {{\n    type Call = ();\n    type Reply = u64;\n\n    \
         fn init() -> Self {{\n        Saved {{ count: 0 }}\n    }}\n\n    \
         async fn call(&mut self, _: ()) -> u64 {{\n        self.count += 1;\n        {answer}\n    }}\n}}\n"
    );
    Ok(std::fs::write(dir.join("src/lib.rs"), source)?)
}
