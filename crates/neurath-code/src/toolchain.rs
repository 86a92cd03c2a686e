//! A toolchain that can build guests: found, or else installed.
//!
//! [`Toolchain::find`] tries in this order: the user's `rustc` has the target; `rustup target add` brings
//! it; on Debian, the packages of a newer Rust and its source are installed, and the standard library is
//! built from that source into a private cache. It refuses to know what is built.
//!
//! Invariant: nothing is installed by [`Toolchain::ready`], and nothing outside the cache directory is
//! written by this code itself.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::GUEST_TARGET;
use crate::command;
use crate::progress::Progress;
use crate::sysroot::Recipe;

/// The packages of the third way.
pub const DEBIAN_PACKAGES: [&str; 6] =
    ["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm", "lld-22", "wasi-libc"];

/// How a toolchain came to have the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The target is installed for the user's `rustc`.
    Installed,
    /// `rustup target add` installs it.
    Rustup,
    /// Debian's packages, with a standard library built from their source.
    DebianSource,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Installed => "the installed toolchain",
            Self::Rustup => "rustup target add",
            Self::DebianSource => "Debian's packages with a standard library built from source",
        })
    }
}

/// A compiler, its cargo, and what they need to make a guest.
#[derive(Clone, Debug)]
pub struct Toolchain {
    /// How it was found.
    pub way: Way,
    /// The compiler.
    pub rustc: PathBuf,
    /// Its cargo.
    pub cargo: PathBuf,
    /// What `rustc -vV` calls its release, for example `1.95.0`.
    pub release: String,
    /// A sysroot of ours, if the compiler has no standard library for the target.
    pub(crate) sysroot: Option<PathBuf>,
    /// A linker, if the compiler does not bring one.
    pub(crate) linker: Option<PathBuf>,
    /// The C library's start file that makes a module a reactor, if there is one.
    pub(crate) reactor: Option<PathBuf>,
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rustc {} ({}; {})", self.release, self.rustc.display(), self.way)
    }
}

/// Why there is no toolchain. Nothing has changed but the downloads of the ways that were tried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ToolchainError {
    /// Each way fails.
    #[error(
        "no Rust toolchain here can build for {GUEST_TARGET}:{}\ninstall one of:\n  rustup target add {GUEST_TARGET}\n  \
         apt-get install {}   (Debian, as root)", listed(.tried), DEBIAN_PACKAGES.join(" ")
    )]
    None {
        /// Each way that was tried, and why it did not work.
        tried: Vec<(Way, String)>,
    },
    /// The standard library does not compile.
    #[error("the standard library for {GUEST_TARGET} does not build from Debian's source:\n{log}")]
    Std {
        /// What cargo and rustc said.
        log: String,
    },
    /// There is no place for the cache.
    #[error("there is no cache directory: set HOME or XDG_CACHE_HOME to an absolute path")]
    NoCacheDir,
    /// The operating system refuses something.
    #[error("{}: {source}", path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn listed(tried: &[(Way, String)]) -> String {
    tried.iter().map(|(way, why)| format!("\n  {way}: {}", why.trim().replace('\n', "\n    "))).collect()
}

impl Toolchain {
    /// Finds a toolchain, and installs what is missing if it can.
    pub fn find(progress: &mut dyn FnMut(Progress)) -> Result<Self, ToolchainError> {
        Search::of_this_machine()?.find(progress)
    }

    /// A toolchain that can be used as it is, without installing or building anything.
    pub fn ready() -> Result<Self, ToolchainError> {
        Search { may_install: false, ..Search::of_this_machine()? }.find(&mut |_| {})
    }
}

/// Where to look, and how far to go.
#[derive(Clone, Debug)]
pub struct Search {
    /// The directories in which `rustc` and `rustup` are looked for, in the form of `PATH`.
    pub path: OsString,
    /// Where Neurath keeps what can be made again.
    pub cache_dir: PathBuf,
    /// Where the Debian packages put their files: `/`.
    pub root_dir: PathBuf,
    /// The ways to try, in this order.
    pub ways: Vec<Way>,
    /// Whether something may be installed or built.
    pub may_install: bool,
}

impl Search {
    /// The usual search on this machine: all ways.
    pub fn of_this_machine() -> Result<Self, ToolchainError> {
        Ok(Self {
            path: std::env::var_os("PATH").unwrap_or_default(),
            cache_dir: cache_dir()?,
            root_dir: PathBuf::from("/"),
            ways: vec![Way::Installed, Way::Rustup, Way::DebianSource],
            may_install: true,
        })
    }

