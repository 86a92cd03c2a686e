//! A peer and a bare session at the other end of a perfect wire, which says and hears messages as they are.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec;
use std::sync::Mutex;

use neurath_proto::envelope::{Class, Epoch, Payload, TraceId};
use neurath_proto::frame::Limits;
use neurath_proto::id::Serial;
use neurath_proto::reason::{CallError, ExitReason};
use neurath_proto::schema::{Def, DefKind, Field, Fields, Type};
use neurath_proto::{Pid, Ref};

use super::*;
use crate::session::Origin;

extern crate std;

const HERE: NodeId = NodeId(1);
const THERE: NodeId = NodeId(2);

/// Numbers schemas in the order in which they come, and takes the number for the hash.
#[derive(Default)]
struct Table(Mutex<Vec<Schema>>);

impl Table {
    fn number(&self, schema: &Schema) -> SchemaId {
        let mut all = self.0.lock().unwrap();
        let known = all.iter().position(|known| known == schema);
        let at = known.unwrap_or_else(|| {
            all.push(schema.clone());
            all.len() - 1
        });
        SchemaId(at as u32)
    }
}

impl WireTypes for Table {
    fn hash(&self, schema: SchemaId) -> SchemaHash {
        let mut hash = [7; 16];
        hash[..4].copy_from_slice(&schema.0.to_le_bytes());
        SchemaHash(hash)
    }

    fn id(&self, hash: SchemaHash) -> Option<SchemaId> {
        let (number, _) = hash.0.split_first_chunk()?;
        Some(SchemaId(u32::from_le_bytes(*number)))
    }
}

impl Schemas for Table {
    fn encoded(&self, id: SchemaId) -> Vec<u8> {
        self.0.lock().unwrap()[id.0 as usize].encode()
    }

    fn intern(&self, schema: Schema) -> Result<SchemaId, String> {
        Ok(self.number(&schema))
    }
}

/// A struct of so many fields.
fn wide(fields: usize) -> Schema {
    let field = |n| Field { name: format!("a_field_whose_name_is_long_{n:05}"), ty: Type::U64, default: None };
    let kind = DefKind::Struct(Fields::Named((0..fields).map(field).collect()));
    Schema { root: Type::Named(0), defs: vec![Def { name: "Wide".into(), kind }] }
}

fn of(node: NodeId) -> Pid {
    Pid::new(node, Incarnation(1), Serial(5))
}

fn message(class: Class, (from, to): (NodeId, NodeId), schema: SchemaId, length: usize) -> Signal {
    Signal::Message(Envelope {
        class,
        from: of(from),
        to: of(to),
        epoch: Epoch(0),
        reference: if class == Class::Message { Ref::NONE } else { Ref::new(1, 1) },
        schema,
        trace: TraceId(0),
        payload: Payload::from(vec![3; length]),
        attachments: None,
    })
}

fn exit() -> Signal {
    Signal::Exit { to: of(HERE), from: of(THERE), reason: ExitReason::Normal, linked: true }
}

struct Wire {
    table: Arc<Table>,
    peer: Peer,
    other: Session,
    now: u64,
    connection: u64,
    /// What the other end has heard.
    heard: Vec<Vec<u8>>,
    /// What came out of the peer, but for bytes.
    effects: Vec<PeerEffect>,
}

impl Wire {
    fn new(config: SessionConfig, theirs: SessionConfig) -> Self {
        let table = Arc::new(Table::default());
        Self {
            peer: Peer::new(HERE, Incarnation(1), THERE, config, table.clone()),
            table,
            other: Session::new(THERE, Incarnation(1), HERE, theirs),
            now: 0,
            connection: 0,
            heard: Vec::new(),
            effects: Vec::new(),
        }
    }

    fn connected() -> Self {
        let mut wire = Self::new(SessionConfig::default(), SessionConfig::default());
        wire.connect();
        assert!(matches!(wire.take()[..], [PeerEffect::Up { .. }]));
        wire
    }

    fn connect(&mut self) {
        self.connection += 1;
        let id = ConnectionId(self.connection);
        self.peer.session_mut().connected(self.now, id, Origin::Accepted);
        self.other.connected(self.now, id, Origin::Dialed);
        self.settle();
    }

