//! [`Client`]: the API as Rust functions, over the socket or as an operator from elsewhere. The command line uses nothing
//! else.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use neurath_code::store::ARTIFACT_MAX_BYTES;
use neurath_net::{ConnectError, Operator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::REQUEST_BYTES_MAX;
use super::channel::Channel;
use super::error::{ErrorBody, ErrorView};
use super::forward::{ON, said};
use super::patience::{Patience, Silence, Takes, Waiting};
use super::socket::{Address, SOCKET_NAME};
use super::view::{
    AnswerView, CallRequest, DeathsView, GroupsView, InvitationView, InviteRequest, LogView, ModuleInfoView,
    ModuleView, ModulesView, NodeView, NodesView, PidView, ProcessInfoView, ProcessesView, RefusalsView, RemovedView,
    RunRequest, SendRequest, ShardsView, SpawnRequest, StoppingView, TraceLine, TraceRequest, UnconfirmedView,
    UpgradeLine, UpgradeRequest, UpgradeView, UpgradesView,
};

/// An answer that is not a stream of lines may have this many bytes.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// A line of a stream may have this many bytes.
const LINE_BYTES_MAX: usize = 64 << 20;

/// The path of a request, with what it is about, may have this many bytes.
const PATH_BYTES_MAX: usize = 16 << 10;

/// Reaching a node over the network may take this long.
const DIAL_TIME: Duration = Duration::from_secs(10);

/// The message of [`ClientError::Broken`] when an upgrade's answer ends without a report.
pub const UPGRADE_ENDED: &str = "the answer ended before the upgrade did";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens. Nothing was asked.
    #[error("no node runs on {}", socket.parent().unwrap_or(socket).display())]
    NoNode {
        /// The socket.
        socket: PathBuf,
    },
    /// The socket cannot be used. Nothing was asked.
    #[error("cannot speak to the node through {}: {source}", socket.display())]
    Socket {
        /// The socket.
        socket: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The node is not reached over the network, or does not let this program in. Nothing was asked.
    #[error("{0}")]
    Unreachable(#[from] ConnectError),
    /// The node refuses.
    #[error("{}", error.message)]
    Refused {
        /// The status of its answer.
        status: u16,
        /// Why.
        error: ErrorView,
    },
    /// The answer has not come. The node may have done what it was asked, or may do it yet.
    #[error("{0}")]
    NoAnswer(Silence),
    /// The connection broke, or the answer is not understood. The node may have done what it was asked.
    #[error("the node's answer is lost: {0}")]
    Broken(String),
}

/// See the module. Each request has a connection of its own.
#[derive(Clone)]
pub struct Client {
    way: Way,
    /// The node that requests are for, if it is another one than is asked.
    on: Option<HeaderValue>,
    /// Without it answers are waited for however long they take.
    patience: Option<Patience>,
}

#[derive(Clone)]
enum Way {
    Socket(PathBuf),
    Network(Arc<Operator>, String),
}

/// What carries a request and its answer.
trait Carrier: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Carrier for T {}

impl Client {
    /// For the node with this data directory, whether it runs or not.
    pub fn of_data(data: &Path) -> Self {
        Self { way: Way::Socket(data.join(SOCKET_NAME)), on: None, patience: None }
    }

    /// For the node at this address, or else at the one in the operator's file, over TLS.
    pub fn of_operator(operator: Operator, address: Option<String>) -> Self {
        let address = address.unwrap_or_else(|| operator.address().to_owned());
        Self { way: Way::Network(Arc::new(operator), address), on: None, patience: None }
    }

    /// What it asks is passed on to this node, by its name or id; `None` if the text can be neither.
    pub fn on(self, node: &str) -> Option<Self> {
        Some(Self { on: Some(HeaderValue::from_str(node).ok()?), ..self })
    }

    /// Waits for answers no longer than this says.
    pub fn with_patience(self, patience: Patience) -> Self {
        Self { patience: Some(patience), ..self }
    }

    /// Where the node's socket is, if it is asked there.
    pub fn socket(&self) -> Option<&Path> {
        match &self.way {
            Way::Socket(socket) => Some(socket),
            Way::Network(..) => None,
        }
    }

    /// `GET /v1/node`.
    ///
    /// # Errors
    /// As [`ClientError`] says; so are those of all functions here.
    pub async fn node(&self) -> Result<NodeView, ClientError> {
        self.get("/v1/node").await
    }

    /// `POST /v1/stop`.
    pub async fn stop(&self) -> Result<StoppingView, ClientError> {
        self.json(Method::POST, "/v1/stop", &(), Takes::Moment).await
    }

    /// `GET /v1/processes`, of one module if it is named.
    pub async fn processes(&self, module: Option<&str>, limit: usize) -> Result<ProcessesView, ClientError> {
        let module = module.map(|module| format!("&module={}", escape(module))).unwrap_or_default();
        self.get(&format!("/v1/processes?limit={limit}{module}")).await
    }

    /// `GET /v1/processes`, those first that have most of something: `mailbox`, `memory`, `cpu` or `messages`.
    pub async fn processes_by(&self, sort: &str, limit: usize) -> Result<ProcessesView, ClientError> {
        self.get(&format!("/v1/processes?limit={limit}&sort={}", escape(sort))).await
    }

    /// `GET /v1/shards`.
    pub async fn shards(&self) -> Result<ShardsView, ClientError> {
        self.get("/v1/shards").await
    }

    /// `POST /v1/trace`: what happens, until the connection is dropped.
    pub async fn trace(&self, request: &TraceRequest) -> Result<Lines<TraceLine>, ClientError> {
        self.lines(Method::POST, "/v1/trace", to_bytes(request)?, Takes::Forever).await
    }

    /// `GET /v1/processes/{target}`.
    pub async fn process(&self, target: &str) -> Result<ProcessInfoView, ClientError> {
        self.get(&format!("/v1/processes/{}", escape(target))).await
    }

    /// `POST /v1/processes`.
    pub async fn spawn(&self, request: &SpawnRequest) -> Result<PidView, ClientError> {
        self.json(Method::POST, "/v1/processes", request, Takes::Work).await
    }

    /// `POST /v1/run`.
    pub async fn run(&self, request: &RunRequest) -> Result<AnswerView, ClientError> {
        self.json(Method::POST, "/v1/run", request, at_most(request.within_ms)).await
    }

    /// `POST /v1/processes/{target}/send`.
    pub async fn send(&self, target: &str, message: Value) -> Result<PidView, ClientError> {
        let path = format!("/v1/processes/{}/send", escape(target));
        self.json(Method::POST, &path, &SendRequest { message }, Takes::Moment).await
    }

    /// `POST /v1/processes/{target}/call`.
    pub async fn call(&self, target: &str, request: &CallRequest) -> Result<AnswerView, ClientError> {
        let path = format!("/v1/processes/{}/call", escape(target));
        self.json(Method::POST, &path, request, at_most(request.within_ms)).await
    }

    /// `DELETE /v1/processes/{target}`.
    pub async fn kill(&self, target: &str, force: bool) -> Result<PidView, ClientError> {
        let path = format!("/v1/processes/{}?force={force}", escape(target));
        self.ask(Method::DELETE, &path, Bytes::new(), Takes::Moment).await
    }

    /// `GET /v1/modules`.
    pub async fn modules(&self) -> Result<ModulesView, ClientError> {
        self.get("/v1/modules").await
    }

    /// `GET /v1/modules/{reference}`.
    pub async fn module(&self, reference: &str) -> Result<ModuleInfoView, ClientError> {
        let path = format!("/v1/modules/{}", escape(reference));
        self.ask(Method::GET, &path, Bytes::new(), Takes::Work).await
    }

    /// `POST /v1/modules`.
    pub async fn install(&self, wasm: Vec<u8>, dev: bool, source: Option<&str>) -> Result<ModuleView, ClientError> {
        let source = source.map(|source| format!("&source={}", escape(source))).unwrap_or_default();
        self.ask(Method::POST, &format!("/v1/modules?dev={dev}{source}"), wasm.into(), Takes::Work).await
    }

    /// `DELETE /v1/modules/{reference}`.
    pub async fn uninstall(&self, reference: &str) -> Result<RemovedView, ClientError> {
        let path = format!("/v1/modules/{}", escape(reference));
        self.ask(Method::DELETE, &path, Bytes::new(), Takes::Work).await
    }

    /// `POST /v1/upgrades`; `progress` hears how many of how many servers are done.
    pub async fn upgrade(
        &self,
        request: &UpgradeRequest,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<UpgradeView, ClientError> {
        let body = to_bytes(request)?;
        let mut lines = self.lines(Method::POST, "/v1/upgrades?progress=true", body, Takes::Work).await?;
        while let Some(line) = lines.next().await? {
            match line {
                UpgradeLine::Progress { done, total } => progress(done, total),
                UpgradeLine::Report(report) => return Ok(report),
                UpgradeLine::Error(error) => return Err(ClientError::Refused { status: 200, error }),
            }
        }
        Err(ClientError::Broken(UPGRADE_ENDED.into()))
    }

    /// `POST /v1/upgrades/plan`.
    pub async fn plan_upgrade(&self, wasm: Vec<u8>) -> Result<UpgradeView, ClientError> {
        self.ask(Method::POST, "/v1/upgrades/plan", wasm.into(), Takes::Work).await
    }

    /// `GET /v1/upgrades`.
    pub async fn upgrades(&self) -> Result<UpgradesView, ClientError> {
        self.get("/v1/upgrades").await
    }

    /// `GET /v1/logs`: the latest `last` lines, and if `follow`, those that come.
    pub async fn logs(&self, last: usize, follow: bool) -> Result<Lines<LogView>, ClientError> {
        let takes = if follow { Takes::Forever } else { Takes::Moment };
        self.lines(Method::GET, &format!("/v1/logs?last={last}&follow={follow}"), Bytes::new(), takes).await
    }

    /// `GET /v1/refusals`.
    pub async fn refusals(&self) -> Result<RefusalsView, ClientError> {
        self.get("/v1/refusals").await
    }

    /// `GET /v1/deaths`.
    pub async fn deaths(&self) -> Result<DeathsView, ClientError> {
        self.get("/v1/deaths").await
    }

    /// `GET /v1/nodes`.
    pub async fn nodes(&self) -> Result<NodesView, ClientError> {
        self.get("/v1/nodes").await
    }

    /// `GET /v1/unconfirmed`.
    pub async fn unconfirmed(&self) -> Result<UnconfirmedView, ClientError> {
        self.get("/v1/unconfirmed").await
    }

    /// `GET /v1/groups`.
    pub async fn groups(&self) -> Result<GroupsView, ClientError> {
        self.get("/v1/groups").await
    }

    /// `POST /v1/cluster/invitations`.
    pub async fn invite(&self, request: &InviteRequest) -> Result<InvitationView, ClientError> {
        self.json(Method::POST, "/v1/cluster/invitations", request, Takes::Moment).await
    }

    // ---- HTTP ----

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Method::GET, path, Bytes::new(), Takes::Moment).await
    }

    async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
        takes: Takes,
    ) -> Result<T, ClientError> {
        self.ask(method, path, to_bytes(body)?, takes).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        takes: Takes,
    ) -> Result<T, ClientError> {
        let answer = async {
            let (response, _connection) = self.request(method, path, body).await?;
            whole(response).await
        };
        let bytes = self.waiting(takes).wait(answer).await?;
        serde_json::from_slice(&bytes).map_err(|error| ClientError::Broken(error.to_string()))
    }

    async fn lines<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        takes: Takes,
    ) -> Result<Lines<T>, ClientError> {
        // That there will be lines is said at once.
        let (response, connection) = self.waiting(Takes::Moment).wait(self.request(method, path, body)).await?;
        let (body, waiting) = (response.into_body(), self.waiting(takes));
        Ok(Lines { body, rest: Vec::new(), waiting, _connection: connection, of: Default::default() })
    }

    /// What waits for the answers to a request.
    fn waiting(&self, takes: Takes) -> Waiting {
        let (who, data) = match &self.way {
            Way::Socket(socket) => {
                let data = socket.parent().unwrap_or(socket);
                (format!("the node in {}", data.display()), Some(data.to_owned()))
            }
            Way::Network(_, address) => (format!("the node at `{address}`"), None),
        };
        // Which of the two is silent does not show.
        let (who, data) = match &self.on {
            Some(on) => (format!("node `{}`, asked through {who},", String::from_utf8_lossy(on.as_bytes())), None),
            None => (who, data),
        };
        Waiting { patience: self.patience.clone(), takes, who, data }
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(Response<Incoming>, Running), ClientError> {
        refuse_if_large(path, &body)?;
        let stream = self.connect().await?;
        let broken = |error: hyper::Error| ClientError::Broken(said(&error));
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let connection = Running::new(connection);
        let request = Request::builder().method(method).uri(path).header(HOST, "localhost");
        let request = match &self.on {
            Some(node) => request.header(ON, node),
            None => request,
        };
        let request = request.body(Full::new(body)).map_err(|error| ClientError::Broken(error.to_string()))?;
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        if status.is_success() {
            return Ok((response, connection));
        }
        Err(refused(status, &whole(response).await?))
    }

    async fn connect(&self) -> Result<Box<dyn Carrier>, ClientError> {
        let socket = match self.way.clone() {
            Way::Socket(socket) => socket,
            Way::Network(operator, address) => {
                let dial = move || operator.dialer().dial(&address, None, DIAL_TIME);
                let dialed = tokio::task::spawn_blocking(dial).await;
                let connection = dialed.map_err(|error| ClientError::Broken(error.to_string()))??;
                let channel = Channel::new(connection).map_err(|error| ClientError::Broken(error.to_string()))?;
                return Ok(Box::new(channel));
            }
        };
        let connected = match Address::of(&socket) {
            Ok(address) => UnixStream::connect(&address.path).await,
            Err(error) => Err(error),
        };
        let connected = connected.map(|stream| Box::new(stream) as Box<dyn Carrier>);
        connected.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory => {
                ClientError::NoNode { socket }
            }
            _ => ClientError::Socket { socket, source },
        })
    }
}

