//! The routes. Each handler reads a request, calls the node once, and shows what it says.

use std::time::Duration;

use axum::Extension;
use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use neurath_code::store::ARTIFACT_MAX_BYTES;
use neurath_net::Role;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::watch;

use super::PROCESSES_DEFAULT;
use super::error::ApiError;
use super::forward;
use super::stream::{LogQuery, lines, write_logs};
use super::view::{
    AnswerView, CallRequest, DeathsView, GroupView, GroupsView, InvitationView, InviteRequest, ModuleInfoView,
    ModuleView, ModulesView, NodeView, NodesView, PidView, ProcessInfoView, ProcessView, ProcessesView, RefusalView,
    RefusalsView, RemovedView, RunRequest, SendRequest, ShardsView, SpawnRequest, StoppingView, TraceRequest,
    UnconfirmedView, UpgradeCountsView, UpgradeLine, UpgradeRequest, UpgradeView, UpgradesView, takes,
};
use crate::shared::now_ms;
use crate::{InstallOptions, Node, NodeError, ProcessDetails, UpgradeOptions};

#[derive(Clone)]
struct Api {
    node: Node,
    stopping: watch::Sender<bool>,
}

type Answer<T> = Result<Json<T>, ApiError>;

pub(super) fn router(node: Node, stopping: watch::Sender<bool>) -> Router {
    let takes_module = || DefaultBodyLimit::max(ARTIFACT_MAX_BYTES as usize);
    let modules = get(list_modules).post(install).put(install).layer(takes_module());
    let plan = post(plan_upgrade).layer(takes_module());
    let request_bytes = node.config().api.request_bytes;
    Router::new()
        .route("/v1/node", get(show_node))
        .route("/v1/processes", get(list_processes).post(spawn))
        .route("/v1/processes/{target}", get(show_process).delete(kill))
        .route("/v1/processes/{target}/send", post(send))
        .route("/v1/processes/{target}/call", post(call))
        .route("/v1/run", post(run))
        .route("/v1/modules", modules)
        .route("/v1/modules/{reference}", get(show_module).delete(uninstall))
        .route("/v1/upgrades", get(list_upgrades).post(upgrade))
        .route("/v1/upgrades/plan", plan)
        .route("/v1/logs", get(logs))
        .route("/v1/refusals", get(list_refusals))
        .route("/v1/deaths", get(list_deaths))
        .route("/v1/nodes", get(list_nodes))
        .route("/v1/unconfirmed", get(list_unconfirmed))
        .route("/v1/groups", get(list_groups))
        .route("/v1/cluster/invitations", post(invite))
        .route("/v1/shards", get(show_shards))
        .route("/v1/trace", post(trace))
        .route("/metrics", get(metrics))
        .route("/v1/stop", post(stop))
        .fallback(async || ApiError::new(StatusCode::NOT_FOUND, "no_such_route", "there is no such route").hint(SEE))
        .method_not_allowed_fallback(async || {
            let message = "the route has no such method";
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "no_such_method", message).hint(SEE)
        })
        .layer(DefaultBodyLimit::max(request_bytes))
        .layer(from_fn_with_state(node.clone(), forward::pass_on))
        .with_state(Api { node, stopping })
}

const SEE: &str = "docs/control-api.md lists the routes";

// ---- the node ----

async fn show_node(State(Api { node, .. }): State<Api>) -> Json<NodeView> {
    let (committed, rolled_back) = node.upgrade_counts();
    Json(NodeView {
        id: node.id().to_string(),
        incarnation: node.incarnation().0,
        version: env!("CARGO_PKG_VERSION").into(),
        os_pid: std::process::id(),
        data: node.config().data.display().to_string(),
        shards: node.config().shards,
        processes: node.processes().await.len(),
        ended: node.ended_count(),
        upgrades: UpgradeCountsView { committed, rolled_back },
    })
}

async fn show_shards(State(Api { node, .. }): State<Api>) -> Json<ShardsView> {
    let shards = node.shard_loads().await.into_iter().map(Into::into).collect();
    Json(ShardsView { uptime_ms: node.now_ns() / 1_000_000, shards })
}

async fn metrics(State(Api { node, .. }): State<Api>) -> Response {
    super::metrics::answer(&node).await
}

// ---- other nodes ----

async fn list_nodes(State(Api { node, .. }): State<Api>) -> Json<NodesView> {
    Json(NodesView { nodes: node.nodes().await.into_iter().map(Into::into).collect() })
}

async fn list_unconfirmed(State(Api { node, .. }): State<Api>) -> Json<UnconfirmedView> {
    let (count, latest) = node.unconfirmed();
    Json(UnconfirmedView { count, latest: latest.into_iter().map(Into::into).collect() })
}

