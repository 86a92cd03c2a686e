//! Answers that come line by line: JSON objects, one a line (`application/x-ndjson`).
//!
//! Invariant: a reader that stops reading or goes away stops the writer too; nothing is queued without bound.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::sync::{broadcast, mpsc, watch};

use super::view::LogView;
use crate::{LogLine, Node};

/// Lines that may wait for a slow reader.
const LINES_WAITING: usize = 256;

/// An answer, and where its lines go.
pub(super) fn lines<T: Serialize + Send + 'static>() -> (mpsc::Sender<T>, Response) {
    let (sender, receiver) = mpsc::channel::<T>(LINES_WAITING);
    let stream = futures_util::stream::unfold(receiver, |mut receiver| async {
        let line = receiver.recv().await?;
        let text = serde_json::to_vec(&line).map(|mut text| {
            text.push(b'\n');
            text
        });
        Some((text, receiver))
    });
    let response = ([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(stream)).into_response();
    (sender, response)
}

/// Which lines of the log are wanted.
#[derive(Clone, Copy, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LogQuery {
    /// Those with a larger number.
    after: u64,
    /// Of those that there are, only so many, the latest.
    last: usize,
    /// And those that come.
    follow: bool,
}

impl Default for LogQuery {
    fn default() -> Self {
        Self { after: 0, last: usize::MAX, follow: false }
    }
}

/// Writes the lines that are wanted, until the reader goes or the node stops.
pub(super) async fn write_logs(
    node: Node,
    query: LogQuery,
    mut stopping: watch::Receiver<bool>,
    out: mpsc::Sender<LogView>,
) {
    // Before what there is, so that nothing falls between.
    let mut live = node.logs().follow();
    let mut newest = query.after;
    let there_are = node.logs().since(newest);
    let skipped = there_are.len().saturating_sub(query.last);
    if write(&out, &mut newest, there_are.into_iter().skip(skipped)).await.is_none() || !query.follow {
        return;
    }
    loop {
        let next = tokio::select! {
            next = live.recv() => next,
            _ = stopping.wait_for(|stopping| *stopping) => return,
            () = out.closed() => return,
        };
        let written = match next {
            Ok(line) if line.number <= newest => Some(()),
            Ok(line) if line.number == newest + 1 => write(&out, &mut newest, [line]).await,
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {
                let missed = node.logs().since(newest);
                write(&out, &mut newest, missed).await
            }
            Err(broadcast::error::RecvError::Closed) => None,
        };
        if written.is_none() {
            return;
        }
    }
}

async fn write(out: &mpsc::Sender<LogView>, newest: &mut u64, lines: impl IntoIterator<Item = LogLine>) -> Option<()> {
    for line in lines {
        *newest = line.number;
        out.send(line.into()).await.ok()?;
    }
    Some(())
}