/// A node closes the connection on a request that is too large, and its answer can be lost with it: so such a request is
/// not begun.
fn refuse_if_large(path: &str, body: &Bytes) -> Result<(), ClientError> {
    let of_module = path.starts_with("/v1/modules") || path.starts_with("/v1/upgrades/plan");
    let limit = if of_module { ARTIFACT_MAX_BYTES as usize } else { REQUEST_BYTES_MAX };
    let message = if body.len() > limit {
        format!("the request has {} bytes, and the limit is {limit}", body.len())
    } else if path.len() > PATH_BYTES_MAX {
        format!("what the request is about has {} bytes, and the limit is {PATH_BYTES_MAX}", path.len())
    } else {
        return Ok(());
    };
    let error = ErrorView { code: "too_large".into(), message, hint: None, examples: Vec::new() };
    Err(ClientError::Refused { status: StatusCode::PAYLOAD_TOO_LARGE.as_u16(), error })
}

/// A connection that is driven; it ends with this.
#[derive(Debug)]
pub(super) struct Running(JoinHandle<()>);

impl Running {
    /// It must be called within a tokio runtime.
    pub(super) fn new<T>(connection: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(async move {
            // An error shows itself where the answer is read.
            drop(connection.await);
        }))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Objects that come one by one.
pub struct Lines<T> {
    body: Incoming,
    rest: Vec<u8>,
    waiting: Waiting,
    _connection: Running,
    of: std::marker::PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Lines<T> {
    /// The next one; none at the end.
    ///
    /// # Errors
    /// The connection broke, or a line is not understood.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.rest[searched..].iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=searched + at).collect();
                return serde_json::from_slice(&line).map(Some).map_err(|e| ClientError::Broken(e.to_string()));
            }
            searched = self.rest.len();
            if searched > LINE_BYTES_MAX {
                return Err(ClientError::Broken("a line is too long".into()));
            }
            let body = &mut self.body;
            let frame = async { body.frame().await.transpose().map_err(|error| ClientError::Broken(said(&error))) };
            match self.waiting.wait(frame).await? {
                None => return Ok(None),
                Some(frame) => self.rest.extend(frame.into_data().unwrap_or_default()),
            }
        }
    }
}