    /// Carries bytes until neither end has more to say.
    fn settle(&mut self) {
        self.now += 1_000_000;
        let now = self.now;
        self.peer.session_mut().advance(now);
        self.other.advance(now);
        loop {
            if let Some(effect) = self.peer.poll(now) {
                match effect {
                    PeerEffect::Write { connection, bytes } => {
                        self.other.received(now, connection, &bytes);
                        self.peer.session_mut().written(now, connection);
                    }
                    PeerEffect::Close { connection, last, .. } => {
                        self.other.received(now, connection, &last);
                        self.other.closed(now, connection);
                    }
                    PeerEffect::Signal { credit, .. } => {
                        self.peer.session_mut().consumed(now, credit);
                        self.effects.push(effect);
                    }
                    PeerEffect::Dial(_) => {}
                    effect => self.effects.push(effect),
                }
            } else if let Some(effect) = self.other.poll_effect() {
                match effect {
                    SessionEffect::Write { connection, bytes } => {
                        self.peer.session_mut().received(now, connection, &bytes);
                        self.other.written(now, connection);
                    }
                    SessionEffect::Close { connection, .. } => self.peer.session_mut().closed(now, connection),
                    SessionEffect::Deliver { bytes, credit } => {
                        self.heard.push(bytes);
                        self.other.consumed(now, credit);
                    }
                    _ => {}
                }
            } else {
                return;
            }
        }
    }

    fn send(&mut self, signal: Signal) -> bool {
        let epoch = self.peer.epoch();
        let taken = self.peer.send(self.now, epoch, signal);
        self.settle();
        taken
    }

    /// The other end says this.
    fn say(&mut self, bytes: Vec<u8>) {
        self.other.send(self.now, of(THERE), bytes).unwrap();
        self.settle();
    }

    fn signal(&self, signal: &Signal) -> Vec<u8> {
        let mut bytes = vec![Message::SIGNAL];
        wire::encode(signal, &*self.table, &mut bytes);
        bytes
    }

    fn take(&mut self) -> Vec<PeerEffect> {
        core::mem::take(&mut self.effects)
    }

    /// What the other end has heard since: `false` for a piece of a schema, `true` for a signal.
    fn take_heard(&mut self) -> Vec<bool> {
        let kind = |bytes: &Vec<u8>| match Message::decode(bytes) {
            Some(Message::Schema { .. }) => false,
            Some(Message::Signal(_)) => true,
            other => panic!("{other:?}"),
        };
        core::mem::take(&mut self.heard).iter().map(kind).collect()
    }

    /// The signals that the other end has heard since.
    fn take_signals(&mut self) -> Vec<Signal> {
        let heard = core::mem::take(&mut self.heard);
        let signal = |bytes: Vec<u8>| match Message::decode(&bytes)? {
            Message::Signal(signal) => Some(wire::decode(signal, &*self.table).unwrap()),
            _ => None,
        };
        heard.into_iter().filter_map(signal).collect()
    }
}

/// How the association ended, if it did.
fn end(effects: &[PeerEffect]) -> Option<EndReason> {
    effects.iter().find_map(|effect| match effect {
        PeerEffect::Down { reason, .. } => Some(*reason),
        _ => None,
    })
}

#[test]
fn a_schema_is_declared_before_the_first_message_of_its_type_in_every_association() {
    let mut wire = Wire::connected();
    let (small, long) = (wire.table.number(&wide(1)), wire.table.number(&wide(800)));
    let to = (HERE, THERE);
    for association in 1..=2 {
        assert!(wire.send(message(Class::Message, to, small, 10)));
        assert!(wire.send(message(Class::Call, to, small, 10)));
        assert_eq!(wire.take_heard(), [false, true, true], "association {association}");
        assert!(wire.send(Signal::Link { to: of(THERE), from: of(HERE) }));
        assert!(wire.send(message(Class::Message, to, long, 10)));
        assert_eq!(wire.take_heard(), [true, false, false, false, true], "association {association}");
        wire.peer.session_mut().end(wire.now, EndCause::Asked);
        wire.settle();
        wire.connect();
    }
}

#[test]
fn a_schema_that_is_declared_in_pieces_is_known_when_the_last_has_come() {
    let mut wire = Wire::connected();
    let schema = wide(800);
    let id = wire.table.number(&schema);
    let bytes = schema.encode();
    assert!(bytes.len() > 2 * SCHEMA_PIECE_BYTES);
    let mut pieces = bytes.chunks(SCHEMA_PIECE_BYTES).peekable();
    while let Some(bytes) = pieces.next() {
        wire.say(Message::Schema { more: pieces.peek().is_some(), bytes }.encode());
    }
    let said = message(Class::Message, (THERE, HERE), id, 100);
    wire.say(wire.signal(&said));
    assert!(matches!(&wire.take()[..], [PeerEffect::Signal { signal, .. }] if *signal == said));
}

