//! [`ControlServer`]: the socket of a node, and those who come over the network, served until the node is to stop.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;

use super::socket::{BoundSocket, SOCKET_NAME, SocketError, bind, refuse_if_taken};
use super::{metrics, rest, visitors};
use crate::{Node, NodeConfig};

/// Requests that run when the node is to stop may take this long to end.
pub(super) const GRACE: Duration = Duration::from_secs(1);

/// See the module.
pub struct ControlServer {
    node: Node,
    listener: UnixListener,
    socket: BoundSocket,
    metrics: Option<TcpListener>,
    stopping: watch::Sender<bool>,
}

/// Looks whether a node could be served, before its start does what cannot be done again.
///
/// # Errors
/// As those of [`ControlServer::bind`].
pub(crate) fn check(config: &NodeConfig) -> Result<(), SocketError> {
    refuse_if_taken(&config.data.join(SOCKET_NAME))?;
    config.metrics_listen.map_or(Ok(()), |address| metrics::listen(address).map(drop))
}

impl ControlServer {
    /// Listens on the socket in the node's data directory; requests wait until [`serve`](Self::serve).
    ///
    /// It must be called within a tokio runtime.
    ///
    /// # Errors
    /// Another node listens there, or the socket cannot be made.
    pub fn bind(node: Node) -> Result<Self, SocketError> {
        let (listener, socket) = bind(&node.config().data)?;
        let listener =
            UnixListener::from_std(listener).map_err(|source| SocketError::Io { path: socket.path.clone(), source })?;
        let metrics = node.config().metrics_listen.map(metrics::bind).transpose()?;
        Ok(Self { node, listener, socket, metrics, stopping: watch::Sender::new(false) })
    }

    /// Where metrics are served to everyone, if anywhere.
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics.as_ref()?.local_addr().ok()
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        &self.socket.path
    }

    /// Serves until `until` is ready or a request asks the node to stop. The node itself is left running.
    ///
    /// # Errors
    /// The system fails to accept connections.
    pub async fn serve(self, until: impl Future<Output = ()> + Send) -> io::Result<()> {
        let Self { node, listener, socket: _socket, metrics, stopping } = self;
        if let Some(listener) = metrics {
            tokio::spawn(metrics::serve(node.clone(), listener, stopping.subscribe()));
        }
        let mut stop = stopping.subscribe();
        let mut stop_accepting = stopping.subscribe();
        let (from_network, at_a_time) = (node.visitors(), node.config().api.visitors);
        let router = rest::router(node, stopping.clone());
        let from_network = async {
            if let Some(from_network) = from_network {
                visitors::serve(from_network, at_a_time, router.clone(), stopping.subscribe()).await;
            }
        };
        let on_socket = axum::serve(listener, router.clone()).with_graceful_shutdown(async move {
            // It is also over when nobody can ask any more.
            let _ = stop_accepting.wait_for(|stopping| *stopping).await;
        });
        let stopped = async {
            tokio::select! {
                () = until => {}
                _ = stop.wait_for(|stopping| *stopping) => {}
            }
            stopping.send_replace(true);
            tokio::time::sleep(GRACE).await;
        };
        let serving = async { tokio::join!(on_socket.into_future(), from_network).0 };
        tokio::select! {
            served = serving => served,
            () = stopped => Ok(()),
        }
    }
}
