//! The socket's place in the file system.
//!
//! Invariants: the socket appears under its name with mode 0600 already; a socket that someone listens on is never
//! replaced; a socket is removed only by the node that made it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// The name of the socket in the node's data directory.
pub const SOCKET_NAME: &str = "control.sock";

/// Addresses of Unix sockets are at least this long everywhere, the final zero included.
const ADDRESS_MAX: usize = 104;

/// Why there is no socket to listen on.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another node answers there.
    #[error("another node listens on {}: stop it with `neurath stop`, or use another data directory", path.display())]
    Live {
        /// The socket.
        path: PathBuf,
    },
    /// Something else has the name.
    #[error("{} is no socket: move it away, the node needs that name for its control socket", path.display())]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// Metrics cannot be served where the configuration says.
    #[error("cannot listen on {address}, which is `listen` below `[metrics]` of the configuration: {source}")]
    Metrics {
        /// Where.
        address: std::net::SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The system refuses.
    #[error("cannot make the control socket: {}: {source}", path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// A socket in the file system; it is removed when this goes, unless another has taken its place.
#[derive(Debug)]
pub(super) struct BoundSocket {
    pub(super) path: PathBuf,
    made: (u64, u64),
}

impl Drop for BoundSocket {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.made) {
            // Whoever starts next replaces what cannot be removed now.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens in a data directory.
pub(super) fn bind(data: &Path) -> Result<(UnixListener, BoundSocket), SocketError> {
    let path = data.join(SOCKET_NAME);
    refuse_if_taken(&path)?;
    // Made in a directory of its own and moved: under its name nobody ever sees it with another mode.
    let cradle = data.join(format!(".control-{}", std::process::id()));
    let made = bind_in(&cradle, &path);
    let _ = fs::remove_dir_all(&cradle);
    made.map_err(|source| SocketError::Io { path, source })
}

fn bind_in(cradle: &Path, path: &Path) -> io::Result<(UnixListener, BoundSocket)> {
    match fs::remove_dir_all(cradle) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => fs::DirBuilder::new().mode(0o700).create(cradle)?,
    }
    let socket = cradle.join("s");
    let short = Address::of(&socket)?;
    let listener = UnixListener::bind(&short.path)?;
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    let found = fs::symlink_metadata(&socket)?;
    fs::rename(&socket, path)?;
    Ok((listener, BoundSocket { path: path.to_owned(), made: (found.dev(), found.ino()) }))
}

/// That a socket could be made there.
pub(super) fn refuse_if_taken(path: &Path) -> Result<(), SocketError> {
    let failed = |source| SocketError::Io { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => return Err(SocketError::NotASocket { path: path.to_owned() }),
        Ok(_) => {}
    }
    let short = Address::of(path).map_err(failed)?;
    match UnixStream::connect(&short.path) {
        Ok(_) => Err(SocketError::Live { path: path.to_owned() }),
        // Nobody listens: its node is dead.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

/// A path that fits into a socket's address.
pub(super) struct Address {
    pub(super) path: PathBuf,
    /// The directory that a shortened path goes through.
    _directory: Option<File>,
}

impl Address {
    /// The path itself, or where that is too long and the system can do it, one through an open directory.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        if path.as_os_str().len() < ADDRESS_MAX || !cfg!(target_os = "linux") {
            return Ok(Self { path: path.to_owned(), _directory: None });
        }
        use std::os::fd::AsRawFd;
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let directory = File::open(parent)?;
        let path = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
        Ok(Self { path, _directory: Some(directory) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_its_owners_alone_and_goes_with_its_node() {
        let data = tempfile::tempdir().unwrap();
        let (listener, bound) = bind(data.path()).unwrap();
        let mode = fs::metadata(&bound.path).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 1, "nothing else is left");
        drop(bound);
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 0);
        drop(listener);
    }

    #[test]
    fn a_living_nodes_socket_is_refused_and_a_dead_ones_replaced() {
        let data = tempfile::tempdir().unwrap();
        let (listener, first) = bind(data.path()).unwrap();
        let error = bind(data.path()).unwrap_err();
        assert!(matches!(error, SocketError::Live { .. }), "{error}");
        drop(listener);
        let (_listener, second) = bind(data.path()).unwrap();
        drop(first);
        assert!(second.path.exists(), "the first owner leaves the second's socket alone");
    }

    #[test]
    fn a_file_of_that_name_is_left_alone() {
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join(SOCKET_NAME), "mine").unwrap();
        let error = bind(data.path()).unwrap_err();
        assert!(matches!(error, SocketError::NotASocket { .. }), "{error}");
        assert_eq!(fs::read_to_string(data.path().join(SOCKET_NAME)).unwrap(), "mine");
    }

    #[test]
    fn a_long_path_is_no_obstacle() {
        let data = tempfile::tempdir().unwrap();
        let deep = data.path().join("d".repeat(120));
        fs::create_dir(&deep).unwrap();
        let (_listener, bound) = bind(&deep).unwrap();
        let short = Address::of(&bound.path).unwrap();
        UnixStream::connect(&short.path).unwrap();
    }
}
