//! One connection on its way from a socket to being established, on either side.
//!
//! It refuses to know the clock and the loop that drives it. Invariants: it goes on where it stopped when the socket
//! was not ready; a length from outside is bounded before it is waited for; nothing of a peer is believed before its
//! certificate was checked.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use neurath_proto::NodeId;
use rustls::server::Acceptor;
use rustls::{ClientConnection, ServerConnection};

use crate::join::{self, ANSWER_BYTES_MAX, JoinAnswer, REQUEST_BYTES_MAX, WireRequest};
use crate::preamble::Preamble;
use crate::stream::{Socket, Stream};
use crate::tls::{self, Protocol};
use crate::{Connection, RefusedError, Security, Subject};

/// See the module.
pub(crate) struct Handshake {
    security: Arc<Security>,
    /// Whom a dialer wants; none for one that accepts.
    wanted: Option<NodeId>,
    link: Link,
    step: Step,
    /// What the certificate says about the peer.
    proved: Option<Subject>,
    input: Vec<u8>,
    output: Vec<u8>,
}

enum Link {
    /// Accepted; what the client wants is not known yet.
    Hello(Socket, Box<Acceptor>),
    Stream(Stream),
    /// Given away.
    Gone,
}

#[derive(Clone, Copy)]
enum Step {
    Connect,
    Hello,
    Tls(Protocol),
    /// Hear the peer's preamble.
    Hear,
    /// Tell it ours.
    Tell,
    /// Let it in.
    Hand(Protocol),
    ReadRequest,
    Answer,
    Finish,
    Close,
}

/// How far it has come.
pub(crate) enum Progress {
    /// The socket is not ready.
    Waits,
    /// A node is there.
    Established(Stream),
    /// One is there who may tell this node what to do.
    Control(Subject, Stream),
    /// Somebody wants to join, and waits for [`Handshake::answer`].
    Join(WireRequest),
    /// Whoever wanted to join was answered.
    Answered,
}

/// Why it ended.
pub(crate) enum Failure {
    Refused(RefusedError),
    /// A dialer has reached somebody else.
    WrongPeer(NodeId),
    /// A dialer's socket was not connected.
    Unreachable(io::Error),
}

impl From<RefusedError> for Failure {
    fn from(error: RefusedError) -> Self {
        Failure::Refused(error)
    }
}

enum Stop {
    Waits,
    Failed(Failure),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::WouldBlock => Stop::Waits,
            _ => Stop::Failed(RefusedError::of(error).into()),
        }
    }
}

impl From<RefusedError> for Stop {
    fn from(error: RefusedError) -> Self {
        Stop::Failed(error.into())
    }
}

impl RefusedError {
    pub(crate) fn of(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(error) => RefusedError::Tls(said(error)),
            None => RefusedError::Broken(error),
        }
    }
}

/// What TLS says, with the reason of ours if there is one.
pub(crate) fn said(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(rustls::CertificateError::Other(reason)) => reason.0.to_string(),
        rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer) => {
            "the certificate is not of this cluster".into()
        }
        rustls::Error::AlertReceived(alert) => format!("the other side refuses ({alert:?})"),
        other => other.to_string(),
    }
}

impl Handshake {
    pub(crate) fn accept(security: Arc<Security>, socket: Socket) -> Self {
        let (link, step) = match *security {
            Security::Tls(_) => (Link::Hello(socket, Box::default()), Step::Hello),
            Security::PlainLoopback(_) => (Link::Stream(Stream::plain(socket)), Step::Hear),
        };
        Self { security, wanted: None, link, step, proved: None, input: Vec::new(), output: Vec::new() }
    }

    pub(crate) fn dial(security: Arc<Security>, socket: Socket, wanted: NodeId) -> Self {
        let output = Preamble { from: security.node_id(), to: wanted }.encode().to_vec();
        let link = Link::Stream(Stream::plain(socket));
        Self { security, wanted: Some(wanted), link, step: Step::Connect, proved: None, input: Vec::new(), output }
    }

    pub(crate) fn socket(&mut self) -> Option<&mut Socket> {
        match &mut self.link {
            Link::Hello(socket, _) => Some(socket),
            Link::Stream(stream) => Some(&mut stream.socket),
            Link::Gone => None,
        }
    }

    /// Answers a request to join.
    pub(crate) fn answer(&mut self, answer: &JoinAnswer) {
        self.output = join::encode(answer);
    }

