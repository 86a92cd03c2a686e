//! What the suites share: nodes of each transport on threads of their own, and connections that wait for a test.
//!
//! Invariant: nothing waits longer than [`PATIENCE`], and nothing waits for time to pass.

#![allow(dead_code)] // Each suite is a crate of its own and uses what it needs.

use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use neurath_net::memory::Hub;
use neurath_net::{
    Authority, Connection, Credentials, Dial, DialError, Endpoint, Event, Handle, Limits, NodeId, NodeKey, Security,
    Tls, tcp,
};
use tempfile::TempDir;

/// Longer than anything takes here.
pub const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Memory,
    Plain,
    Tls,
}

/// Where nodes of one transport, and of one cluster, find each other.
pub struct World {
    pub kind: Kind,
    pub hub: Hub,
    pub folder: TempDir,
    pub authority: Option<Authority>,
}

impl World {
    pub fn new(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = (kind == Kind::Tls).then(|| Authority::create(&folder.path().join("ca"), "test").unwrap());
        Self { kind, hub: Hub::default(), folder, authority }
    }

    pub fn authority(&self) -> &Authority {
        self.authority.as_ref().unwrap()
    }

    pub fn credentials(&self, number: u8) -> Credentials {
        self.authority().issue_node(&key(number), &format!("node-{number}")).unwrap()
    }

    pub fn node_id(&self, number: u8) -> NodeId {
        match self.kind {
            Kind::Tls => key(number).node_id(),
            Kind::Memory | Kind::Plain => NodeId(u64::from(number)),
        }
    }

    /// An endpoint that nobody drives yet.
    pub fn endpoint(&self, number: u8, limits: Limits) -> Box<dyn Endpoint> {
        let id = self.node_id(number);
        match self.kind {
            Kind::Memory => Box::new(self.hub.listen(Some(&format!("node-{number}")), id, limits).unwrap()),
            Kind::Plain => Box::new(tcp::listen(Some("127.0.0.1:0"), Security::PlainLoopback(id), limits).unwrap()),
            Kind::Tls => {
                let tls = Tls::new(&key(number), &self.credentials(number)).unwrap();
                Box::new(tcp::listen(Some("127.0.0.1:0"), Security::Tls(tls), limits).unwrap())
            }
        }
    }

    pub fn node(&self, number: u8) -> Node {
        self.node_with(number, Limits::default())
    }

    pub fn node_with(&self, number: u8, limits: Limits) -> Node {
        Node::drive(self.node_id(number), self.endpoint(number, limits))
    }

    /// A socket of somebody who says what the test wants.
    pub fn raw(&self, address: &str) -> Raw {
        match self.kind {
            Kind::Memory => {
                let socket = std::os::unix::net::UnixStream::from(self.hub.connect(address).unwrap());
                socket.set_nonblocking(false).unwrap();
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
                Box::new(socket)
            }
            Kind::Plain | Kind::Tls => Box::new(raw_tcp(address)),
        }
    }
}

pub trait RawSocket: Read + Write {}
impl<T: Read + Write> RawSocket for T {}
pub type Raw = Box<dyn RawSocket>;