#[test]
fn what_is_said_by_who_has_not_heard_of_an_end_does_not_get_into_the_next_association() {
    let mut wire = Wire::connected();
    let link = || Signal::Link { to: of(THERE), from: of(HERE) };
    let watch = || Signal::Monitor { to: of(THERE), from: of(HERE), reference: Ref::new(1, 1) };
    wire.peer.session_mut().end(wire.now, EndCause::Asked);
    // The end has happened, and not even this shard has heard of it.
    assert!(!wire.peer.send(wire.now, 0, watch()));
    wire.settle();
    let effects = wire.take();
    let [PeerEffect::Unsent { signal, why: Unsent::Ended }, PeerEffect::Down { epoch: 1, .. }] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(*signal, watch());
    wire.connect();
    assert!(!wire.peer.send(wire.now, 0, watch()), "another shard has not heard of it");
    assert!(!wire.peer.send(wire.now, 0, exit()), "who waits for this was told by the end");
    assert!(
        !wire.peer.send(wire.now, 0, link()),
        "the end has cut it, and who hears of it now may have asked for another"
    );
    assert!(wire.peer.send(wire.now, 1, link()));
    wire.settle();
    let effects = wire.take();
    assert!(matches!(effects[..], [PeerEffect::Up { .. }, PeerEffect::Unsent { .. }]), "{effects:?}");
    assert_eq!(wire.take_heard(), [true]);
}

#[test]
fn each_breach_of_a_peer_ends_its_association_and_nothing_behind_it_comes_out() {
    type Lie = Box<dyn Fn(&Wire) -> Vec<Vec<u8>>>;
    type IsIt = fn(&Breach) -> bool;
    let exit_of = |from, to| Signal::Exit { to, from, reason: ExitReason::Normal, linked: true };
    let said = |signal: Signal| -> Lie { Box::new(move |wire| vec![wire.signal(&signal)]) };
    let bytes = |bytes: Vec<Vec<u8>>| -> Lie { Box::new(move |_| bytes.clone()) };
    let piece = |more, bytes: &[u8]| Message::Schema { more, bytes }.encode();
    let module = vec![0; MODULE_PIECE_BYTES + 1];
    let module = Message::Piece { artifact: [1; 32], offset: 0, length: 0, bytes: &module }.encode();
    let own = of(THERE);
    let lies: [(&str, Lie, IsIt); 10] = [
        ("no kind", bytes(vec![vec![250, 1]]), |b| *b == Breach::NoMessage),
        ("nothing", bytes(vec![vec![]]), |b| *b == Breach::NoMessage),
        ("no signal", bytes(vec![vec![Message::SIGNAL, 255]]), |b| matches!(b, Breach::NoSignal(_))),
        ("a signal of another", said(exit_of(of(HERE), of(HERE))), |b| *b == Breach::SpeaksForOthers),
        ("a signal to another", said(exit_of(own, own)), |b| *b == Breach::SpeaksForOthers),
        ("an undeclared type", said(message(Class::Message, (THERE, HERE), SchemaId(0), 9)), |b| {
            matches!(b, Breach::NoSignal(wire::WireError::UnknownSchema(_)))
        }),
        ("no schema", bytes(vec![piece(false, &[255; 50])]), |b| matches!(b, Breach::Schema(_))),
        ("half a schema", bytes(vec![piece(false, &wide(800).encode()[..9000])]), |b| matches!(b, Breach::Schema(_))),
        ("a schema without end", bytes(vec![piece(true, &[0; 12 << 10]); 6]), |b| *b == Breach::SchemaBeyondLimits),
        ("a long piece of a module", bytes(vec![module]), |b| *b == Breach::PieceTooLong),
    ];
    for (name, lie, is_it) in lies {
        let mut wire = Wire::connected();
        for bytes in lie(&wire) {
            wire.other.send(wire.now, own, bytes).unwrap();
        }
        let behind = [wire.signal(&exit()), Message::Gossip(&[1]).encode(), vec![250]];
        behind.into_iter().for_each(|bytes| wire.other.send(wire.now, own, bytes).unwrap());
        wire.settle();
        let effects = wire.take();
        let [PeerEffect::Broken(breach), PeerEffect::Down { reason, .. }] = &effects[..] else {
            panic!("{name}: {effects:?}");
        };
        assert!(is_it(breach), "{name}: {breach}");
        assert_eq!(*reason, EndReason::EndedHere(EndCause::PeerMisbehaved), "{name}");
        // The next association is a new one.
        wire.connect();
        wire.say(wire.signal(&exit()));
        assert!(matches!(wire.take()[..], [PeerEffect::Up { .. }, PeerEffect::Signal { .. }]), "{name}");
    }
}