    /// Tries each way until one works.
    pub fn find(&self, progress: &mut dyn FnMut(Progress)) -> Result<Toolchain, ToolchainError> {
        let mut tried = Vec::new();
        // What was built once is ready; it need not be downloaded another way.
        if self.ways.contains(&Way::DebianSource)
            && !self.installed_is_ready()
            && let Some(toolchain) = self.debian_built_before()
        {
            return Ok(toolchain);
        }
        for &way in &self.ways {
            let found = match way {
                Way::Installed => self.installed(Way::Installed),
                Way::Rustup => self.rustup(progress),
                Way::DebianSource => match self.debian(progress) {
                    Ok(found) => found,
                    // The way is open and something is broken on it: that is the error to see.
                    Err(error @ (ToolchainError::Std { .. } | ToolchainError::Io { .. })) => return Err(error),
                    Err(error) => Err(error.to_string()),
                },
            };
            match found {
                Ok(toolchain) => return Ok(toolchain),
                Err(why) => tried.push((way, why)),
            }
        }
        Err(ToolchainError::None { tried })
    }

    fn installed_is_ready(&self) -> bool {
        self.ways.contains(&Way::Installed) && self.installed(Way::Installed).is_ok()
    }

    /// The user's compiler, if it has the target.
    fn installed(&self, way: Way) -> Result<Toolchain, String> {
        let proxy = command::which(&self.path, "rustc").ok_or("there is no rustc in PATH")?;
        let asked = self.ask(&proxy, &["--print", "sysroot", "--print", "target-libdir", "--target", GUEST_TARGET])?;
        let mut lines = asked.lines().map(PathBuf::from);
        let (Some(sysroot), Some(libdir)) = (lines.next(), lines.next()) else {
            return Err(format!("{} does not say where its libraries are", proxy.display()));
        };
        if !has_std(&libdir) {
            return Err(format!("{} has no standard library for {GUEST_TARGET}", proxy.display()));
        }
        // The compiler itself, rather than a proxy that would choose anew in each directory.
        let real = |name: &str| Some(sysroot.join("bin").join(name)).filter(|file| file.is_file());
        let rustc = real("rustc").unwrap_or(proxy);
        let cargo = real("cargo")
            .or_else(|| command::which(&self.path, "cargo"))
            .ok_or("there is a rustc, but no cargo in PATH")?;
        let release = release_of(&self.ask(&rustc, &["-vV"])?);
        Ok(Toolchain { way, rustc, cargo, release, sysroot: None, linker: None, reactor: reactor_in(&libdir) })
    }

    /// `rustup target add`.
    fn rustup(&self, progress: &mut dyn FnMut(Progress)) -> Result<Toolchain, String> {
        let rustup = command::which(&self.path, "rustup").ok_or("there is no rustup in PATH")?;
        if !self.may_install {
            return Err("not tried, because nothing may be installed".into());
        }
        progress(Progress::Step(format!("rustup target add {GUEST_TARGET}")));
        self.ask(&rustup, &["target", "add", GUEST_TARGET])?;
        self.installed(Way::Rustup)
    }

    /// Debian's packages. The outer error is one to stop at.
    fn debian(&self, progress: &mut dyn FnMut(Progress)) -> Result<Result<Toolchain, String>, ToolchainError> {
        let missing = match self.missing_packages() {
            Ok(missing) => missing,
            Err(why) => return Ok(Err(why)),
        };
        if !self.may_install {
            return Ok(Err(if missing.is_empty() {
                "the packages are there, but the standard library is not built; run `cargo xtask setup`".into()
            } else {
                format!("missing packages: {}", missing.join(" "))
            }));
        }
        if !missing.is_empty() {
            if !is_root() {
                return Ok(Err(format!("missing packages, and only root can install them: {}", missing.join(" "))));
            }
            if let Err(why) = self.apt_install(&missing, progress) {
                return Ok(Err(why));
            }
        }
        match self.debian_recipe() {
            Ok(recipe) => {
                let sysroot = recipe.ensure(&self.cache_dir, progress)?;
                Ok(self.debian_toolchain(&recipe, sysroot))
            }
            Err(why) => Ok(Err(why)),
        }
    }

    fn debian_built_before(&self) -> Option<Toolchain> {
        let recipe = self.debian_recipe().ok()?;
        let sysroot = recipe.cached(&self.cache_dir)?;
        self.debian_toolchain(&recipe, sysroot).ok()
    }

    fn debian_toolchain(&self, recipe: &Recipe, sysroot: PathBuf) -> Result<Toolchain, String> {
        let linker = self.in_root("usr/bin/rust-lld")?;
        let libdir = sysroot.join("lib/rustlib").join(GUEST_TARGET).join("lib");
        Ok(Toolchain {
            way: Way::DebianSource,
            rustc: recipe.rustc.clone(),
            cargo: recipe.cargo.clone(),
            release: release_of(&recipe.rustc_version),
            reactor: reactor_in(&libdir),
            sysroot: Some(sysroot),
            linker: Some(linker),
        })
    }