pub fn raw_tcp(address: &str) -> std::net::TcpStream {
    let socket = std::net::TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Whether the other side has closed it, without having said more than `at_most` bytes.
pub fn is_closed(raw: &mut dyn RawSocket, at_most: usize) -> bool {
    let mut heard = Vec::new();
    match raw.read_to_end(&mut heard) {
        Ok(_) => heard.len() <= at_most,
        Err(e) => e.kind() == ErrorKind::ConnectionReset,
    }
}

pub fn seed(number: u8) -> [u8; 32] {
    [number; 32]
}

pub fn key(number: u8) -> NodeKey {
    NodeKey::from_seed(&seed(number))
}

pub fn node_pem(credentials: &Credentials, folder: &Path) -> String {
    credentials.save(folder).unwrap();
    std::fs::read_to_string(folder.join("node.pem")).unwrap()
}

/// An endpoint on a thread of its own.
pub struct Node {
    pub id: NodeId,
    pub handle: Arc<dyn Handle>,
    pub events: Receiver<Event>,
    thread: Option<JoinHandle<()>>,
}

impl Node {
    pub fn drive(id: NodeId, mut endpoint: Box<dyn Endpoint>) -> Self {
        let handle = endpoint.handle();
        let (sender, events) = channel();
        let thread = std::thread::spawn(move || {
            while let Some(event) = endpoint.next(None) {
                let last = matches!(event, Event::Closed);
                if sender.send(event).is_err() || last {
                    break;
                }
            }
        });
        Self { id, handle, events, thread: Some(thread) }
    }

    pub fn address(&self) -> String {
        self.handle.address().unwrap()
    }

    pub fn event(&self) -> Event {
        self.events.recv_timeout(PATIENCE).expect("an event in time")
    }

    pub fn dial_to(&self, peer: NodeId, address: &str) {
        self.handle.dial(Dial { token: 1, peer, address: address.into() });
    }

    pub fn dial_fails(&self, peer: NodeId, address: &str) -> DialError {
        self.dial_to(peer, address);
        match self.event() {
            Event::DialFailed { token: 1, error } => error,
            other => panic!("{other:?}"),
        }
    }

    pub fn dialed(&self) -> Line {
        match self.event() {
            Event::Dialed { connection, .. } => Line::new(connection),
            other => panic!("{other:?}"),
        }
    }

    pub fn accepted(&self) -> Line {
        loop {
            match self.event() {
                Event::Accepted(connection) => return Line::new(connection),
                Event::Refused { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub fn refused(&self) -> String {
        match self.event() {
            Event::Refused { error, .. } => error.to_string(),
            other => panic!("{other:?}"),
        }
    }

    /// A connection from this node to another, both its ends.
    pub fn connect(&self, other: &Node) -> (Line, Line) {
        self.dial_to(other.id, &other.address());
        let pair = (self.dialed(), other.accepted());
        assert_eq!((pair.0.peer(), pair.1.peer()), (other.id, self.id));
        pair
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// A connection that a test waits for.
pub struct Line {
    pub connection: Box<dyn Connection>,
    poll: Poll,
}

impl Line {
    pub fn new(mut connection: Box<dyn Connection>) -> Self {
        let poll = Poll::new().unwrap();
        poll.registry().register(&mut connection, Token(0), Interest::READABLE | Interest::WRITABLE).unwrap();
        Self { connection, poll }
    }

    pub fn peer(&self) -> NodeId {
        self.connection.peer()
    }

    /// Tries until it is ready.
    fn wait<T>(&mut self, mut step: impl FnMut(&mut dyn Connection) -> io::Result<T>) -> io::Result<T> {
        let until = Instant::now() + PATIENCE;
        loop {
            match step(&mut *self.connection) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                done => return done,
            }
            assert!(Instant::now() < until, "the connection is stuck");
            self.poll.poll(&mut Events::with_capacity(4), Some(PATIENCE)).unwrap();
        }
    }

    pub fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = self.wait(|connection| connection.write(bytes))?;
            bytes = &bytes[written..];
        }
        self.wait(|connection| connection.flush())
    }

    pub fn read_some(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wait(|connection| connection.read(buffer))
    }

    pub fn hear(&mut self, length: usize) -> Vec<u8> {
        let mut heard = vec![0; length];
        let mut filled = 0;
        while filled < length {
            let read = self.read_some(&mut heard[filled..]).unwrap();
            assert_ne!(read, 0, "the peer has finished after {filled} of {length} bytes");
            filled += read;
        }
        heard
    }

    /// As `hear`, but reads after an event only, so many bytes at once, and no more when that has emptied it.
    pub fn hear_at_events(&mut self, length: usize, at_once: usize) -> Vec<u8> {
        let (mut heard, mut buffer) = (Vec::new(), vec![0; at_once]);
        let mut events = Events::with_capacity(4);
        while heard.len() < length {
            self.poll.poll(&mut events, Some(PATIENCE)).unwrap();
            let so_far = heard.len();
            assert!(!events.is_empty(), "no event after {so_far} of {length} bytes, read {at_once} at once");
            loop {
                match self.connection.read(&mut buffer) {
                    Ok(read) => heard.extend_from_slice(&buffer[..read]),
                    Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                    Err(e) => panic!("{e}"),
                }
                if self.connection.is_emptied() {
                    break;
                }
            }
        }
        heard
    }

    pub fn finish(&mut self) {
        self.wait(|connection| connection.finish()).unwrap();
    }

    pub fn is_at_end(&mut self) -> bool {
        matches!(self.read_some(&mut [0]), Ok(0))
    }
}

/// Bytes that differ at each place.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect()
}