    /// Goes on as far as the socket allows.
    pub(crate) fn advance(&mut self) -> Result<Progress, Failure> {
        match self.run() {
            Ok(progress) => Ok(progress),
            Err(Stop::Waits) => Ok(Progress::Waits),
            Err(Stop::Failed(failure)) => Err(failure),
        }
    }

    fn run(&mut self) -> Result<Progress, Stop> {
        loop {
            self.step = match self.step {
                Step::Connect => self.connect()?,
                Step::Hello => self.hello()?,
                Step::Tls(protocol) => self.shake_hands(protocol)?,
                Step::Hear => self.hear()?,
                Step::Tell => {
                    self.write_out()?;
                    if self.wanted.is_some() { Step::Hear } else { Step::Hand(Protocol::Session) }
                }
                Step::Hand(protocol) => return self.hand(protocol),
                Step::ReadRequest => {
                    let body = self.read_body(REQUEST_BYTES_MAX)?;
                    let request = join::decode(&body).map_err(|_| RefusedError::Request)?;
                    self.step = Step::Answer;
                    return Ok(Progress::Join(request));
                }
                Step::Answer if self.output.is_empty() => {
                    self.wait_for_end()?;
                    return Err(RefusedError::Broken(ErrorKind::UnexpectedEof.into()).into());
                }
                Step::Answer => {
                    self.write_out()?;
                    Step::Finish
                }
                Step::Finish => match self.stream()?.finish() {
                    Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(Progress::Waits),
                    // A peer that has all it wants may be gone already.
                    _ => Step::Close,
                },
                // The peer closes first: if this side did, what the peer has not read yet could be lost.
                Step::Close => {
                    return match self.wait_for_end() {
                        Err(Stop::Waits) => Ok(Progress::Waits),
                        _ => Ok(Progress::Answered),
                    };
                }
            }
        }
    }

    fn stream(&mut self) -> Result<&mut Stream, Stop> {
        match &mut self.link {
            Link::Stream(stream) => Ok(stream),
            Link::Hello(..) | Link::Gone => Err(RefusedError::Broken(ErrorKind::NotConnected.into()).into()),
        }
    }

    fn connect(&mut self) -> Result<Step, Stop> {
        let security = self.security.clone();
        self.stream()?.socket.connected().map_err(|e| match e.kind() {
            ErrorKind::WouldBlock => Stop::Waits,
            _ => Stop::Failed(Failure::Unreachable(e)),
        })?;
        let Security::Tls(tls) = &*security else { return Ok(Step::Tell) };
        let client = ClientConnection::new(tls.client(), tls::any_name()).map_err(|e| RefusedError::Tls(said(&e)))?;
        if let Link::Stream(stream) = std::mem::replace(&mut self.link, Link::Gone) {
            self.link = Link::Stream(Stream::secured(stream.socket, client.into()));
        }
        Ok(Step::Tls(Protocol::Session))
    }

