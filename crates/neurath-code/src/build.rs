//! One guest crate, compiled to one WebAssembly module.
//!
//! It drives cargo and reads its messages; it refuses to know what is in the module. The compiler's own
//! diagnostics are handed on as they are.
//!
//! How a guest is linked, whatever its profile says:
//! - as a reactor: `_initialize` runs the constructors. Without it the linker would wrap *every* export in
//!   code that runs constructors before and destructors after each call;
//! - with a stack of [`STACK_BYTES`] at the bottom of the memory, so that overflow traps instead of
//!   overwriting data, and so that an image is small.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use semver::Version;
use serde_json::Value;

use crate::command::{self, Line};
use crate::progress::Progress;
use crate::toolchain::Toolchain;
use crate::{GUEST_TARGET, SDK_CRATE};

/// A guest's stack unless the request says otherwise. A stack is part of each process's memory, and an
/// `async fn` keeps across `.await` what it needs elsewhere.
pub const STACK_BYTES: u32 = 64 * 1024;

/// How much the compiler should do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// The package's own `release` profile: what is deployed.
    #[default]
    Release,
    /// The same, but incremental and without link-time optimization: soonest from save to running.
    Quick,
}

/// What to build, and how.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// The directory of the crate's, or its workspace's, `Cargo.toml`.
    pub manifest_dir: PathBuf,
    /// Where to put build products; otherwise where cargo would.
    pub target_dir: Option<PathBuf>,
    /// Which package, where the directory is a workspace with several.
    pub package: Option<String>,
    /// How much to optimize.
    pub profile: Profile,
    /// The guest's stack.
    pub stack_bytes: u32,
    /// Whether diagnostics are coloured.
    pub color: bool,
}

impl BuildRequest {
    /// The release build of the crate in a directory.
    pub fn new(manifest_dir: impl Into<PathBuf>) -> Self {
        Self {
            manifest_dir: manifest_dir.into(),
            target_dir: None,
            package: None,
            profile: Profile::Release,
            stack_bytes: STACK_BYTES,
            color: false,
        }
    }
}

/// A module that was built.
#[derive(Clone, Debug)]
pub struct BuiltModule {
    /// The file. The next build of the same package in the same way writes to the same place.
    pub wasm_path: PathBuf,
    /// The package: the module's name.
    pub package: String,
    /// Its version.
    pub version: Version,
    /// Whether it was there already.
    pub fresh: bool,
    /// The compiler's warnings.
    pub warnings: String,
    /// The directories of this package and of those it depends on by path: a change there makes it stale.
    pub local_dirs: Vec<PathBuf>,
}

