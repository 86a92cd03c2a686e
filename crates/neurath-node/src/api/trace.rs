//! `POST /v1/trace`: what happens to processes, line by line.

use std::time::Duration;

use neurath_kernel::trace::Kind;
use neurath_proto::NodeId;
use tokio::sync::{mpsc, watch};

use super::error::ApiError;
use super::view::{EventView, TraceLine, TraceRequest, TracingView};
use crate::shared::now_ms;
use crate::trace::{RATE_PER_S, RATE_PER_S_MAX};
use crate::{Node, Trace, TraceOptions};

/// How often events that were left out are reported, at least.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Processes that one trace may name.
const TARGETS_MAX: usize = 1024;

/// A trace that has begun, and its first line.
pub(super) struct Begun {
    trace: Trace,
    first: TracingView,
}

/// Begins what a request asks for.
pub(super) async fn begin(node: &Node, request: TraceRequest) -> Result<Begun, ApiError> {
    let TraceRequest { targets, all, events, peer, rate_per_s } = request;
    if all != targets.is_empty() {
        return Err(ApiError::bad_request("a trace names processes in `targets`, or says `\"all\": true`"));
    }
    if targets.len() > TARGETS_MAX {
        return Err(ApiError::bad_request(format!("a trace names at most {TARGETS_MAX} processes")));
    }
    let rate_per_s = rate_per_s.unwrap_or(RATE_PER_S);
    if !(1..=RATE_PER_S_MAX).contains(&rate_per_s) {
        return Err(ApiError::bad_request(format!("`rate_per_s` is from 1 to {RATE_PER_S_MAX}")));
    }
    let kinds = events.iter().map(|name| kind(name)).collect::<Result<Vec<_>, _>>()?;
    let mut pids = Vec::new();
    for target in &targets {
        pids.push(node.info(target).await?.info.pid);
    }
    let peer = match peer {
        Some(peer) => Some(node.find(&peer).await?),
        None => None,
    };
    let named = (!all).then(|| pids.iter().map(ToString::to_string).collect());
    let trace = node.trace(TraceOptions { pids: (!all).then_some(pids), kinds, peer, rate_per_s }).await?;
    Ok(Begun { trace, first: TracingView { pids: named, rate_per_s } })
}

/// The other node that a trace is of, and the request as that one understands it.
pub(super) async fn elsewhere(node: &Node, request: &TraceRequest) -> Result<Option<(NodeId, TraceRequest)>, ApiError> {
    if request.targets.len() > TARGETS_MAX {
        return Ok(None);
    }
    let mut pids = Vec::new();
    for target in &request.targets {
        pids.push(node.find(target).await?);
    }
    let Some(there) = pids.iter().map(|pid| pid.node).find(|there| node.passes_on_to(*there)) else { return Ok(None) };
    if pids.iter().any(|pid| pid.node != there) {
        return Err(ApiError::bad_request("a trace is of processes of one node; trace the others apart"));
    }
    let peer = match &request.peer {
        Some(peer) => Some(node.find(peer).await?.to_string()),
        None => None,
    };
    let targets = pids.iter().map(ToString::to_string).collect();
    Ok(Some((there, TraceRequest { targets, peer, ..request.clone() })))
}

fn kind(name: &str) -> Result<Kind, ApiError> {
    let names = || Kind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
    let found = Kind::ALL.iter().find(|kind| kind.name() == name);
    found.copied().ok_or_else(|| ApiError::bad_request(format!("there are no events `{name}`")).hint(names()))
}

/// Writes what happens, until the reader goes or the node stops.
pub(super) async fn write(node: Node, begun: Begun, mut stopping: watch::Receiver<bool>, out: mpsc::Sender<TraceLine>) {
    let Begun { mut trace, first } = begun;
    let mut line = Some(TraceLine::Tracing(first));
    let mut report = tokio::time::interval(REPORT_EVERY);
    loop {
        if let Some(line) = line.take()
            && out.send(line).await.is_err()
        {
            return;
        }
        let left_out = trace.left_out();
        if left_out > 0 {
            line = Some(TraceLine::LeftOut(left_out));
            continue;
        }
        tokio::select! {
            event = trace.next() => match event {
                Some((at, event)) => {
                    let at_ms = now_ms().saturating_sub(node.now_ns().saturating_sub(at) / 1_000_000);
                    line = Some(TraceLine::Event(EventView::new(at_ms, event, |schema| node.type_name(schema))));
                }
                None => return,
            },
            _ = report.tick() => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
            () = out.closed() => return,
        }
    }
}
