//! Members of a cluster that do not keep to the rules: the association with them ends, and nothing else is harmed.
//!
//! The hostile member is played with a session and a connection of its own: it has proved who it is, and lies about the rest.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use neurath_kernel::session::wire::{self, WireTypes};
use neurath_kernel::session::{ConnectionId, Origin};
use neurath_kernel::{NodeMessage, Session, SessionConfig, SessionEffect, Signal};
use neurath_net::{Authority, Connection, ControlDialer, Dial, Endpoint, Event, Limits, NodeKey};
use neurath_node::{ClusterConfig, Hub, Node, NodeConfig, NodeId, Transport, init_cluster};
use neurath_proto::envelope::{Class, Envelope, Epoch, Payload, SchemaId, TraceId};
use neurath_proto::reason::ExitReason;
use neurath_proto::{Incarnation, Pid, Ref, SchemaHash, Serial};
use serde_json::json;

use crate::common::{World, eventually};

/// The greatest id but one: the honest node leads, and decides about connections.
const MALLORY: NodeId = NodeId(u64::MAX - 1);

/// A node, an honest one that is connected with it, and a process on each.
struct Victims {
    hub: Hub,
    alpha: World,
    beta: World,
    counter: Pid,
    agent: Pid,
    echo: Pid,
}

impl Victims {
    async fn new() -> Self {
        let hub = Hub::default();
        let configured = |name: &str, peers| {
            let mut cluster = ClusterConfig::new(Transport::Memory(hub.clone(), name.into()));
            (cluster.name, cluster.peers) = (Some(name.into()), peers);
            cluster
        };
        let first = configured("alpha", Vec::new());
        let alpha = World::configured(&["counter-v1", "cluster"], |config| config.cluster = Some(first)).await;
        let second = configured("beta", vec![alpha.member("alpha")]);
        let beta = World::configured(&["cluster"], |config| config.cluster = Some(second)).await;
        let connected = async || {
            let nodes = beta.node.nodes().await;
            nodes.iter().any(|node| node.name == "alpha" && node.session == "connected" && node.state == "alive")
        };
        eventually("the two to be connected", async || connected().await.then_some(())).await;
        let counter = alpha.spawn("counter", "counter", json!([0])).await;
        let agent = beta.spawn("cluster", "agent", json!([])).await;
        let echo = beta.call(agent, json!({"Spawn": {"node": "alpha"}})).await;
        let echo = echo["Ok"].as_str().unwrap().parse().unwrap();
        Self { hub, alpha, beta, counter, agent, echo }
    }

    /// The processes live, the others are connected, and an honest member is answered.
    async fn are_unharmed(&self, after: &str) {
        let ask = json!({"Ask": {"echo": self.echo.to_string(), "n": 5}});
        assert_eq!(self.beta.call(self.agent, ask).await, json!({"Ok": 5}), "after {after}");
        assert_eq!(self.beta.call(self.agent, json!({"Events": {}})).await, json!([]), "after {after}");
        self.alpha.assert_counts(self.counter, 0, 1).await;
        let beta = self.alpha.node.nodes().await.into_iter().find(|node| node.node == self.beta.node.id()).unwrap();
        assert_eq!((beta.session, beta.opened), ("connected", 1), "after {after}");
    }
}

/// Its numbers of schemas mean nothing to anybody.
struct NoTypes;

impl WireTypes for NoTypes {
    fn hash(&self, _: SchemaId) -> SchemaHash {
        SchemaHash([0xab; 16])
    }

    fn id(&self, _: SchemaHash) -> Option<SchemaId> {
        None
    }
}

/// The hostile member.
struct Mallory {
    session: Session,
    connection: Box<dyn Connection>,
    begun: Instant,
    up: bool,
    /// The association, or the connection, has ended.
    ended: bool,
    heard: Vec<Vec<u8>>,
    /// What was written last.
    written: Vec<u8>,
}

impl Mallory {
    /// Connects in this life, until an association is open or refused.
    fn connect(victims: &Victims, incarnation: u32) -> Self {
        let mut endpoint = victims.hub.listen(None, MALLORY, Limits::default()).unwrap();
        let node = victims.alpha.node.id();
        endpoint.handle().dial(Dial { token: 1, peer: node, address: "alpha".into() });
        let Some(Event::Dialed { connection, .. }) = endpoint.next(Some(Duration::from_secs(30))) else {
            panic!("alpha is not there");
        };
        let mut session = Session::new(MALLORY, Incarnation(incarnation), node, SessionConfig::default());
        session.connected(0, ConnectionId(1), Origin::Dialed);
        let (heard, written) = (Vec::new(), Vec::new());
        let mut mallory = Self { session, connection, begun: Instant::now(), up: false, ended: false, heard, written };
        mallory.go_on("an association", |mallory| mallory.up || mallory.ended);
        mallory
    }

