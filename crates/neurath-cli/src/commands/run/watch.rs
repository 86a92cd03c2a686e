//! [`Watch`]: says when a source file was saved.
//!
//! Invariant: what a build writes is not taken for a change.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use crate::failure::Failure;

/// An editor writes a file in several steps; they are over when nothing has happened for so long.
const QUIET: Duration = Duration::from_millis(25);

/// See the module.
pub(super) struct Watch {
    watcher: RecommendedWatcher,
    saved: mpsc::Receiver<Instant>,
    dirs: BTreeSet<PathBuf>,
}

impl Watch {
    /// Watches the crate in a directory.
    pub(super) fn new(dir: &Path) -> Result<Self, Failure> {
        let (sender, saved) = mpsc::channel(64);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| is_a_change(&event)) {
                // When it is full there is enough to wake up for.
                let _ = sender.try_send(Instant::now());
            }
        });
        let watcher = watcher.map_err(|error| failed(dir, &error))?;
        let mut watch = Self { watcher, saved, dirs: BTreeSet::new() };
        watch.also(&[dir.to_owned()])?;
        Ok(watch)
    }

    /// Watches these crates too.
    pub(super) fn also(&mut self, dirs: &[PathBuf]) -> Result<(), Failure> {
        for dir in dirs {
            let dir = dir.canonicalize().unwrap_or_else(|_| dir.clone());
            if !self.dirs.insert(dir.clone()) {
                continue;
            }
            let source = dir.join("src");
            let watched = self.watcher.watch(&dir, RecursiveMode::NonRecursive).and_then(|()| match source.is_dir() {
                true => self.watcher.watch(&source, RecursiveMode::Recursive),
                false => Ok(()),
            });
            watched.map_err(|error| failed(&dir, &error))?;
        }
        Ok(())
    }

    /// When the first of the files was saved that were saved together.
    pub(super) async fn next(&mut self) -> Instant {
        let Some(first) = self.saved.recv().await else { return std::future::pending().await };
        while let Ok(Some(_)) = tokio::time::timeout(QUIET, self.saved.recv()).await {}
        first
    }
}

fn is_a_change(event: &Event) -> bool {
    let kind = matches!(event.kind, EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_));
    kind && event.paths.iter().any(|path| is_source(path))
}

/// Sources and manifests; lock files are written by builds.
fn is_source(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    let in_source = path.parent().is_some_and(|dir| dir.components().any(|part| part.as_os_str() == "src"));
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let written_by_editors = path.to_string_lossy().ends_with('~') || ["swp", "swx", "tmp"].contains(&extension);
    !hidden && !written_by_editors && (extension == "rs" || extension == "toml" || in_source && !extension.is_empty())
}

fn failed(path: &Path, error: &notify::Error) -> Failure {
    let failure = Failure::new(format!("{} cannot be watched: {error}", path.display()));
    match error.kind {
        notify::ErrorKind::MaxFilesWatch => failure.help("raise fs.inotify.max_user_watches"),
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_and_editors_write_files_that_are_no_changes() {
        for path in ["c/src/lib.rs", "c/Cargo.toml", "c/build.rs", "c/src/table.csv"] {
            assert!(is_source(Path::new(path)), "{path}");
        }
        for path in ["c/Cargo.lock", "c/target", "c/src/.lib.rs.swp", "c/src/lib.rs~", "c/src/4913", "c/notes.txt"] {
            assert!(!is_source(Path::new(path)), "{path}");
        }
    }
}