    /// What the packages, once installed, offer.
    fn debian_recipe(&self) -> Result<Recipe, String> {
        let rustc = self.in_root("usr/bin/rustc")?;
        let cargo = self.in_root("usr/bin/cargo")?;
        let library = self.in_root("usr/lib/rustlib/src/rust/library")?;
        let wasi_libc = self.in_root("usr/lib/wasm32-wasi")?;
        self.in_root("usr/lib/wasm32-wasi/libc.a")?;
        let rustc_version = self.ask(&rustc, &["-vV"])?;
        Ok(Recipe { rustc, cargo, library, wasi_libc, rustc_version })
    }

    fn in_root(&self, relative: &str) -> Result<PathBuf, String> {
        let path = self.root_dir.join(relative);
        if path.exists() { Ok(path) } else { Err(format!("there is no {}", path.display())) }
    }

    fn missing_packages(&self) -> Result<Vec<&'static str>, String> {
        if !self.root_dir.join("etc/debian_version").exists() {
            return Err("this is not Debian".into());
        }
        let query = command::which(&self.path, "dpkg-query").ok_or("there is no dpkg-query in PATH")?;
        // It fails if it does not know one of them, and still tells of the others.
        let output = command::output(
            command::clean(query).args(["-W", "-f=${db:Status-Status} ${Package}\n"]).args(DEBIAN_PACKAGES),
        )
        .map_err(|error| error.to_string())?;
        let known = String::from_utf8_lossy(&output.stdout).into_owned();
        let is_installed = |package: &str| known.lines().any(|line| line.strip_prefix("installed ") == Some(package));
        Ok(DEBIAN_PACKAGES.into_iter().filter(|package| !is_installed(package)).collect())
    }

    fn apt_install(&self, packages: &[&str], progress: &mut dyn FnMut(Progress)) -> Result<(), String> {
        let apt = command::which(&self.path, "apt-get").ok_or("there is no apt-get in PATH")?;
        let run = |arguments: &[&str]| {
            let mut command = command::clean(&apt);
            command
                .env("DEBIAN_FRONTEND", "noninteractive")
                .args(["-q", "-o", "DPkg::Lock::Timeout=300"])
                .args(arguments);
            text_of(&mut command)
        };
        let mut install = vec!["install", "-y", "--no-install-recommends"];
        install.extend(packages);
        progress(Progress::Step(format!("apt-get install {}", packages.join(" "))));
        if run(&install).is_ok() {
            return Ok(());
        }
        progress(Progress::Step("apt-get update".into()));
        run(&["update"])?;
        progress(Progress::Step(format!("apt-get install {}", packages.join(" "))));
        run(&install).map(drop)
    }

    /// Runs a program that answers at once.
    fn ask(&self, program: &Path, arguments: &[&str]) -> Result<String, String> {
        text_of(command::clean(program).env("PATH", &self.path).args(arguments))
    }
}

/// What a command writes; if it fails, what it complained of.
fn text_of(command: &mut std::process::Command) -> Result<String, String> {
    let output = command::output(command).map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("{} failed ({}):\n{}", command::shown(command), output.status, said.trim()))
    }
}

fn has_std(libdir: &Path) -> bool {
    let Ok(entries) = libdir.read_dir() else { return false };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libstd-") && name.ends_with(".rlib")
    })
}

fn reactor_in(libdir: &Path) -> Option<PathBuf> {
    Some(libdir.join("self-contained/crt1-reactor.o")).filter(|file| file.is_file())
}

fn release_of(verbose_version: &str) -> String {
    verbose_version.lines().find_map(|line| line.strip_prefix("release: ")).unwrap_or("unknown").to_owned()
}

/// Whether this process may install packages.
fn is_root() -> bool {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::fs::MetadataExt;
        // The kernel gives a process's directory to its effective user.
        std::fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
    }
    #[cfg(not(target_os = "linux"))]
    false
}

/// Where Neurath keeps what can be made again: `neurath` in the user's cache directory.
pub fn cache_dir() -> Result<PathBuf, ToolchainError> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
    cache_dir_of(absolute("XDG_CACHE_HOME").as_deref(), absolute("HOME").as_deref())
}

