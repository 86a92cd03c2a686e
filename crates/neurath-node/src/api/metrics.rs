//! Metrics over HTTP: on the control socket, and if the configuration says so at a TCP address for everyone.
//!
//! Invariant: at that address there is nothing but metrics, and whoever comes there costs the node little: so many connections
//! at a time, one request on each, within a bounded time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::socket::SocketError;
use crate::Node;
use crate::metrics;

/// Connections at a time; the next one waits.
const CONNECTIONS_MAX: usize = 16;

/// A request and its answer take at most this long.
const REQUEST_TIME: Duration = Duration::from_secs(10);

/// The pause after the system refused a connection, perhaps because it has no more.
const PAUSE: Duration = Duration::from_secs(1);

/// What `GET /metrics` is answered.
pub(super) async fn answer(node: &Node) -> Response {
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], node.metrics().await).into_response()
}

/// Listens at the address, for [`serve`].
pub(super) fn bind(address: SocketAddr) -> Result<TcpListener, SocketError> {
    let failed = |source| SocketError::Metrics { address, source };
    let listener = listen(address)?;
    listener.set_nonblocking(true).map_err(failed)?;
    TcpListener::from_std(listener).map_err(failed)
}

/// Takes the address; nobody is served.
pub(super) fn listen(address: SocketAddr) -> Result<std::net::TcpListener, SocketError> {
    std::net::TcpListener::bind(address).map_err(|source| SocketError::Metrics { address, source })
}

/// Serves metrics until the node is to stop.
pub(super) async fn serve(node: Node, listener: TcpListener, mut stopping: watch::Receiver<bool>) {
    let answer = get(async |State(node): State<Node>| answer(&node).await);
    let service = TowerToHyperService::new(Router::new().route("/metrics", answer).with_state(node));
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let next = async {
            let place = room.clone().acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            next = next => next,
            // It is also over when the server is gone.
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a reader of metrics could not connect");
                sleep(PAUSE).await;
                continue;
            }
        };
        let service = service.clone();
        tokio::spawn(async move {
            let _place = place;
            let serving = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service);
            // A reader that breaks off, or is too slow, has only itself to blame.
            let _ = timeout(REQUEST_TIME, serving).await;
        });
    }
}