#[test]
fn a_peer_may_declare_so_many_schemas_and_no_more() {
    let mut wire = Wire::connected();
    let declare = |wire: &mut Wire, n: u32| {
        let schema = Schema { root: Type::Array(Box::new(Type::U8), n), defs: Vec::new() };
        wire.peer.learn_schema(false, &schema.encode())
    };
    // One that is declared again is one.
    assert_eq!(declare(&mut wire, 0).and_then(|()| declare(&mut wire, 0)), Ok(()));
    for n in wire.peer.known.len()..SCHEMAS_MAX {
        wire.peer.known.insert(SchemaHash(((n as u128) << 64).to_le_bytes()), SchemaId(0));
    }
    assert_eq!(declare(&mut wire, 1), Err(Breach::SchemaBeyondLimits));
}

#[test]
fn who_asks_for_more_than_can_be_looked_after_has_broken_the_protocol() {
    let mut wire = Wire::connected();
    wire.say(Message::Fetch { artifact: [1; 32], offset: 7 }.encode());
    assert!(matches!(wire.take()[..], [PeerEffect::Fetch { artifact: [1, ..], offset: 7 }]));
    wire.peer.broke(wire.now, Breach::Greedy("modules"));
    wire.settle();
    let effects = wire.take();
    assert!(matches!(effects[0], PeerEffect::Broken(Breach::Greedy(_))), "{effects:?}");
    assert_eq!(end(&effects), Some(EndReason::EndedHere(EndCause::PeerMisbehaved)));
}

#[test]
fn what_finds_no_room_is_told_to_who_said_it_or_ends_the_association() {
    let config = SessionConfig { held_bytes_max: 10_000, ..SessionConfig::default() };
    for class in [Class::Message, Class::Call, Class::Reply] {
        let mut wire = Wire::new(config, config);
        let id = wire.table.number(&wide(1));
        let mut sent = 0;
        while wire.send(message(class, (HERE, THERE), id, 1000)) {
            sent += 1;
        }
        let effects = wire.take();
        assert!(matches!(effects[0], PeerEffect::Full), "{class:?}: {effects:?}");
        if class == Class::Reply {
            let lost = effects.iter().filter(|effect| matches!(effect, PeerEffect::Unconfirmed { .. })).count();
            assert_eq!((lost, end(&effects)), (sent, Some(EndReason::EndedHere(EndCause::Overfull))), "{effects:?}");
        } else {
            assert!(matches!(effects[1..], [PeerEffect::Unsent { why: Unsent::Full, .. }]), "{class:?}: {effects:?}");
        }
    }
}

#[test]
fn a_schema_that_finds_no_room_at_all_takes_its_message_along_and_one_that_is_begun_ends_the_association() {
    for (held_bytes_max, ends) in [(1_000, false), (4_000, true)] {
        let config = SessionConfig { held_bytes_max, ..SessionConfig::default() };
        let mut wire = Wire::new(config, config);
        let id = wire.table.number(&wide(800));
        assert!(!wire.send(message(Class::Message, (HERE, THERE), id, 10)));
        let effects = wire.take();
        assert!(effects.iter().any(|effect| matches!(effect, PeerEffect::Unsent { why: Unsent::Full, .. })));
        assert_eq!(end(&effects), ends.then_some(EndReason::EndedHere(EndCause::Overfull)), "{effects:?}");
    }
}

