//! A private standard library for guests, compiled from a distribution's source package.
//!
//! It is built once for each compiler into a user's cache directory and from then on is an ordinary
//! sysroot, so that guests are compiled by a plain `cargo build` with `--sysroot`. It refuses to know how
//! the compiler and the source came onto the machine.
//!
//! Invariant: a directory named by [`Recipe::key`] is complete. It is made under another name, flushed to
//! disk, and renamed; concurrent builders take turns at a lock.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::GUEST_TARGET;
use crate::command::{self, Line};
use crate::progress::Progress;
use crate::toolchain::ToolchainError;

/// To be raised when the way in which the library is built changes.
const RECIPE: u32 = 1;

/// What it is built from.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    pub(crate) rustc: PathBuf,
    pub(crate) cargo: PathBuf,
    /// The directory `library` of the compiler's source.
    pub(crate) library: PathBuf,
    /// The C library for the target: `libc.a` and start files.
    pub(crate) wasi_libc: PathBuf,
    /// What `rustc -vV` says.
    pub(crate) rustc_version: String,
}

impl Recipe {
    /// What tells one result from another: the compiler, the C library, and this recipe.
    pub(crate) fn key(&self) -> io::Result<String> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&RECIPE.to_le_bytes());
        hasher.update(self.rustc_version.as_bytes());
        hasher.update(&fs::read(self.wasi_libc.join("libc.a"))?);
        Ok(hasher.finalize().to_hex()[..16].to_owned())
    }

    /// The finished sysroot, if it was built before.
    pub(crate) fn cached(&self, cache_dir: &Path) -> Option<PathBuf> {
        let dir = cache_dir.join("sysroot").join(self.key().ok()?);
        dir.is_dir().then_some(dir)
    }

    /// The finished sysroot, built now if need be.
    pub(crate) fn ensure(
        &self,
        cache_dir: &Path,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<PathBuf, ToolchainError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| ToolchainError::Io { path, source }
        };
        let sysroots = cache_dir.join("sysroot");
        fs::create_dir_all(&sysroots).map_err(failed(&sysroots))?;
        let key = self.key().map_err(failed(&self.wasi_libc))?;
        let finished = sysroots.join(&key);
        if finished.is_dir() {
            return Ok(finished);
        }

        let lock_path = sysroots.join(format!("{key}.lock"));
        let lock = File::create(&lock_path).map_err(failed(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                progress(Progress::Step("waiting for another process that builds the standard library".into()));
                lock.lock().map_err(failed(&lock_path))?;
            }
            Err(TryLockError::Error(source)) => return Err(failed(&lock_path)(source)),
        }
        if finished.is_dir() {
            return Ok(finished);
        }

        // Whoever held the lock before and left these behind was killed.
        let (work, fresh) = (sysroots.join(format!("{key}.work")), sysroots.join(format!("{key}.new")));
        for leftover in [&work, &fresh] {
            if leftover.exists() {
                fs::remove_dir_all(leftover).map_err(failed(leftover))?;
            }
        }
        let rlibs = self.compile(&work, progress)?;
        assemble(&fresh, &rlibs, &self.wasi_libc).map_err(failed(&fresh))?;
        fs::rename(&fresh, &finished).map_err(failed(&finished))?;
        File::open(&sysroots).and_then(|dir| dir.sync_all()).map_err(failed(&sysroots))?;
        fs::remove_dir_all(&work).map_err(failed(&work))?;
        Ok(finished)
    }

    /// Compiles the standard library; the answer is its `.rlib` files.
    fn compile(&self, work: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Vec<PathBuf>, ToolchainError> {
        let failed = |source| ToolchainError::Io { path: work.to_owned(), source };
        progress(Progress::Step(format!("building the standard library for {GUEST_TARGET} (once, about a minute)")));
        fs::create_dir_all(work.join("src")).map_err(failed)?;
        // Cargo's own profile settings for the library do not apply through build-std, so they are here.
        fs::write(
            work.join("Cargo.toml"),
            "[package]\nname = \"sysroot\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
             [profile.release]\nopt-level = 3\ndebug = false\n",
        )
        .and_then(|()| fs::write(work.join("src/lib.rs"), "#![no_std]\n"))
        .map_err(failed)?;

        let mut command = command::clean(&self.cargo);
        command
            .current_dir(work)
            .env_remove("CARGO_TARGET_DIR")
            .env("CARGO_HOME", work.join("home"))
            .env("RUSTC", &self.rustc)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_ENCODED_RUSTFLAGS", self.rustflags().join("\u{1f}"))
            .args(["build", "--release", "--message-format=json", "-Zbuild-std=std,panic_abort", "--target"])
            .arg(GUEST_TARGET);
        let vendored = self.library.join("vendor");
        if vendored.is_dir() {
            command.arg("--offline").args([
                "--config",
                "source.crates-io.replace-with='vendored'",
                "--config",
                &format!("source.vendored.directory='{}'", vendored.display()),
            ]);
        }

        let (mut rlibs, mut log) = (Vec::new(), String::new());
        let target_dir = work.join("target").join(GUEST_TARGET);
        let status = command::stream(&mut command, |line| match line {
            Line::Err(text) => {
                log.push_str(&text);
                log.push('\n');
            }
            Line::Out(text) => {
                let Ok(message) = serde_json::from_str::<serde_json::Value>(&text) else { return };
                if let Some(rendered) = message["message"]["rendered"].as_str() {
                    log.push_str(rendered);
                }
                let name = message["target"]["name"].as_str().unwrap_or_default();
                let files = message["filenames"].as_array().into_iter().flatten().filter_map(|file| file.as_str());
                let found: Vec<PathBuf> = files
                    .map(PathBuf::from)
                    .filter(|file| name != "sysroot" && file.starts_with(&target_dir))
                    .filter(|file| file.extension().is_some_and(|extension| extension == "rlib"))
                    .collect();
                if !found.is_empty() {
                    rlibs.extend(found);
                    progress(Progress::Compiled {
                        package: name.to_owned(),
                        done: rlibs.len().min(STD_CRATES),
                        total: STD_CRATES,
                    });
                }
            }
        })
        .map_err(failed)?;
        if status.success() { Ok(rlibs) } else { Err(ToolchainError::Std { log }) }
    }

    fn rustflags(&self) -> Vec<String> {
        let mut flags = vec!["-Cembed-bitcode=yes".to_owned()];
        let named = format!("/rustc/{}/library", self.release());
        let real = self.library.canonicalize().unwrap_or_else(|_| self.library.clone());
        for dir in [&self.library, &real] {
            flags.push(format!("--remap-path-prefix={}={named}", dir.display()));
        }
        flags
    }

    fn release(&self) -> &str {
        self.rustc_version.lines().find_map(|line| line.strip_prefix("release: ")).unwrap_or("unknown")
    }
}

/// How many crates the standard library has: of Rust 1.96; only a progress bar sees it.
const STD_CRATES: usize = 23;

/// Lays the pieces out as the compiler looks for them.
fn assemble(sysroot: &Path, rlibs: &[PathBuf], wasi_libc: &Path) -> io::Result<()> {
    let lib = sysroot.join("lib/rustlib").join(GUEST_TARGET).join("lib");
    let own = lib.join("self-contained");
    fs::create_dir_all(&own)?;
    for rlib in rlibs {
        copy_to_disk(rlib, &lib)?;
    }
    for entry in fs::read_dir(wasi_libc)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "a" || extension == "o") {
            copy_to_disk(&path, &own)?;
        }
    }
    for dir in [&own, &lib] {
        File::open(dir)?.sync_all()?;
    }
    Ok(())
}

fn copy_to_disk(file: &Path, dir: &Path) -> io::Result<()> {
    let Some(name) = file.file_name() else { return Ok(()) };
    let copy = dir.join(name);
    fs::copy(file, &copy)?;
    File::open(&copy)?.sync_all()
}
