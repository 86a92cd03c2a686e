//! How an operator's program, or a node, reaches the control API of a node.
//!
//! It refuses to know what is said there. Invariants: whoever answers has proved to be a node of the cluster, and the node
//! that is wanted if one is; nothing is said to anybody else.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use neurath_proto::NodeId;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::certificate::NodeKey;
use crate::credentials::{Credentials, CredentialsError};
use crate::handshake::said;
use crate::stream::{Socket, Stream};
use crate::{Connection, tls};

/// Why a program did not reach a node. Nothing was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address leads nowhere.
    #[error("`{address}` cannot be reached: {source}; check that the node runs and that nothing is in the way")]
    Unreachable {
        /// The address.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// One of the two has not proved to be whom the other wants.
    #[error("`{address}` and this program do not accept each other: {why}")]
    Refused {
        /// The address.
        address: String,
        /// Why.
        why: String,
    },
    /// The connection broke.
    #[error("the connection to `{address}` broke: {source}")]
    Broken {
        /// The address.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// Another node is there.
    #[error("at `{address}` is node {found}, not {wanted}; the address has moved to another node")]
    WrongNode {
        /// The address.
        address: String,
        /// Who should be there.
        wanted: NodeId,
        /// Who is there.
        found: NodeId,
    },
    /// The cryptography fails here.
    #[error("TLS cannot begin: {0}; this is a fault of Neurath")]
    Local(String),
}

/// Makes connections to the control API of nodes, as one member of the cluster.
pub struct ControlDialer {
    config: Arc<ClientConfig>,
}

impl ControlDialer {
    /// What one with this key and these credentials uses, an operator or a node.
    ///
    /// # Errors
    /// The key is another's, or the certificate cannot be used.
    pub fn new(key: &NodeKey, credentials: &Credentials) -> Result<Self, CredentialsError> {
        Ok(Self { config: tls::control(key, credentials)? })
    }

    /// Connects with the node at an address, which must be `wanted` if one is. It blocks, at most for about the time that
    /// is given; the connection does not.
    ///
    /// # Errors
    /// The node is not reached, is none of the cluster, or another. That it does not let this program in may also be seen
    /// by the first read only.
    pub fn dial(
        &self,
        address: &str,
        wanted: Option<NodeId>,
        at_most: Duration,
    ) -> Result<Box<dyn Connection>, ConnectError> {
        let broken = |source| ConnectError::Broken { address: address.into(), source };
        let StreamOwned { conn, sock } = connect(self.config.clone(), address, at_most)?;
        let found = tls::peer(conn.peer_certificates()).map(|node| node.identity);
        let found = found.ok_or_else(|| broken(ErrorKind::InvalidData.into()))?;
        if let Some(wanted) = wanted.filter(|wanted| *wanted != found) {
            return Err(ConnectError::WrongNode { address: address.into(), wanted, found });
        }
        sock.set_nonblocking(true).map_err(broken)?;
        let socket = Socket::Tcp(mio::net::TcpStream::from_std(sock));
        socket.keep_alive().map_err(broken)?;
        let mut stream = Stream::secured(socket, conn.into());
        stream.peer = found;
        Ok(Box::new(stream))
    }
}

/// A connection that blocks, with the handshake done. Each read and write may take the time that was left.
pub(crate) fn connect(
    config: Arc<ClientConfig>,
    address: &str,
    at_most: Duration,
) -> Result<StreamOwned<ClientConnection, TcpStream>, ConnectError> {
    let unreachable = |source| ConnectError::Unreachable { address: address.into(), source };
    let until = Instant::now() + at_most;
    let mut error = io::Error::from(ErrorKind::AddrNotAvailable);
    let mut found = None;
    for candidate in address.to_socket_addrs().map_err(unreachable)? {
        match connect_one(candidate, until) {
            Ok(socket) => {
                found = Some(socket);
                break;
            }
            Err(e) => error = e,
        }
    }
    let mut socket = found.ok_or(error).map_err(unreachable)?;
    let mut client = ClientConnection::new(config, tls::any_name()).map_err(|e| ConnectError::Local(e.to_string()))?;
    while client.is_handshaking() {
        client.complete_io(&mut socket).map_err(|e| {
            match e.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(tls) => ConnectError::Refused { address: address.into(), why: said(tls) },
                // This is how a socket says that its time is over.
                None if e.kind() == ErrorKind::WouldBlock => unreachable(ErrorKind::TimedOut.into()),
                None => ConnectError::Broken { address: address.into(), source: e },
            }
        })?;
    }
    Ok(StreamOwned::new(client, socket))
}

fn connect_one(address: SocketAddr, until: Instant) -> io::Result<TcpStream> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(ErrorKind::TimedOut.into());
    }
    let socket = TcpStream::connect_timeout(&address, left)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(left))?;
    socket.set_write_timeout(Some(left))?;
    Ok(socket)
}