#[test]
fn what_is_too_long_for_the_peer_is_told_to_who_said_it_or_ends_the_association() {
    let limits = Limits { message_bytes_max: 5_000, ..SessionConfig::default().limits };
    let theirs = SessionConfig { limits, ..SessionConfig::default() };
    let down = Signal::Down {
        to: of(THERE),
        from: of(HERE),
        reference: Ref::new(1, 1),
        reason: ExitReason::Trap { message: "for a reason".repeat(1000) },
    };
    let message = |class| move |id| message(class, (HERE, THERE), id, 6_000);
    type Say = Box<dyn Fn(SchemaId) -> Signal>;
    let said: [(&str, Say, bool); 3] = [
        ("a message", Box::new(message(Class::Message)), false),
        ("a call", Box::new(message(Class::Call)), false),
        ("a notice", Box::new(move |_| down.clone()), true),
    ];
    for (name, say, ends) in said {
        for waits_for_hello in [true, false] {
            let mut wire = Wire::new(SessionConfig::default(), theirs);
            let id = wire.table.number(&wide(1));
            if !waits_for_hello {
                wire.connect();
            }
            assert_eq!(wire.send(say(id)), waits_for_hello, "{name}");
            if waits_for_hello {
                wire.connect();
            }
            let effects = wire.take();
            let unsent = |effect: &PeerEffect| {
                matches!(effect, PeerEffect::Unsent { why: Unsent::TooLong { limit_bytes: 5_000 }, .. })
            };
            assert_eq!(
                effects.iter().filter(|effect| unsent(effect)).count(),
                usize::from(!ends),
                "{name}: {effects:?}"
            );
            assert_eq!(end(&effects), ends.then_some(EndReason::EndedHere(EndCause::TooLong)), "{name}: {effects:?}");
            assert!(!wire.take_heard().contains(&true), "{name}");
        }
    }
}

#[test]
fn of_an_answer_that_is_too_long_for_the_peer_the_caller_is_told_and_the_association_stays() {
    let limits = Limits { message_bytes_max: 5_000, ..SessionConfig::default().limits };
    for waits_for_hello in [true, false] {
        let mut wire = Wire::new(SessionConfig::default(), SessionConfig { limits, ..SessionConfig::default() });
        let id = wire.table.number(&wide(1));
        if !waits_for_hello {
            wire.connect();
        }
        wire.send(message(Class::Reply, (HERE, THERE), id, 6_000));
        if waits_for_hello {
            wire.connect();
        }
        wire.settle();
        let effects = wire.take();
        assert_eq!(end(&effects), None, "{effects:?}");
        let heard = wire.take_signals();
        let [Signal::CallFailed { to, error: CallError::AnswerLost(why), .. }] = &heard[..] else {
            panic!("{heard:?}")
        };
        assert_eq!((*to, why.contains("5000 bytes")), (of(THERE), true), "{why}");
    }
}

#[test]
fn a_schema_that_is_too_long_for_the_peer_is_not_left_out() {
    let limits = Limits { message_bytes_max: 5_000, ..SessionConfig::default().limits };
    let mut wire = Wire::new(SessionConfig::default(), SessionConfig { limits, ..SessionConfig::default() });
    let id = wire.table.number(&wide(800));
    let said = || message(Class::Message, (HERE, THERE), id, 10);
    assert!(wire.send(said()));
    wire.connect();
    let effects = wire.take();
    assert_eq!(end(&effects), Some(EndReason::EndedHere(EndCause::TooLong)), "{effects:?}");
    assert!(matches!(&effects[1], PeerEffect::Unconfirmed { signal, .. } if *signal == said()), "{effects:?}");
    wire.connect();
    assert!(!wire.send(said()));
    assert!(matches!(wire.take()[..], [PeerEffect::Up { .. }, PeerEffect::Unsent { why: Unsent::TooLong { .. }, .. }]));
}

#[test]
fn what_an_association_has_lost_comes_out_in_the_order_sent_and_then_its_end() {
    let mut wire = Wire::new(SessionConfig::default(), SessionConfig::default());
    let id = wire.table.number(&wide(1));
    let all: Vec<Signal> = (10..20).map(|length| message(Class::Message, (HERE, THERE), id, length)).collect();
    all.iter().for_each(|signal| assert!(wire.send(signal.clone())));
    let mut lost = Vec::new();
    wire.peer.session_mut().end(wire.now, EndCause::Asked);
    wire.settle();
    for effect in wire.take() {
        match effect {
            PeerEffect::Unconfirmed { signal, association: None, maybe_delivered: false, .. } => {
                lost.push(signal);
            }
            // The schema was lost too, and is no process's.
            PeerEffect::Down { epoch: 1, unconfirmed: 10, .. } => assert_eq!(lost, all),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((lost.len(), wire.peer.epoch()), (10, 1));
}