    fn now(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64
    }

    /// Says something that the protocol of sessions carries.
    fn say(&mut self, bytes: Vec<u8>) {
        let from = Pid::new(MALLORY, Incarnation(1), Serial(1));
        let now = self.now();
        self.session.send(now, from, bytes).unwrap();
    }

    fn signal(&mut self, signal: &Signal) {
        let mut bytes = vec![NodeMessage::SIGNAL];
        wire::encode(signal, &NoTypes, &mut bytes);
        self.say(bytes);
    }

    /// Reads and writes until then.
    fn go_on(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let mut buffer = vec![0; 64 << 10];
        while !done(self) {
            assert!(self.begun.elapsed() < Duration::from_secs(60), "waited in vain for {what}");
            let now = self.now();
            match self.connection.read(&mut buffer) {
                Ok(0) => self.ended = true,
                Ok(length) => self.session.received(now, ConnectionId(1), &buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(_) => self.ended = true,
            }
            self.session.advance(now);
            while let Some(effect) = self.session.poll_effect() {
                match effect {
                    SessionEffect::Write { connection, bytes } => {
                        self.write(&bytes);
                        self.session.written(now, connection);
                        self.written = bytes;
                    }
                    SessionEffect::Up { .. } => self.up = true,
                    SessionEffect::Deliver { bytes, credit } => {
                        self.heard.push(bytes);
                        self.session.consumed(now, credit);
                    }
                    SessionEffect::Ended { .. } | SessionEffect::Close { .. } => self.ended = true,
                    _ => {}
                }
            }
        }
    }

    /// Writes bytes as they are, as long as somebody reads.
    fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.connection.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(_) => return,
            }
        }
        while self.connection.flush().is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
            std::thread::yield_now();
        }
    }

    fn is_thrown_out(&mut self, for_what: &str) {
        self.go_on(&format!("the end of the association after {for_what}"), |mallory| mallory.ended);
    }

    /// It is still spoken to.
    fn is_heard(&mut self) {
        let before = self.heard.len();
        self.say(NodeMessage::Fetch { artifact: [9; 32], offset: 0 }.encode());
        self.go_on("an answer", |mallory| {
            let absent =
                |bytes: &Vec<u8>| NodeMessage::decode(bytes) == Some(NodeMessage::Absent { artifact: [9; 32] });
            mallory.ended || mallory.heard[before..].iter().any(absent)
        });
        assert!(!self.ended, "it was thrown out");
    }
}

fn exit(to: Pid, from: Pid) -> Signal {
    Signal::Exit { to, from, reason: ExitReason::Killed { by: None }, linked: true }
}

fn message(to: Pid, from: Pid) -> Signal {
    Signal::Message(Envelope {
        class: Class::Cast,
        from,
        to,
        epoch: Epoch(0),
        reference: Ref::NONE,
        schema: SchemaId(1),
        trace: TraceId(0),
        payload: Payload::from(vec![1, 2, 3]),
        attachments: None,
    })
}

