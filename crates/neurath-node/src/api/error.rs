//! Errors as the API shows them: `{"error": {"code", "message", "hint", "examples"}}` and a fitting status.
//!
//! Invariant: a code never changes its meaning; messages are for people and may.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use neurath_code::store::{GetError, PutError, RemoveError};
use neurath_engine::PrepareError;
use neurath_proto::reason::CallError;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::NodeError;

/// The body of every answer that is no success.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorView,
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorView {
    /// For programs: a word of `docs/control-api.md`.
    pub code: String,
    /// For people.
    pub message: String,
    /// What to do next, where the message does not say it.
    pub hint: Option<String>,
    /// JSON that would have been taken, where JSON was not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Value>,
}

/// An error on its way out.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    pub(super) view: ErrorView,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &str, message: impl ToString) -> Self {
        let message = shortened(&message.to_string());
        let view = ErrorView { code: code.into(), message, hint: None, examples: Vec::new() };
        Self { status, view }
    }

    pub(super) fn bad_request(message: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.view.hint = Some(hint.into());
        self
    }

    pub(super) fn examples(mut self, examples: Vec<Value>) -> Self {
        self.view.examples = examples;
        self
    }

    /// Whether JSON had the wrong shape, so that examples would help.
    pub(super) fn is_about_json(&self) -> bool {
        self.view.code == "wrong_json"
    }
}

/// A message without what nobody reads: requests may be large, and errors name what was in them.
fn shortened(message: &str) -> String {
    const WORD_MAX: usize = 256;
    const MAX: usize = 16 << 10;
    let cut = |text: &str, max: usize| match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    };
    let words = message.split_inclusive(char::is_whitespace).map(|word| cut(word, WORD_MAX));
    cut(&words.collect::<String>(), MAX)
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, axum::Json(ErrorBody { error: self.view })).into_response()
    }
}

impl From<NodeError> for ApiError {
    fn from(error: NodeError) -> Self {
        let (status, code) = classify(&error);
        if status.is_server_error() {
            tracing::warn!(code, %error, "a request failed");
        }
        Self::new(status, code, error)
    }
}

