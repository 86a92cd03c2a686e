//! The control API for those who come over the network: operators, and nodes that pass on what they were asked.
//!
//! The transport has checked who they are, and they get the routes that the socket's owner gets. Invariants: they are
//! bounded in number, in idle time, and in how long they may stand still in the middle; when the node stops they end.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::{Extension, Router};
use futures_util::StreamExt;
use hyper::body::Body as _;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::channel::{Channel, STALLED};
use super::server::GRACE;
use crate::cluster::control::Visitor;

/// A connection without a request is closed after this.
const IDLE: Duration = Duration::from_secs(60);

/// Serves those who come until the node stops, so many at a time.
pub(super) async fn serve(
    mut visitors: mpsc::Receiver<Visitor>,
    at_a_time: usize,
    router: Router,
    mut stopping: watch::Receiver<bool>,
) {
    let router = router.layer(from_fn(steady));
    let mut served = JoinSet::new();
    let is_over = stopping.clone();
    loop {
        let visitor = tokio::select! {
            visitor = visitors.recv() => visitor,
            Some(_) = served.join_next() => continue,
            _ = stopping.wait_for(|stopping| *stopping) => None,
        };
        let Some(Visitor { who, connection }) = visitor else { break };
        if served.len() >= at_a_time {
            tracing::warn!(role = %who.role, name = who.name, at_a_time, "turned away: so many are served already");
            continue;
        }
        tracing::debug!(role = %who.role, name = who.name, "comes to the control API");
        match Channel::new(connection) {
            Ok(channel) => {
                let router = router.clone().layer(Extension(who.role));
                served.spawn(attend(channel, router, is_over.clone()));
            }
            Err(error) => tracing::error!(name = who.name, %error, "a connection cannot be watched"),
        }
    }
    // Whoever still has a request gets its end, if that comes soon.
    let _ = timeout(GRACE, async { while served.join_next().await.is_some() {} }).await;
}

async fn attend(channel: Channel, router: Router, mut stopping: watch::Receiver<bool>) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(IDLE);
    let connection = http.serve_connection(TokioIo::new(channel), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let is_over = async { drop(stopping.wait_for(|stopping| *stopping).await) };
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = is_over => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the control API broke");
    }
}

/// A request whose rest does not come is given up.
async fn steady(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let body = match body.is_end_stream() {
        true => body,
        false => Body::from_stream(futures_util::stream::unfold(Some(body.into_data_stream()), async |rest| {
            let mut rest = rest?;
            match timeout(STALLED, rest.next()).await {
                Ok(None) => None,
                Ok(Some(bytes)) => Some((bytes, Some(rest))),
                Err(_) => Some((Err(axum::Error::new(io::Error::from(io::ErrorKind::TimedOut))), None)),
            }
        })),
    };
    next.run(Request::from_parts(parts, body)).await
}