/// An answer that may take as long as its request says, or else as long as the node allows.
fn at_most(within_ms: Option<u64>) -> Takes {
    within_ms.map_or(Takes::Work, |ms| Takes::AtMost(Duration::from_millis(ms)))
}

fn to_bytes(value: &impl Serialize) -> Result<Bytes, ClientError> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|error| ClientError::Broken(error.to_string()))
}

async fn whole(response: Response<Incoming>) -> Result<Bytes, ClientError> {
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    body.map(|body| body.to_bytes()).map_err(|error| ClientError::Broken(error.to_string()))
}

fn refused(status: StatusCode, body: &[u8]) -> ClientError {
    match serde_json::from_slice::<ErrorBody>(body) {
        Ok(ErrorBody { error }) => ClientError::Refused { status: status.as_u16(), error },
        Err(_) => ClientError::Broken(format!("{status}: {}", String::from_utf8_lossy(body))),
    }
}

/// One segment of a path, or one value of a query.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'@' => out.push(byte as char),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_mistaken_for_a_path_is_escaped() {
        assert_eq!(escape("counter@1.0.0+dev.3f9a"), "counter@1.0.0%2Bdev.3f9a");
        assert_eq!(escape("a/b?c=ü"), "a%2Fb%3Fc%3D%C3%BC");
    }
}