fn classify(error: &NodeError) -> (StatusCode, &'static str) {
    use StatusCode as S;
    match error {
        NodeError::ModuleRef(_) => (S::BAD_REQUEST, "bad_module_ref"),
        NodeError::ModuleName(_) | NodeError::ModuleVersion { .. } => (S::UNPROCESSABLE_ENTITY, "bad_module_name"),
        NodeError::Get(error) => get(error),
        NodeError::Put(PutError::Conflict { .. } | PutError::DevelopmentHash { .. }) => (S::CONFLICT, "version_taken"),
        NodeError::Put(PutError::TooLarge { .. }) => (S::PAYLOAD_TOO_LARGE, "too_large"),
        NodeError::Put(_) | NodeError::Index(_) => (S::INTERNAL_SERVER_ERROR, "store"),
        NodeError::Read(_) => (S::INTERNAL_SERVER_ERROR, "artifact_damaged"),
        NodeError::Remove(RemoveError::Get(error)) => get(error),
        NodeError::Remove(RemoveError::Pinned { .. } | RemoveError::Current { .. }) => (S::CONFLICT, "in_use"),
        NodeError::Remove(_) => (S::INTERNAL_SERVER_ERROR, "store"),
        NodeError::Prepare(error) => (S::UNPROCESSABLE_ENTITY, prepare(error)),
        NodeError::Compile(_) => (S::UNPROCESSABLE_ENTITY, "not_compiled"),
        NodeError::Types(_) => (S::INSUFFICIENT_STORAGE, "too_many_types"),
        NodeError::UnknownEntry { .. } => (S::NOT_FOUND, "unknown_entry"),
        NodeError::WhichEntry { .. } => (S::BAD_REQUEST, "which_entry"),
        NodeError::NoFunction { .. } => (S::UNPROCESSABLE_ENTITY, "no_function"),
        NodeError::Json { .. } => (S::UNPROCESSABLE_ENTITY, "wrong_json"),
        NodeError::TooLarge { .. } => (S::PAYLOAD_TOO_LARGE, "too_large"),
        NodeError::UnknownProcess(_) => (S::NOT_FOUND, "unknown_process"),
        NodeError::OtherLife { .. } => (S::NOT_FOUND, "unknown_process"),
        NodeError::ThirdNode { .. } => (S::MISDIRECTED_REQUEST, "other_node"),
        NodeError::ElsewhereProcess { .. } => (S::MISDIRECTED_REQUEST, "other_node"),
        NodeError::NotPassedOn { .. } => (S::MISDIRECTED_REQUEST, "other_node"),
        NodeError::UnknownNodeName(_) => (S::NOT_FOUND, "unknown_node"),
        NodeError::NodeAway { .. } => (S::SERVICE_UNAVAILABLE, "node_unreachable"),
        NodeError::AnswerLost { .. } | NodeError::Call(CallError::AnswerLost(_)) => (S::BAD_GATEWAY, "answer_lost"),
        NodeError::UnknownNode { .. } => (S::NOT_FOUND, "unknown_process"),
        NodeError::TakesNone { .. } => (S::UNPROCESSABLE_ENTITY, "takes_none"),
        NodeError::Call(CallError::TimedOut) => (S::GATEWAY_TIMEOUT, "timed_out"),
        NodeError::Call(CallError::Down(_)) => (S::BAD_GATEWAY, "callee_ended"),
        NodeError::Call(CallError::Mismatch { .. }) => (S::UNPROCESSABLE_ENTITY, "mismatch"),
        NodeError::Call(CallError::NotSent(_)) => (S::SERVICE_UNAVAILABLE, "not_sent"),
        NodeError::Call(CallError::Copied) => (S::CONFLICT, "copied"),
        NodeError::Answer(_) => (S::INTERNAL_SERVER_ERROR, "answer_unreadable"),
        NodeError::NotSpawned(_) => (S::UNPROCESSABLE_ENTITY, "not_spawned"),
        NodeError::PlanRefused { .. } => (S::CONFLICT, "plan_refused"),
        NodeError::InUse(..) => (S::CONFLICT, "in_use"),
        NodeError::NoCluster | NodeError::NoAuthority => (S::CONFLICT, "no_cluster"),
        NodeError::Authority(_) => (S::INTERNAL_SERVER_ERROR, "authority"),
        NodeError::TooManyTraces { .. } => (S::TOO_MANY_REQUESTS, "too_many_traces"),
        NodeError::Stopping => (S::SERVICE_UNAVAILABLE, "stopping"),
    }
}

fn get(error: &GetError) -> (StatusCode, &'static str) {
    match error {
        GetError::AmbiguousHash { .. } => (StatusCode::BAD_REQUEST, "ambiguous_hash"),
        GetError::Index(_) => (StatusCode::INTERNAL_SERVER_ERROR, "store"),
        _ => (StatusCode::NOT_FOUND, "unknown_module"),
    }
}

fn prepare(error: &PrepareError) -> &'static str {
    match error {
        PrepareError::NotWasm { .. } => "not_wasm",
        PrepareError::NoManifest => "no_manifest",
        PrepareError::Damaged => "damaged",
        PrepareError::Manifest { .. } => "bad_manifest",
        PrepareError::Import { .. } => "unknown_import",
        PrepareError::Export { .. } => "bad_export",
        PrepareError::TooLarge { .. } => "too_large",
        PrepareError::Invalid { .. } | PrepareError::Refused { .. } => "invalid_module",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_not_sent_back_whole() {
        let short = "no process `tally`;\n  look at `neurath ps`";
        assert_eq!(shortened(short), short);
        let long = shortened(&format!("no process `{}`; look", "ü".repeat(100_000)));
        assert!(long.len() < 700 && long.contains("bytes)") && long.ends_with("look"), "{long}");
        assert!(shortened(&"so many words ".repeat(10_000)).len() < 20_000);
    }
}