/// Why there is no module. What was built before is untouched, or gone if it was stale.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Not a crate.
    #[error("there is no Cargo.toml in {}: name the directory of a crate, or make one with `neurath init`", dir.display())]
    NoManifest {
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// Cargo cannot read the manifest or find the dependencies.
    #[error("cargo cannot work with {}:\n{said}", manifest.display())]
    Manifest {
        /// The file.
        manifest: PathBuf,
        /// What cargo said.
        said: String,
    },
    /// A workspace, and it is not clear which of its packages.
    #[error("{} is a workspace: name one of its packages: {}", manifest.display(), names.join(", "))]
    WhichPackage {
        /// The file.
        manifest: PathBuf,
        /// The packages.
        names: Vec<String>,
    },
    /// A package that the workspace does not have.
    #[error("the workspace of {} has no package `{package}`; it has {}", manifest.display(), names.join(", "))]
    NoPackage {
        /// The file.
        manifest: PathBuf,
        /// What was asked for.
        package: String,
        /// The packages.
        names: Vec<String>,
    },
    /// A package with nothing to make a module of.
    #[error(
        "package `{package}` has no library to make a module of: put the program into src/lib.rs \
         (in {}; a [lib] section with crate-type = [\"cdylib\", \"rlib\"] does no harm and is not needed)",
        manifest.display()
    )]
    NoLibrary {
        /// The package.
        package: String,
        /// Its manifest.
        manifest: PathBuf,
    },
    /// A package that is no program for Neurath.
    #[error(
        "package `{package}` does not depend on `{SDK_CRATE}`, so it has nothing that Neurath can start: \
         add `{SDK_CRATE}` to [dependencies] in {}", manifest.display()
    )]
    NoSdk {
        /// The package.
        package: String,
        /// Its manifest.
        manifest: PathBuf,
    },
    /// The compiler refuses the program.
    #[error("package `{package}` does not compile:\n{diagnostics}")]
    Compile {
        /// The package that was to be built.
        package: String,
        /// The compiler's own words.
        diagnostics: String,
    },
    /// Cargo fails for another reason.
    #[error("cargo fails to build package `{package}`:\n{said}")]
    Cargo {
        /// The package that was to be built.
        package: String,
        /// What cargo said.
        said: String,
    },
    /// A program cannot be run.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Toolchain {
    /// Compiles one guest.
    pub fn build(&self, request: &BuildRequest, progress: &mut dyn FnMut(Progress)) -> Result<BuiltModule, BuildError> {
        let package = self.inspect(request)?;
        let rustflags = self.rustflags(request).join("\u{1f}");
        let mut command = self.cargo(request);
        command
            .arg("rustc")
            .args(["--release", "--lib", "--crate-type", "cdylib", "--target", GUEST_TARGET])
            .args(["--package", &package.id])
            .arg("--target-dir")
            .arg(&package.target_dir)
            .arg(if request.color { "--message-format=json-diagnostic-rendered-ansi" } else { "--message-format=json" })
            .env("CARGO_ENCODED_RUSTFLAGS", &rustflags);
        if let Some(linker) = &self.linker {
            command.env(LINKER_VARIABLE, linker);
        }
        if request.profile == Profile::Quick {
            command
                .env("CARGO_PROFILE_RELEASE_LTO", "off")
                .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
                .env("CARGO_PROFILE_RELEASE_INCREMENTAL", "true");
        }

        let output = Output::lock(&package, &format!("{:?}\n{rustflags}\n{}", request.profile, self.rustc.display()))?;
        let mut run = Run {
            package: &package,
            ready: BTreeSet::new(),
            wasm: None,
            errors: String::new(),
            warnings: String::new(),
            said: String::new(),
        };
        let status = command::stream(&mut command, |line| match line {
            Line::Out(text) => {
                if let Ok(message) = serde_json::from_str(&text) {
                    run.message(&message, progress);
                }
            }
            Line::Err(text) => run.status_line(&text, progress),
        })?;
        let mut built = run.finish(status.success())?;
        built.wasm_path = output.keep(&built.wasm_path)?;
        Ok(built)
    }

    /// Cargo in the crate's directory, with this compiler.
    fn cargo(&self, request: &BuildRequest) -> std::process::Command {
        let mut command = command::clean(&self.cargo);
        command.current_dir(&request.manifest_dir).env("RUSTC", &self.rustc);
        command
    }

    fn rustflags(&self, request: &BuildRequest) -> Vec<String> {
        let mut flags =
            vec![format!("-Clink-arg=-zstack-size={}", request.stack_bytes), "-Clink-arg=--stack-first".into()];
        if let Some(reactor) = &self.reactor {
            flags.push(format!("-Clink-arg={}", reactor.display()));
            flags.push("-Clink-arg=--export=_initialize".into());
        }
        if let Some(sysroot) = &self.sysroot {
            flags.push(format!("--sysroot={}", sysroot.display()));
        }
        // Panic locations in dependencies should not tell where a user's home is.
        if let Some(home) = cargo_home() {
            flags.push(format!("--remap-path-prefix={}=/cargo", home.join("registry/src").display()));
        }
        flags
    }

    /// Finds the package and checks what can be checked without compiling.
    fn inspect(&self, request: &BuildRequest) -> Result<Package, BuildError> {
        let manifest = request.manifest_dir.join("Cargo.toml");
        if !manifest.is_file() {
            return Err(BuildError::NoManifest { dir: request.manifest_dir.clone() });
        }
        let mut command = self.cargo(request);
        command.args(["metadata", "--format-version=1", "--filter-platform", GUEST_TARGET]);
        let output = command::output(&mut command)?;
        let manifest_error = |said: String| BuildError::Manifest { manifest: manifest.clone(), said };
        if !output.status.success() {
            return Err(manifest_error(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        let metadata: Value =
            serde_json::from_slice(&output.stdout).map_err(|error| manifest_error(error.to_string()))?;
        let usual_target_dir = Path::new(text(&metadata["target_directory"]));
        let metadata = Metadata::new(&metadata);
        let package = metadata.choose(&manifest, request.package.as_deref())?;
        metadata.check(package, std::path::absolute(request.target_dir.as_deref().unwrap_or(usual_target_dir))?)
    }
}

/// Where a module is kept, and the right to write it.
///
/// Cargo names a module's file by its library alone. Another version of a package, or another profile, in the
/// same target directory is written to the same file, and cargo then takes that file for what it is asked for
/// if nothing else has changed. So what is not byte for byte what this package made last is taken away
/// first, and the module is copied to a place of its own.
struct Output {
    kept: PathBuf,
    _lock: File,
}

impl Output {
    fn lock(package: &Package, how: &str) -> io::Result<Self> {
        let dir = package.target_dir.join("neurath");
        fs::create_dir_all(&dir)?;
        let lock = File::create(dir.join("lock"))?;
        lock.lock()?;
        let key = blake3::hash(format!("{}\n{how}", package.id).as_bytes()).to_hex();
        let output = Self { kept: dir.join(format!("{}-{}.wasm", package.name, &key[..16])), _lock: lock };

        let kept = fs::read(&output.kept).ok();
        let release = package.target_dir.join(GUEST_TARGET).join("release");
        let file = format!("{}.wasm", package.library);
        for theirs in [release.join("deps").join(&file), release.join(&file)] {
            match fs::read(&theirs) {
                Ok(bytes) if kept.as_ref() != Some(&bytes) => fs::remove_file(&theirs)?,
                _ => {}
            }
        }
        Ok(output)
    }

    fn keep(self, built: &Path) -> io::Result<PathBuf> {
        let new = self.kept.with_extension("new");
        fs::copy(built, &new)?;
        fs::rename(&new, &self.kept)?;
        Ok(self.kept)
    }
}

/// What is known of the package that is built.
#[derive(Debug)]
struct Package {
    id: String,
    name: String,
    version: Version,
    /// The name of its library.
    library: String,
    target_dir: PathBuf,
    /// How many packages are compiled with it, itself included.
    packages: usize,
    local_dirs: Vec<PathBuf>,
}

/// The answer of `cargo metadata`.
struct Metadata<'a> {
    packages: HashMap<&'a str, &'a Value>,
    nodes: HashMap<&'a str, &'a Value>,
    members: Vec<&'a str>,
    root: Option<&'a str>,
}

impl<'a> Metadata<'a> {
    fn new(metadata: &'a Value) -> Self {
        let by_id = |list: &'a Value| {
            list.as_array().into_iter().flatten().map(|item| (text(&item["id"]), item)).collect::<HashMap<_, _>>()
        };
        Self {
            packages: by_id(&metadata["packages"]),
            nodes: by_id(&metadata["resolve"]["nodes"]),
            members: metadata["workspace_members"].as_array().into_iter().flatten().map(text).collect(),
            root: metadata["resolve"]["root"].as_str(),
        }
    }

    /// The package that was asked for, or else the only one that can be meant.
    fn choose(&self, manifest: &Path, asked: Option<&str>) -> Result<&'a Value, BuildError> {
        let members: Vec<&Value> = self.members.iter().filter_map(|id| self.packages.get(id).copied()).collect();
        let names = || members.iter().map(|member| text(&member["name"]).to_owned()).collect();
        let manifest = manifest.to_owned();
        match (asked, self.root, members.as_slice()) {
            (Some(asked), _, _) => members
                .iter()
                .find(|member| member["name"] == asked)
                .copied()
                .ok_or_else(|| BuildError::NoPackage { manifest, package: asked.to_owned(), names: names() }),
            (None, Some(root), _) if self.packages.contains_key(root) => Ok(self.packages[root]),
            (None, _, [only]) => Ok(only),
            (None, _, _) => Err(BuildError::WhichPackage { manifest, names: names() }),
        }
    }

    fn check(&self, package: &Value, target_dir: PathBuf) -> Result<Package, BuildError> {
        let name = text(&package["name"]).to_owned();
        let manifest = PathBuf::from(text(&package["manifest_path"]));
        let kinds = ["lib", "rlib", "cdylib", "dylib", "staticlib"];
        let is_library =
            |target: &Value| target["kind"].as_array().into_iter().flatten().any(|kind| kinds.contains(&text(kind)));
        let Some(library) = package["targets"].as_array().into_iter().flatten().find(|target| is_library(target))
        else {
            return Err(BuildError::NoLibrary { package: name, manifest });
        };
        let library = text(&library["name"]).replace('-', "_");
        let depends = |dependency: &Value| dependency["name"] == SDK_CRATE && dependency["kind"].is_null();
        if !package["dependencies"].as_array().into_iter().flatten().any(depends) {
            return Err(BuildError::NoSdk { package: name, manifest });
        }
        let version = Version::parse(text(&package["version"]))
            .map_err(|error| BuildError::Manifest { manifest: manifest.clone(), said: error.to_string() })?;
        let id = text(&package["id"]).to_owned();
        let compiled = self.compiled_with(&id);
        let local_dirs = compiled
            .iter()
            .filter_map(|id| self.packages.get(id))
            .filter(|package| package["source"].is_null())
            .filter_map(|package| Some(Path::new(package["manifest_path"].as_str()?).parent()?.to_owned()))
            .collect();
        Ok(Package { packages: compiled.len(), id, name, version, library, target_dir, local_dirs })
    }

    /// The package and everything it needs to be compiled; not what only its tests need.
    fn compiled_with(&self, id: &'a str) -> BTreeSet<&'a str> {
        let mut found = BTreeSet::from([id]);
        let mut open = vec![id];
        while let Some(node) = open.pop().and_then(|id| self.nodes.get(id)) {
            for dependency in node["deps"].as_array().into_iter().flatten() {
                let kinds = dependency["dep_kinds"].as_array();
                let is_compiled = kinds.into_iter().flatten().any(|kind| kind["kind"] != "dev");
                let id = text(&dependency["pkg"]);
                if is_compiled && found.insert(id) {
                    open.push(id);
                }
            }
        }
        found
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What cargo has told so far.
struct Run<'a> {
    package: &'a Package,
    ready: BTreeSet<String>,
    wasm: Option<(PathBuf, bool)>,
    errors: String,
    warnings: String,
    said: String,
}

impl Run<'_> {
    fn message(&mut self, message: &Value, progress: &mut dyn FnMut(Progress)) {
        match text(&message["reason"]) {
            "compiler-message" => {
                let rendered = text(&message["message"]["rendered"]);
                match text(&message["message"]["level"]) {
                    "warning" => self.warnings.push_str(rendered),
                    _ => self.errors.push_str(rendered),
                }
            }
            "compiler-artifact" => self.artifact(message, progress),
            _ => {}
        }
    }

    fn artifact(&mut self, message: &Value, progress: &mut dyn FnMut(Progress)) {
        let id = text(&message["package_id"]);
        let is_build_script = message["target"]["kind"][0] == "custom-build";
        if id == self.package.id && !is_build_script {
            let wasm = message["filenames"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|file| PathBuf::from(text(file)))
                .find(|file| file.extension().is_some_and(|extension| extension == "wasm"));
            if let Some(wasm) = wasm {
                self.wasm = Some((wasm, message["fresh"] == true));
            }
        }
        if !is_build_script && self.ready.insert(id.to_owned()) {
            progress(Progress::Compiled {
                package: text(&message["target"]["name"]).to_owned(),
                done: self.ready.len().min(self.package.packages),
                total: self.package.packages,
            });
        }
    }

    /// Cargo's own words: kept in case it fails, and shown where they explain a wait.
    fn status_line(&mut self, line: &str, progress: &mut dyn FnMut(Progress)) {
        let trimmed = line.trim_start();
        if ["Blocking", "Updating", "Downloading"].iter().any(|verb| trimmed.starts_with(verb)) {
            progress(Progress::Step(trimmed.to_owned()));
        }
        self.said.push_str(line);
        self.said.push('\n');
    }

    fn finish(self, success: bool) -> Result<BuiltModule, BuildError> {
        let package = self.package;
        match self.wasm {
            Some((wasm_path, fresh)) if success => Ok(BuiltModule {
                wasm_path,
                package: package.name.clone(),
                version: package.version.clone(),
                fresh,
                warnings: self.warnings,
                local_dirs: package.local_dirs.clone(),
            }),
            _ if !self.errors.is_empty() => {
                Err(BuildError::Compile { package: package.name.clone(), diagnostics: self.errors + &self.warnings })
            }
            _ => Err(BuildError::Cargo { package: package.name.clone(), said: self.said.trim_end().to_owned() }),
        }
    }
}

/// How cargo is told of a linker for the guests' target.
const LINKER_VARIABLE: &str = "CARGO_TARGET_WASM32_WASIP1_LINKER";

fn cargo_home() -> Option<PathBuf> {
    std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))
        .filter(|home| home.is_absolute())
}