async fn list_groups(State(Api { node, .. }): State<Api>) -> Json<GroupsView> {
    let groups = node
        .groups()
        .await
        .into_iter()
        .map(|(name, members)| GroupView { name, members: members.iter().map(ToString::to_string).collect() });
    Json(GroupsView { groups: groups.collect() })
}

/// Invitations count in seconds.
const INVITATION_MS_MIN: u64 = 1000;

async fn invite(
    State(Api { node, .. }): State<Api>,
    role: Option<Extension<Role>>,
    ABody(request): ABody<InviteRequest>,
) -> Answer<InvitationView> {
    // With it a node could make members that outlive its own membership.
    if let Some(Extension(Role::Node)) = role {
        let message = "invitations are not passed on";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "not_for_nodes", message).hint(
            "ask the node that holds the cluster's authority itself, on its machine or as an operator with `--at`",
        ));
    }
    if request.valid_ms < INVITATION_MS_MIN {
        let message = format!("`valid_ms` is at least {INVITATION_MS_MIN}: nobody could use the invitation");
        return Err(ApiError::bad_request(message));
    }
    Ok(Json(InvitationView { token: node.invite(Duration::from_millis(request.valid_ms))? }))
}

async fn stop(State(Api { stopping, .. }): State<Api>) -> Json<StoppingView> {
    stopping.send_replace(true);
    Json(StoppingView { stopping: true })
}

// ---- processes ----

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProcessQuery {
    module: Option<String>,
    #[serde(default = "processes_default")]
    limit: usize,
    sort: Option<Sort>,
}

/// What comes first in a listing of processes.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Sort {
    /// Most messages that wait.
    Mailbox,
    /// Most bytes.
    Memory,
    /// Most time that it has computed.
    Cpu,
    /// Most messages that it has sent and received.
    Messages,
}

impl Sort {
    fn of(self, details: &ProcessDetails) -> u64 {
        match self {
            Self::Mailbox => u64::from(details.info.mailbox),
            Self::Memory => details.footprint.map_or(0, |footprint| footprint.bytes),
            Self::Cpu => details.cpu_ns,
            Self::Messages => details.info.counts.sent + details.info.counts.received,
        }
    }
}

fn processes_default() -> usize {
    PROCESSES_DEFAULT
}

async fn list_processes(
    State(Api { node, .. }): State<Api>,
    AQuery(ProcessQuery { module, limit, sort }): AQuery<ProcessQuery>,
) -> Answer<ProcessesView> {
    let wanted = |program: &str| {
        let Some(module) = &module else { return true };
        program == module || program.split_once('@').is_some_and(|(name, _)| name == module)
    };
    let mut all = node.processes().await;
    all.retain(|details| wanted(&details.info.program));
    let total = all.len();
    if let Some(sort) = sort {
        all.sort_by_key(|details| std::cmp::Reverse(sort.of(details)));
    }
    all.truncate(limit.min(node.config().api.processes));
    Ok(Json(ProcessesView { total, processes: all.into_iter().map(ProcessView::from).collect() }))
}

async fn show_process(State(Api { node, .. }): State<Api>, APath(target): APath) -> Answer<ProcessInfoView> {
    let details = node.info(&target).await?;
    let (program, entry) = (details.info.program.clone(), details.info.entry.clone());
    let manifest = node.manifest(&program).await?;
    let takes = manifest.entry(&entry).map(takes).unwrap_or_default();
    Ok(Json(ProcessInfoView { process: details.into(), takes }))
}

async fn spawn(
    State(Api { node, .. }): State<Api>,
    ABody(request): ABody<SpawnRequest>,
) -> Result<(StatusCode, Json<PidView>), ApiError> {
    let SpawnRequest { module, entry, arguments } = request;
    match node.spawn(&module, entry.as_deref(), &arguments).await {
        Ok(pid) => Ok((StatusCode::CREATED, Json(PidView { pid: pid.to_string() }))),
        Err(error) => Err(with_arguments(&node, &module, entry.as_deref(), error).await),
    }
}

async fn run(State(Api { node, .. }): State<Api>, ABody(request): ABody<RunRequest>) -> Answer<AnswerView> {
    let RunRequest { module, entry, arguments, within_ms } = request;
    let within = within(&node, "within_ms", within_ms)?.unwrap_or(node.config().api.call_within_max);
    match node.run(&module, entry.as_deref(), &arguments, within).await {
        Ok(answer) => Ok(Json(AnswerView { answer })),
        Err(error) => Err(with_arguments(&node, &module, entry.as_deref(), error).await),
    }
}

