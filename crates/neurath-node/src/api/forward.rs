//! Requests that are for another node: they are passed on to that one's control API, and its answer comes back.
//!
//! Invariants: a request is passed on once at most; nothing of it is kept here, neither of what goes nor of what comes; when
//! whoever asked goes away, the other node is told by the end of the connection.

use std::error::Error;

use axum::body::Body;
use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use neurath_proto::NodeId;

use super::channel::Channel;
use super::client::{Running, escape};
use super::error::ApiError;
use crate::{Node, NodeError};

/// The node that a request is for, by its name or id.
pub(super) const ON: HeaderName = HeaderName::from_static("neurath-on");
/// The node that passed a request on.
const PASSED_ON_BY: HeaderName = HeaderName::from_static("neurath-passed-on-by");

/// Whether a node has passed this on already.
pub(super) fn was_passed_on(headers: &HeaderMap) -> bool {
    headers.contains_key(PASSED_ON_BY)
}

/// Before all routes: what is for another node goes there.
pub(super) async fn pass_on(State(node): State<Node>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let params = RawPathParams::from_request_parts(&mut parts, &()).await.ok();
    let target = params.as_ref().and_then(|params| params.iter().find(|(name, _)| *name == "target"));
    let there = match (asked_for(&node, &parts.headers), target) {
        (Ok(None), Some((_, target))) => home_of(&node, target, &parts.uri, &parts.headers).await,
        (Ok(there), _) => Ok(there.map(|there| (there, parts.uri.clone()))),
        (Err(error), _) => Err(error),
    };
    let there = match there {
        Ok(there) => there,
        Err(error) => return ApiError::from(error).into_response(),
    };
    let Some((there, uri)) = there else { return next.run(Request::from_parts(parts, body)).await };
    let kind = parts.headers.remove(CONTENT_TYPE);
    ask(&node, there, parts.method, &uri, kind, body).await.unwrap_or_else(IntoResponse::into_response)
}

/// The other node that a request names.
fn asked_for(node: &Node, headers: &HeaderMap) -> Result<Option<NodeId>, NodeError> {
    let Some(wanted) = headers.get(ON) else { return Ok(None) };
    let there = node.find_node(&String::from_utf8_lossy(wanted.as_bytes()))?;
    if there == node.id() {
        return Ok(None);
    }
    if was_passed_on(headers) {
        let why = "another node has passed it on already";
        return Err(NodeError::NotPassedOn { name: node.name_of(there), node: there, why });
    }
    Ok(Some(there))
}

/// The other node on which a target lives, if requests can be passed on to it, and the path there: a name may be known here
/// only.
async fn home_of(
    node: &Node,
    target: &str,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Option<(NodeId, Uri)>, NodeError> {
    // Who answers the request says what is wrong with the target.
    let Ok(pid) = node.find(target).await else { return Ok(None) };
    if !node.passes_on_to(pid.node) {
        return Ok(None);
    }
    if was_passed_on(headers) {
        return Err(node.third_node(pid.to_string(), pid.node));
    }
    // `/v1/processes/{target}` and what follows.
    let rest = uri.path().splitn(5, '/').nth(4).map(|rest| format!("/{rest}")).unwrap_or_default();
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let there = format!("/v1/processes/{}{rest}{query}", escape(&pid.to_string()));
    Ok(there.parse().ok().map(|there| (pid.node, there)))
}

/// Asks another node; its answer, whatever it is.
pub(super) async fn ask(
    node: &Node,
    there: NodeId,
    method: Method,
    uri: &Uri,
    kind: Option<HeaderValue>,
    body: Body,
) -> Result<Response, ApiError> {
    let broken = |error: &dyn Error| {
        let (name, why) = (node.name_of(there), said(error));
        ApiError::from(NodeError::AnswerLost { name, node: there, why })
    };
    let channel = Channel::new(node.reach(there).await?).map_err(|error| broken(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(channel)).await.map_err(|error| broken(&error))?;
    let running = Running::new(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::builder().method(method).uri(path).header(HOST, "localhost");
    request = request.header(PASSED_ON_BY, node.id().to_string());
    if let Some(kind) = kind {
        request = request.header(CONTENT_TYPE, kind);
    }
    let request = request.body(body).map_err(ApiError::bad_request)?;
    let (answer, body) = sender.send_request(request).await.map_err(|error| broken(&error))?.into_parts();
    let body = body.map_frame(move |frame| {
        // The connection lives as long as its answer.
        let _ = &running;
        frame
    });
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = answer.status;
    if let Some(kind) = answer.headers.get(CONTENT_TYPE) {
        response.headers_mut().insert(CONTENT_TYPE, kind.clone());
    }
    Ok(response)
}

/// An error with its causes.
pub(super) fn said(error: &dyn Error) -> String {
    let (mut said, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        let why = error.to_string();
        if !said.ends_with(&why) {
            said = format!("{said}: {why}");
        }
        cause = error.source();
    }
    said
}