    fn hello(&mut self) -> Result<Step, Stop> {
        let (Link::Hello(socket, acceptor), Security::Tls(tls)) = (&mut self.link, &*self.security) else {
            return Err(RefusedError::Protocol.into());
        };
        let accepted = loop {
            if acceptor.read_tls(socket)? == 0 {
                return Err(RefusedError::Broken(ErrorKind::UnexpectedEof.into()).into());
            }
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => break accepted,
                Err((error, mut alert)) => {
                    // Best effort: whoever is there may speak TLS.
                    let _ = alert.write_all(socket);
                    return Err(RefusedError::Tls(said(&error)).into());
                }
            }
        };
        let offered = accepted.client_hello().alpn().map(|alpn| alpn.map(<[u8]>::to_vec).take(8).collect::<Vec<_>>());
        let (protocol, config) = tls.server(offered.unwrap_or_default().into_iter()).ok_or(RefusedError::Protocol)?;
        let server: ServerConnection = match accepted.into_connection(config) {
            Ok(server) => server,
            Err((error, mut alert)) => {
                let _ = alert.write_all(socket);
                return Err(RefusedError::Tls(said(&error)).into());
            }
        };
        if let Link::Hello(socket, _) = std::mem::replace(&mut self.link, Link::Gone) {
            self.link = Link::Stream(Stream::secured(socket, server.into()));
        }
        Ok(Step::Tls(protocol))
    }

    fn shake_hands(&mut self, protocol: Protocol) -> Result<Step, Stop> {
        let stream = self.stream()?;
        stream.shake_hands()?;
        let tls = stream.tls.as_ref();
        let proved = tls.and_then(|tls| tls::peer(tls.peer_certificates()));
        if protocol == Protocol::Join {
            return Ok(Step::ReadRequest);
        }
        let Some(proved) = proved else {
            return Err(RefusedError::Tls("no certificate was shown".into()).into());
        };
        if let Some(wanted) = self.wanted
            && wanted != proved.identity
        {
            return Err(Stop::Failed(Failure::WrongPeer(proved.identity)));
        }
        self.proved = Some(proved);
        Ok(match (protocol, self.wanted) {
            (Protocol::Control, _) => Step::Hand(Protocol::Control),
            (_, Some(_)) => Step::Tell,
            (_, None) => Step::Hear,
        })
    }

    fn hear(&mut self) -> Result<Step, Stop> {
        self.fill(Preamble::BYTES)?;
        let bytes = std::array::from_fn(|i| self.input[i]);
        let preamble = Preamble::decode(&bytes).map_err(RefusedError::from)?;
        if let Some(proved) = &self.proved
            && proved.identity != preamble.from
        {
            return Err(RefusedError::Impostor { said: preamble.from, proved: proved.identity }.into());
        }
        let own = self.security.node_id();
        self.stream()?.peer = preamble.from;
        if let Some(wanted) = self.wanted {
            if preamble.from != wanted {
                return Err(Stop::Failed(Failure::WrongPeer(preamble.from)));
            }
            return match preamble.to == own {
                true => Ok(Step::Hand(Protocol::Session)),
                false => Err(RefusedError::NotMeant { meant: preamble.to }.into()),
            };
        }
        // One that looks for another node is told whom it has found; one that fits is let in by the same bytes.
        self.output = Preamble { from: own, to: preamble.from }.encode().to_vec();
        if preamble.to != own {
            let _ = self.write_out();
            return Err(RefusedError::NotMeant { meant: preamble.to }.into());
        }
        if preamble.from == own {
            return Err(RefusedError::Itself.into());
        }
        Ok(Step::Tell)
    }

    fn hand(&mut self, protocol: Protocol) -> Result<Progress, Stop> {
        let Link::Stream(mut stream) = std::mem::replace(&mut self.link, Link::Gone) else {
            return Err(RefusedError::Broken(ErrorKind::NotConnected.into()).into());
        };
        let proved = self.proved.take();
        if let Some(proved) = &proved {
            stream.peer = proved.identity;
        }
        // What a member may is decided by the protocol that it was let in on, and TLS has checked its role for that.
        match (protocol, proved) {
            (Protocol::Session, _) => Ok(Progress::Established(stream)),
            (Protocol::Control, Some(proved)) => Ok(Progress::Control(proved, stream)),
            (Protocol::Control, None) | (Protocol::Join, _) => Err(RefusedError::Protocol.into()),
        }
    }

    /// Reads until `input` has exactly as many bytes.
    fn fill(&mut self, length: usize) -> Result<(), Stop> {
        while self.input.len() < length {
            let mut buffer = [0; 1024];
            let most = buffer.len().min(length - self.input.len());
            let read = match self.stream()?.read(&mut buffer[..most]) {
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                read => read?,
            };
            if read == 0 {
                return Err(RefusedError::Broken(ErrorKind::UnexpectedEof.into()).into());
            }
            self.input.extend_from_slice(&buffer[..read]);
        }
        Ok(())
    }

    /// Reads a length and as many bytes.
    fn read_body(&mut self, max: usize) -> Result<Vec<u8>, Stop> {
        self.fill(join::LENGTH_BYTES)?;
        let length = join::length(&self.input, max).ok_or(RefusedError::Request)?;
        self.fill(join::LENGTH_BYTES + length)?;
        Ok(self.input.split_off(join::LENGTH_BYTES))
    }

    fn write_out(&mut self) -> Result<(), Stop> {
        debug_assert!(self.output.len() <= ANSWER_BYTES_MAX + join::LENGTH_BYTES);
        while !self.output.is_empty() {
            let output = std::mem::take(&mut self.output);
            let written = self.stream().map(|stream| stream.write(&output));
            self.output = output;
            match written? {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Ok(0) => return Err(RefusedError::Broken(ErrorKind::WriteZero.into()).into()),
                written => drop(self.output.drain(..written?)),
            }
        }
        Ok(self.stream()?.flush()?)
    }

    /// Whoever waits for the peer's end gets no more of its bytes.
    fn wait_for_end(&mut self) -> Result<(), Stop> {
        let mut buffer = [0; 64];
        match self.stream()?.read(&mut buffer)? {
            0 => Ok(()),
            _ => Err(RefusedError::Request.into()),
        }
    }
}