/// An error about a start, with arguments that would be taken if it is about JSON.
async fn with_arguments(node: &Node, module: &str, entry: Option<&str>, error: NodeError) -> ApiError {
    let error = ApiError::from(error);
    if !error.is_about_json() {
        return error;
    }
    let Ok(manifest) = node.manifest(module).await else { return error };
    let named = entry.and_then(|name| manifest.entry(name));
    let chosen = named.or_else(|| manifest.entry(&manifest.package.replace('-', "_")));
    let example = chosen.or(manifest.entries.first()).map(|entry| neurath_proto::json::example(&entry.arguments));
    error.examples(example.into_iter().collect())
}

/// How long a request says that something may take.
fn within(node: &Node, field: &str, ms: Option<u64>) -> Result<Option<Duration>, ApiError> {
    let most = node.config().api.call_within_max;
    let said = ms.map(Duration::from_millis);
    if said.is_some_and(|said| said > most) {
        return Err(ApiError::bad_request(format!("`{field}` is at most {}", most.as_millis())));
    }
    Ok(said)
}

async fn kill(
    State(Api { node, .. }): State<Api>,
    APath(target): APath,
    AQuery(query): AQuery<KillQuery>,
) -> Answer<PidView> {
    let pid = node.kill(&target, query.force).await?;
    Ok(Json(PidView { pid: pid.to_string() }))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct KillQuery {
    force: bool,
}

async fn send(
    State(Api { node, .. }): State<Api>,
    APath(target): APath,
    ABody(request): ABody<SendRequest>,
) -> Result<(StatusCode, Json<PidView>), ApiError> {
    let pid = node.find(&target).await?;
    match node.send(&target, &request.message).await {
        Ok(()) => Ok((StatusCode::ACCEPTED, Json(PidView { pid: pid.to_string() }))),
        Err(error) => Err(with_examples(&node, &target, error, false).await),
    }
}

async fn call(
    State(Api { node, .. }): State<Api>,
    APath(target): APath,
    ABody(request): ABody<CallRequest>,
) -> Answer<AnswerView> {
    let within = within(&node, "within_ms", request.within_ms)?.unwrap_or(node.config().api.call_within);
    match node.call(&target, &request.message, within).await {
        Ok(answer) => Ok(Json(AnswerView { answer })),
        Err(error) => Err(with_examples(&node, &target, error, true).await),
    }
}

/// An error about a message, with messages that would be taken if it is about JSON.
async fn with_examples(node: &Node, target: &str, error: NodeError, call: bool) -> ApiError {
    let error = ApiError::from(error);
    if !error.is_about_json() {
        return error;
    }
    let Ok(details) = node.info(target).await else { return error };
    let Ok(manifest) = node.manifest(&details.info.program).await else { return error };
    let taken = manifest.entry(&details.info.entry).map(takes).unwrap_or_default();
    let examples = taken.iter().flat_map(|takes| takes.examples_to(call)).collect();
    error.examples(examples)
}

// ---- modules ----

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct InstallQuery {
    dev: bool,
    source: Option<String>,
}

async fn install(
    State(Api { node, .. }): State<Api>,
    AQuery(InstallQuery { dev, source }): AQuery<InstallQuery>,
    wasm: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<ModuleView>), ApiError> {
    let wasm = body(wasm)?;
    let info = node.install(wasm.into(), InstallOptions { dev, source }).await?;
    Ok((StatusCode::CREATED, Json((&info).into())))
}

async fn list_modules(State(Api { node, .. }): State<Api>) -> Answer<ModulesView> {
    let modules = node.modules().await?.iter().map(ModuleView::from).collect();
    Ok(Json(ModulesView { modules }))
}

async fn show_module(State(Api { node, .. }): State<Api>, APath(reference): APath) -> Answer<ModuleInfoView> {
    let (info, manifest) = node.module(&reference).await?;
    Ok(Json(ModuleInfoView::new((&info).into(), &manifest)))
}

async fn uninstall(State(Api { node, .. }): State<Api>, APath(reference): APath) -> Answer<RemovedView> {
    Ok(Json(RemovedView { removed: node.uninstall(&reference).await? }))
}

// ---- changes of code ----

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct UpgradeQuery {
    progress: bool,
}

async fn upgrade(
    State(Api { node, .. }): State<Api>,
    AQuery(UpgradeQuery { progress }): AQuery<UpgradeQuery>,
    ABody(request): ABody<UpgradeRequest>,
) -> Result<Response, ApiError> {
    let UpgradeRequest { module, patience_ms, dry_run } = request;
    let options = UpgradeOptions { patience: within(&node, "patience_ms", patience_ms)?, dry_run };
    if !progress {
        // It goes on to its end even if nobody waits for the answer.
        let task = tokio::spawn(async move { node.upgrade(&module, options).await });
        let report = task.await.map_err(|_| NodeError::Stopping)??;
        return Ok(Json(UpgradeView::new(report, dry_run)).into_response());
    }
    let (out, response) = lines();
    tokio::spawn(async move {
        let report = node.upgrade_watched(&module, options, |done, total| {
            // Steps that a slow reader has no room for are left out.
            let _ = out.try_send(UpgradeLine::Progress { done, total });
        });
        let last = match report.await {
            Ok(report) => UpgradeLine::Report(UpgradeView::new(report, dry_run)),
            Err(error) => UpgradeLine::Error(ApiError::from(error).view),
        };
        // Whoever asked may be gone.
        let _ = out.send(last).await;
    });
    Ok(response)
}

async fn plan_upgrade(State(Api { node, .. }): State<Api>, wasm: Result<Bytes, BytesRejection>) -> Answer<UpgradeView> {
    let report = node.plan_upgrade(body(wasm)?.into()).await?;
    Ok(Json(UpgradeView::new(report, true)))
}

async fn list_upgrades(State(Api { node, .. }): State<Api>) -> Json<UpgradesView> {
    let (committed, rolled_back) = node.upgrade_counts();
    let latest = node.upgrade_events().into_iter().map(Into::into).collect();
    Json(UpgradesView { counts: UpgradeCountsView { committed, rolled_back }, latest })
}

// ---- what happened ----

async fn logs(State(Api { node, stopping }): State<Api>, AQuery(query): AQuery<LogQuery>) -> Response {
    let (out, response) = lines();
    tokio::spawn(write_logs(node, query, stopping.subscribe(), out));
    response
}

async fn trace(
    State(Api { node, stopping }): State<Api>,
    headers: HeaderMap,
    ABody(request): ABody<TraceRequest>,
) -> Result<Response, ApiError> {
    if let Some((there, request)) = super::trace::elsewhere(&node, &request).await? {
        if forward::was_passed_on(&headers) {
            return Err(node.third_node(request.targets.join(", "), there).into());
        }
        let body = serde_json::to_vec(&request).map_err(ApiError::bad_request)?;
        let uri = Uri::from_static("/v1/trace");
        return forward::ask(&node, there, Method::POST, &uri, None, body.into()).await;
    }
    let trace = super::trace::begin(&node, request).await?;
    let (out, response) = lines();
    tokio::spawn(super::trace::write(node, trace, stopping.subscribe(), out));
    Ok(response)
}

async fn list_refusals(State(Api { node, .. }): State<Api>) -> Json<RefusalsView> {
    let (refused, undeliverable, latest) = node.refusals().await;
    let (now_ms, now_ns) = (now_ms(), node.now_ns());
    let view = latest.into_iter().map(|refusal| RefusalView {
        at_ms: now_ms.saturating_sub(now_ns.saturating_sub(refusal.at) / 1_000_000),
        from: refusal.from.to_string(),
        to: refusal.to.to_string(),
        type_name: refusal.type_name,
        why: refusal.reason,
    });
    Json(RefusalsView { refused, undeliverable, latest: view.collect() })
}

async fn list_deaths(State(Api { node, .. }): State<Api>) -> Json<DeathsView> {
    let latest = node.deaths().into_iter().map(Into::into).collect();
    Json(DeathsView { ended: node.ended_count(), latest })
}

// ---- requests, with errors of our own ----

/// A body of JSON, whatever its content type is said to be.
struct ABody<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for ABody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = body(Bytes::from_request(request, state).await)?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            // What serde says of an object that is none names our types.
            let is_other = serde_json::from_slice::<Value>(&bytes).is_ok_and(|value| !value.is_object());
            let why = if is_other { "it is no JSON object".to_owned() } else { error.to_string() };
            ApiError::bad_request(format!("the request's body is not what this route takes: {why}")).hint(SEE)
        })
    }
}

fn body(bytes: Result<Bytes, BytesRejection>) -> Result<Bytes, ApiError> {
    bytes.map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the request has too many bytes")
        }
        _ => ApiError::bad_request(error.body_text()),
    })
}

struct AQuery<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for AQuery<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query: Result<Query<T>, QueryRejection> = Query::from_request_parts(parts, state).await;
        query.map(|Query(query)| Self(query)).map_err(|error| ApiError::bad_request(error.body_text()).hint(SEE))
    }
}

struct APath(String);

impl<S: Send + Sync> FromRequestParts<S> for APath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path: Result<Path<String>, PathRejection> = Path::from_request_parts(parts, state).await;
        path.map(|Path(path)| Self(path)).map_err(|error| ApiError::bad_request(error.body_text()))
    }
}