fn cache_dir_of(xdg: Option<&Path>, home: Option<&Path>) -> Result<PathBuf, ToolchainError> {
    let caches = xdg.map(Path::to_owned).or_else(|| home.map(|home| home.join(".cache")));
    Ok(caches.ok_or(ToolchainError::NoCacheDir)?.join("neurath"))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    /// A machine of shell scripts, with nothing on it.
    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new() -> Self {
            let machine = Self(tempfile::tempdir().unwrap());
            fs::create_dir_all(machine.path("bin")).unwrap();
            machine
        }

        fn path(&self, relative: &str) -> PathBuf {
            self.0.path().join(relative)
        }

        fn script(&self, file: &str, body: &str) {
            let file = self.path(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, format!("#!/bin/sh\nM={}\n{body}\n", self.0.path().display())).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }

        /// A compiler in the manner of rustup: a proxy in `bin`, the real one in `sdk/bin`.
        fn with_rustc(self) -> Self {
            let body = "case \"$*\" in -vV) echo release: 9.9.9;; *) echo $M/sdk; echo $M/sdk/wasm;; esac";
            self.script("bin/rustc", body);
            self.script("sdk/bin/rustc", body);
            self.script("sdk/bin/cargo", "");
            self
        }

        fn search(&self) -> Search {
            Search {
                path: self.path("bin").into_os_string(),
                cache_dir: self.path("cache"),
                root_dir: self.path("root"),
                ways: vec![Way::Installed, Way::Rustup, Way::DebianSource],
                may_install: true,
            }
        }
    }

    const ADD: &str = "echo \"$*\" >> $M/log; /bin/mkdir -p $M/sdk/wasm; : > $M/sdk/wasm/libstd-1.rlib";

    #[test]
    fn an_installed_target_is_used_without_asking_rustup_and_proxies_are_passed_by() {
        let machine = Machine::new().with_rustc();
        machine.script("bin/rustup", ADD);
        fs::create_dir_all(machine.path("sdk/wasm")).unwrap();
        fs::write(machine.path("sdk/wasm/libstd-1.rlib"), "").unwrap();
        let toolchain = machine.search().find(&mut |_| {}).unwrap();
        assert_eq!((toolchain.way, toolchain.release.as_str()), (Way::Installed, "9.9.9"));
        assert_eq!(toolchain.rustc, machine.path("sdk/bin/rustc"));
        assert_eq!(toolchain.cargo, machine.path("sdk/bin/cargo"));
        assert!(!machine.path("log").exists());
    }

    #[test]
    fn rustup_installs_a_missing_target_unless_nothing_may_be_installed() {
        let machine = Machine::new().with_rustc();
        machine.script("bin/rustup", ADD);
        let error = Search { may_install: false, ..machine.search() }.find(&mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("nothing may be installed"), "{error}");
        assert!(!machine.path("log").exists());

        let mut steps = vec![];
        let toolchain = machine.search().find(&mut |step| steps.push(step)).unwrap();
        assert_eq!(toolchain.way, Way::Rustup);
        assert_eq!(steps, [Progress::Step("rustup target add wasm32-wasip1".into())]);
        assert_eq!(fs::read_to_string(machine.path("log")).unwrap(), "target add wasm32-wasip1\n");
    }

    #[test]
    fn missing_debian_packages_are_installed_after_an_update_if_that_is_needed() {
        if !is_root() {
            return;
        }
        let machine = Machine::new();
        fs::create_dir_all(machine.path("root/etc")).unwrap();
        fs::write(machine.path("root/etc/debian_version"), "12").unwrap();
        machine.script("bin/dpkg-query", "echo installed lld-22; echo config-files wasi-libc; exit 1");
        machine.script(
            "bin/apt-get",
            "echo \"$*\" >> $M/log; case \"$*\" in *update*) : > $M/updated;; *) test -e $M/updated;; esac",
        );
        let error = machine.search().find(&mut |_| {}).unwrap_err();
        let log = fs::read_to_string(machine.path("log")).unwrap();
        let asked: Vec<&str> = log.lines().map(|line| line.split("Timeout=300 ").nth(1).unwrap()).collect();
        let install =
            "install -y --no-install-recommends rustc-web cargo-web rust-web-src rust-web-llvm wasi-libc".to_owned();
        assert_eq!(asked, [install.as_str(), "update", install.as_str()]);
        assert!(error.to_string().contains("there is no "), "packages without their files: {error}");
    }

    #[test]
    fn the_last_error_tells_why_each_way_failed_and_what_to_install() {
        let machine = Machine::new().with_rustc();
        machine.script("bin/rustup", "echo no network here >&2; exit 1");
        let text = machine.search().find(&mut |_| {}).unwrap_err().to_string();
        for part in [
            "has no standard library for wasm32-wasip1",
            "no network here",
            "this is not Debian",
            "install one of:\n  rustup target add wasm32-wasip1\n  apt-get install rustc-web cargo-web",
        ] {
            assert!(text.contains(part), "{part:?} is missing in:\n{text}");
        }
    }

    #[test]
    fn the_cache_is_the_users() {
        let dir = |xdg: Option<&str>, home: Option<&str>| cache_dir_of(xdg.map(Path::new), home.map(Path::new));
        assert_eq!(dir(Some("/c"), Some("/h")).unwrap(), Path::new("/c/neurath"));
        assert_eq!(dir(None, Some("/h")).unwrap(), Path::new("/h/.cache/neurath"));
        assert!(matches!(dir(None, None), Err(ToolchainError::NoCacheDir)));
    }
}
