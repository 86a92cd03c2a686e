//! Metrics over HTTP: on the control socket, and if the configuration says so at a TCP address for everyone.
//!
//! Invariant: at that address there is nothing but metrics.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::socket::SocketError;
use crate::Node;
use crate::metrics;

/// What `GET /metrics` is answered.
pub(super) async fn answer(node: &Node) -> Response {
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], node.metrics().await).into_response()
}

/// Listens at the address.
pub(super) fn bind(address: SocketAddr) -> Result<TcpListener, SocketError> {
    let failed = |source| SocketError::Metrics { address, source };
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    TcpListener::from_std(listener).map_err(failed)
}

/// Serves metrics until the node is to stop.
pub(super) async fn serve(node: Node, listener: TcpListener, mut stopping: watch::Receiver<bool>) {
    let router =
        Router::new().route("/metrics", get(async |State(node): State<Node>| answer(&node).await)).with_state(node);
    let serving = axum::serve(listener, router).with_graceful_shutdown(async move {
        // It is also over when the server is gone.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    });
    if let Err(error) = serving.await {
        tracing::error!(%error, "metrics are served no more");
    }
}