type Lie<'a> = Box<dyn Fn(&mut Mallory) + 'a>;

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_lies_loses_its_association_and_harms_nobody() {
    let victims = Victims::new().await;
    let own = Pid::new(MALLORY, Incarnation(1), Serial(7));
    let (counter, of_beta) = (victims.counter, victims.agent);
    let lies: [(&str, Lie<'_>); 12] = [
        ("a message of no kind", Box::new(|m| m.say(vec![250, 1, 2, 3]))),
        ("an empty message", Box::new(|m| m.say(Vec::new()))),
        ("a signal that is none", Box::new(|m| m.say(vec![NodeMessage::SIGNAL, 255, 255, 255]))),
        ("a signal that is cut", Box::new(|m| m.say(vec![NodeMessage::SIGNAL, 6]))),
        ("an exit in another's name", Box::new(|m| m.signal(&exit(counter, of_beta)))),
        ("an exit for a process of a third node", Box::new(|m| m.signal(&exit(of_beta, own)))),
        (
            "an operator's kill of a process of a third node",
            Box::new(|m| m.signal(&Signal::Kill { to: of_beta, by: None })),
        ),
        ("an exit in the name of a process of its victim", Box::new(|m| m.signal(&exit(counter, counter)))),
        ("a type that it did not declare", Box::new(|m| m.signal(&message(counter, own)))),
        (
            "a schema that is none",
            Box::new(|m| m.say(NodeMessage::Schema { more: false, bytes: &[255; 100] }.encode())),
        ),
        (
            "a schema without an end",
            Box::new(|m| (0..100).for_each(|_| m.say(NodeMessage::Schema { more: true, bytes: &[0; 4096] }.encode()))),
        ),
        ("a packet of membership that is none", Box::new(|m| m.say(NodeMessage::Gossip(&[255; 64]).encode()))),
    ];
    for (what, lie) in lies {
        let mut mallory = Mallory::connect(&victims, 1);
        mallory.is_heard();
        lie(&mut mallory);
        // What it says behind a lie counts for nothing.
        mallory.signal(&exit(counter, own));
        mallory.is_thrown_out(what);
        victims.are_unharmed(what).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_frames_end_the_association_and_those_that_come_again_do_nothing() {
    let victims = Victims::new().await;
    for (what, bytes) in [("noise", vec![0xa5; 5000]), ("a huge length", vec![0xff; 64]), ("zeros", vec![0; 5000])] {
        let mut mallory = Mallory::connect(&victims, 1);
        mallory.is_heard();
        mallory.write(&bytes);
        mallory.is_thrown_out(what);
        victims.are_unharmed(what).await;
    }
    let mut mallory = Mallory::connect(&victims, 1);
    mallory.is_heard();
    let own = Pid::new(MALLORY, Incarnation(1), Serial(7));
    mallory.signal(&Signal::Ping {
        to: neurath_kernel::node_itself(victims.alpha.node.id()),
        from: own,
        reference: Ref::NONE,
    });
    mallory.is_heard();
    for _ in 0..3 {
        let again = mallory.written.clone();
        mallory.write(&again);
        mallory.is_heard();
    }
    victims.are_unharmed("frames that come again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_asked_a_member_for_is_dropped_and_senseless_wishes_are_answered() {
    let victims = Victims::new().await;
    let modules = victims.alpha.node.modules().await.unwrap().len();
    let module = [0; 32];
    let mut mallory = Mallory::connect(&victims, 1);
    let piece = |offset, length| NodeMessage::Piece { artifact: module, offset, length, bytes: &[0; 1000] }.encode();
    mallory.say(piece(0, 1000));
    mallory.say(piece(u64::MAX, u64::MAX));
    mallory.say(NodeMessage::Absent { artifact: module }.encode());
    let artifact = *blake3::hash(&crate::common::guest("cluster")).as_bytes();
    for offset in [u64::MAX, u64::MAX - 1, 1 << 40] {
        mallory.say(NodeMessage::Fetch { artifact, offset }.encode());
    }
    mallory.is_heard();
    let pieces = mallory
        .heard
        .iter()
        .filter(|bytes| matches!(NodeMessage::decode(bytes), Some(NodeMessage::Piece { bytes: &[], .. })));
    assert_eq!(pieces.count(), 3, "there is nothing behind the end of a module");
    assert_eq!(victims.alpha.node.modules().await.unwrap().len(), modules);
    victims.are_unharmed("pieces of nothing").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_past_life_of_a_member_is_not_believed() {
    let victims = Victims::new().await;
    let mut present = Mallory::connect(&victims, 5);
    present.is_heard();
    let mut past = Mallory::connect(&victims, 3);
    assert!(!past.up, "a hello of a past life makes no association");
    past.is_thrown_out("a hello of a past life");
    present.is_heard();
    victims.are_unharmed("a hello of a past life").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_is_turned_away_where_no_control_api_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    init_cluster(&data, "test", "alpha").unwrap();
    let cluster = Some(ClusterConfig::new(Transport::Tls("127.0.0.1:0".into())));
    let node = Node::start(NodeConfig { cluster, ..NodeConfig::new(&data) }).unwrap();
    let (key, minute) = (NodeKey::from_seed(&[3; 32]), Duration::from_secs(60));
    let operator = Authority::open(&data.join("authority")).unwrap().issue_operator(&key, "otto", minute).unwrap();
    let dialer = ControlDialer::new(&key, &operator).unwrap();
    let mut stream = dialer.dial(node.address().unwrap(), None, minute).unwrap();
    let heard = loop {
        match stream.read(&mut [0; 64]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
            heard => break heard,
        }
    };
    assert!(!matches!(heard, Ok(1..)), "{heard:?}");
    assert_eq!(node.nodes().await.len(), 1, "nobody but itself is known");
    node.stop();
}
