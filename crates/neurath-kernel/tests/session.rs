//! One session, or two with a perfect wire between them: times, limits and hostile bytes. What holds over faulty
//! networks is checked by `neurath-sim`.

use neurath_kernel::session::{
    CloseReason, ConnectionId, Credit, DialId, EndReason, Origin, SendError, Unconfirmed, Violation,
};
use neurath_kernel::{Session, SessionConfig, SessionEffect};
use neurath_proto::frame::{
    Ack, Association, Frame, FrameError, FrameNumber, Generation, Hello, Lane, Limits, PART_BYTES_MAX, Place,
};
use neurath_proto::id::{Incarnation, NodeId};
use neurath_proto::{Pid, Serial};

const MS: u64 = 1_000_000;
const LEADS: NodeId = NodeId(1);
const FOLLOWS: NodeId = NodeId(2);

fn pid(serial: u64) -> Pid {
    Pid::new(LEADS, Incarnation(1), Serial(serial))
}

fn effects(session: &mut Session) -> Vec<SessionEffect> {
    std::iter::from_fn(|| session.poll_effect()).collect()
}

fn hello_of(from: NodeId, to: NodeId) -> Hello {
    Hello {
        from,
        to,
        incarnation: Incarnation(1),
        peer_incarnation: Incarnation(0),
        association: Association(0),
        open: false,
        received: FrameNumber(0),
        live: Generation(0),
        limits: SessionConfig::default().limits,
    }
}

fn bytes_of(frames: &[Frame<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frames.iter().for_each(|frame| frame.encode(&mut bytes));
    bytes
}

/// The leading node's session, with a peer that the test plays.
struct Played {
    session: Session,
    connection: ConnectionId,
    now: u64,
}

impl Played {
    fn new(config: SessionConfig) -> Self {
        let session = Session::new(LEADS, Incarnation(1), FOLLOWS, config);
        let mut played = Self { session, connection: ConnectionId(0), now: 0 };
        played.connect(&hello_of(FOLLOWS, LEADS));
        played
    }

    fn connect(&mut self, hello: &Hello) -> Vec<SessionEffect> {
        self.connection.0 += 1;
        self.session.connected(self.now, self.connection, Origin::Accepted);
        self.session.written(self.now, self.connection);
        let mut bytes = Vec::new();
        hello.encode(&mut bytes);
        self.hear(&bytes)
    }

    fn hear(&mut self, bytes: &[u8]) -> Vec<SessionEffect> {
        self.session.received(self.now, self.connection, bytes);
        self.session.written(self.now, self.connection);
        effects(&mut self.session)
    }

    fn violates(frames: &[Frame<'_>]) -> Violation {
        let mut played = Self::new(SessionConfig::default());
        let effects = played.hear(&bytes_of(frames));
        let ended = effects.iter().find_map(|effect| match effect {
            SessionEffect::Ended { reason: EndReason::Violation(violation), .. } => Some(*violation),
            _ => None,
        });
        let closed = effects.iter().find_map(|effect| match effect {
            SessionEffect::Close { reason: CloseReason::Violation(violation), .. } => Some(*violation),
            _ => None,
        });
        assert_eq!(ended, closed, "{effects:?}");
        ended.unwrap_or_else(|| panic!("{frames:?} is no violation"))
    }
}

/// How an association ended.
type End = (Option<Association>, EndReason, Vec<Unconfirmed>);

/// Two sessions and a wire that carries whatever they write at once.
struct Pair {
    sessions: [Session; 2],
    now: u64,
    /// The connections that there are.
    wires: Vec<ConnectionId>,
    next: u64,
    /// Attempts lead nowhere.
    parted: bool,
    delivered: [Vec<Vec<u8>>; 2],
    ended: [Vec<End>; 2],
    up: [Vec<Association>; 2],
    writes: usize,
}

impl Pair {
    fn new(config: SessionConfig) -> Self {
        let session = |node, peer| Session::new(node, Incarnation(1), peer, config);
        Self {
            sessions: [session(LEADS, FOLLOWS), session(FOLLOWS, LEADS)],
            now: 0,
            wires: Vec::new(),
            next: 1,
            parted: false,
            delivered: Default::default(),
            ended: Default::default(),
            up: Default::default(),
            writes: 0,
        }
    }

    fn dial(&mut self, from: usize) {
        let connection = ConnectionId(self.next);
        self.next += 1;
        self.wires.push(connection);
        self.sessions[from].connected(self.now, connection, Origin::Dialed);
        self.sessions[1 - from].connected(self.now, connection, Origin::Accepted);
    }

    /// Carries all there is to carry.
    fn settle(&mut self) {
        while let Some((side, effect)) = (0..2).find_map(|side| Some((side, self.sessions[side].poll_effect()?))) {
            match effect {
                SessionEffect::Dial(dial) if self.parted => self.sessions[side].dial_failed(self.now, dial),
                SessionEffect::Dial(_) => self.dial(side),
                SessionEffect::Write { connection, bytes } => {
                    self.writes += 1;
                    if self.wires.contains(&connection) {
                        self.sessions[1 - side].received(self.now, connection, &bytes);
                    }
                    self.sessions[side].written(self.now, connection);
                }
                SessionEffect::Close { connection, last, .. } => {
                    self.wires.retain(|wire| *wire != connection);
                    self.sessions[1 - side].received(self.now, connection, &last);
                    self.sessions[1 - side].closed(self.now, connection);
                }
                SessionEffect::Up { association, .. } => self.up[side].push(association),
                SessionEffect::Deliver { bytes, credit } => {
                    self.delivered[side].push(bytes);
                    self.sessions[side].consumed(self.now, credit);
                }
                SessionEffect::Ended { association, reason, unconfirmed } => {
                    self.ended[side].push((association, reason, unconfirmed));
                }
                SessionEffect::Refused { .. } | SessionEffect::Full | SessionEffect::Drained => {}
            }
        }
    }

    /// Moves the clock in steps of a millisecond.
    fn pass(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now += MS;
            for session in &mut self.sessions {
                session.advance(self.now);
            }
            self.settle();
        }
    }

    fn part(&mut self) {
        self.parted = true;
        for wire in std::mem::take(&mut self.wires) {
            self.sessions.iter_mut().for_each(|session| session.closed(self.now, wire));
        }
    }

    fn send(&mut self, from: usize, sender: u64, message: &[u8]) {
        self.sessions[from].send(self.now, pid(sender), message.to_vec()).unwrap();
    }
}

#[test]
fn the_first_message_goes_out_at_once_and_what_is_sent_meanwhile_goes_out_together() {
    let mut played = Played::new(SessionConfig::default());
    let mut send = |number: u8| played.session.send(0, pid(1), vec![number]).unwrap();
    send(0);
    (1..=100).for_each(&mut send);
    let written = |session: &mut Session| match &effects(session)[..] {
        [SessionEffect::Write { bytes, .. }] => bytes.len(),
        other => panic!("{other:?}"),
    };
    let part = bytes_of(&[Frame::Part { number: FrameNumber(1), place: Place::Whole, bytes: &[0] }]).len();
    assert_eq!(written(&mut played.session), part);
    played.session.written(0, played.connection);
    assert_eq!(written(&mut played.session), 100 * part);
}

#[test]
fn what_a_broken_connection_lost_is_sent_again_on_the_next_one_and_nothing_twice() {
    for from in 0..2 {
        let mut pair = Pair::new(SessionConfig::default());
        let mut expected = Vec::new();
        for round in 0..20u8 {
            for number in 0..10 {
                expected.push(vec![round, number]);
                pair.send(from, 1, &[round, number]);
            }
            pair.settle();
            pair.part();
            expected.push(vec![round, 10]);
            pair.send(from, 1, &[round, 10]);
            pair.pass(200);
            pair.parted = false;
            pair.pass(6_000);
            assert_eq!(pair.delivered[1 - from], expected);
        }
        assert_eq!((pair.up[0].len(), pair.ended[0].len(), pair.ended[1].len()), (1, 0, 0));
    }
}

#[test]
fn after_the_grace_time_each_side_ends_it_once_and_sending_again_opens_a_higher_one() {
    let config = SessionConfig::default();
    let mut pair = Pair::new(config);
    pair.send(0, 1, b"arrives");
    pair.pass(100);
    pair.part();
    pair.send(0, 1, b"lost");
    pair.send(0, 2, b"too");
    pair.pass(config.grace_ns / MS - 2);
    assert!(pair.ended.iter().all(Vec::is_empty));
    pair.pass(4);
    let lost = [(1, "lost"), (2, "too")].map(|(serial, text)| Unconfirmed {
        from: Some(pid(serial)),
        bytes: text.into(),
        maybe_delivered: false,
    });
    assert_eq!(pair.ended[0], [(Some(Association(1)), EndReason::GraceOver, lost.to_vec())]);
    assert_eq!(pair.ended[1], [(Some(Association(1)), EndReason::GraceOver, vec![])]);
    pair.pass(100_000);
    pair.parted = false;
    pair.send(1, 1, b"again");
    pair.settle();
    assert_eq!(pair.up, [[Association(1), Association(2)], [Association(1), Association(2)]]);
    assert_eq!(pair.delivered[0], [b"again"]);
    assert_eq!((pair.ended[0].len(), pair.ended[1].len()), (1, 1));
}

#[test]
fn what_is_queued_when_an_association_is_due_to_end_ends_with_it() {
    let mut played = Played::new(SessionConfig::default());
    played.session.closed(0, played.connection);
    let over = SessionConfig::default().grace_ns;
    played.session.queue(over, pid(1), vec![7]).unwrap();
    played.session.queue_first(over, vec![8]).unwrap();
    assert!(!effects(&mut played.session).iter().any(|effect| matches!(effect, SessionEffect::Ended { .. })));
    played.session.advance(over);
    let ended = effects(&mut played.session).into_iter().find_map(|effect| match effect {
        SessionEffect::Ended { unconfirmed, .. } => Some(unconfirmed.len()),
        _ => None,
    });
    assert_eq!(ended, Some(2), "who says it has not heard of the end");
}

#[test]
fn a_node_that_cannot_be_reached_costs_its_messages_after_the_grace_time() {
    let config = SessionConfig::default();
    let mut pair = Pair::new(config);
    pair.parted = true;
    pair.send(0, 1, b"hello?");
    pair.pass(config.grace_ns / MS + 1);
    let (association, reason, unconfirmed) = &pair.ended[0][0];
    assert_eq!((*association, *reason, unconfirmed.len()), (None, EndReason::Unreachable, 1));
    assert_eq!(pair.sessions[0].next_deadline(), None);
}

#[test]
fn of_connections_that_cross_both_sides_keep_the_same_one() {
    for order in 0..4 {
        let mut pair = Pair::new(SessionConfig::default());
        for from in [order & 1, order >> 1, 0, 1] {
            pair.dial(from);
        }
        pair.send(0, 1, b"to you");
        pair.send(1, 1, b"to me");
        pair.pass(20);
        let [mine, theirs] = [0, 1].map(|side| pair.sessions[side].info());
        assert_eq!((mine.live, mine.handshakes), (theirs.live, theirs.handshakes));
        assert_eq!((mine.live.is_some(), mine.handshakes, pair.wires.len()), (true, 0, 1));
        assert_eq!((pair.delivered[0].len(), pair.delivered[1].len()), (1, 1));
        assert_eq!((pair.up[0].len(), pair.ended[0].len(), pair.ended[1].len()), (1, 0, 0));
    }
}

#[test]
fn bytes_of_a_superseded_connection_are_not_read() {
    let mut played = Played::new(SessionConfig::default());
    let old = played.connection;
    let resumed =
        Hello { association: Association(1), open: true, peer_incarnation: Incarnation(1), ..hello_of(FOLLOWS, LEADS) };
    played.connect(&resumed);
    let part = bytes_of(&[Frame::Part { number: FrameNumber(1), place: Place::Whole, bytes: b"old" }]);
    played.session.received(0, old, &part);
    assert!(effects(&mut played.session).iter().all(|effect| !matches!(effect, SessionEffect::Deliver { .. })));
    assert!(played.hear(&part).iter().any(|effect| matches!(effect, SessionEffect::Deliver { .. })));
}

#[test]
fn the_node_that_follows_keeps_to_the_latest_welcome() {
    let mut session = Session::new(FOLLOWS, Incarnation(1), LEADS, SessionConfig::default());
    let welcome = |generation| Frame::Welcome {
        association: Association(1),
        generation: Generation(generation),
        received: FrameNumber(0),
    };
    for number in [1, 2] {
        session.connected(0, ConnectionId(number), Origin::Accepted);
    }
    for number in [2, 1] {
        let mut bytes = Vec::new();
        hello_of(LEADS, FOLLOWS).encode(&mut bytes);
        welcome(number).encode(&mut bytes);
        session.received(0, ConnectionId(number), &bytes);
    }
    assert_eq!((session.info().live, session.info().handshakes), (Some(ConnectionId(2)), 0));
    let stale = SessionEffect::Close { connection: ConnectionId(1), reason: CloseReason::Stale, last: vec![] };
    assert!(effects(&mut session).contains(&stale));
}

#[test]
fn an_association_with_an_earlier_life_of_this_node_is_not_resumed() {
    let mut played = Played::new(SessionConfig::default());
    // Both count to the same number; the peer's is that of another life.
    let hello = Hello {
        association: Association(1),
        open: true,
        peer_incarnation: Incarnation(0),
        received: FrameNumber(0),
        ..hello_of(FOLLOWS, LEADS)
    };
    let effects = played.connect(&hello);
    assert!(effects.iter().any(|effect| matches!(effect, SessionEffect::Ended { reason: EndReason::PeerEnded, .. })));
    assert_eq!(played.session.info().association, Some(Association(2)));
}

#[test]
fn a_peer_with_another_incarnation_ends_the_association_and_its_old_life_is_not_let_in_again() {
    let mut played = Played::new(SessionConfig::default());
    played.session.send(0, pid(1), b"to the old one".to_vec()).unwrap();
    let reborn = Hello { incarnation: Incarnation(2), ..hello_of(FOLLOWS, LEADS) };
    let effects = played.connect(&reborn);
    let ended = effects.iter().find_map(|effect| match effect {
        SessionEffect::Ended { reason, unconfirmed, .. } => Some((*reason, unconfirmed.len())),
        _ => None,
    });
    assert_eq!(ended, Some((EndReason::PeerRestarted { incarnation: Incarnation(2) }, 1)));
    assert!(effects.contains(&SessionEffect::Up { association: Association(2), incarnation: Incarnation(2) }));
    let effects = played.connect(&hello_of(FOLLOWS, LEADS));
    let violation = Violation::OldIncarnation { found: Incarnation(1) };
    assert!(
        effects
            .iter()
            .any(|e| matches!(e, SessionEffect::Close { reason, .. } if *reason == CloseReason::Violation(violation)))
    );
}

#[test]
fn a_wrong_hello_closes_its_connection_by_name_and_touches_nothing_else() {
    let closes = |bytes: &[u8]| {
        let mut played = Played::new(SessionConfig::default());
        played.connection.0 += 1;
        played.session.connected(0, played.connection, Origin::Accepted);
        let effects = played.hear(bytes);
        assert_eq!(played.session.info().live, Some(ConnectionId(1)));
        match effects.iter().find(|effect| matches!(effect, SessionEffect::Close { .. })) {
            Some(SessionEffect::Close { reason: CloseReason::Violation(violation), .. }) => *violation,
            other => panic!("{other:?}"),
        }
    };
    let encoded = |hello: Hello| {
        let mut bytes = Vec::new();
        hello.encode(&mut bytes);
        bytes
    };
    assert_eq!(closes(b"GET / HTTP/1.1"), Violation::Frame(FrameError::Magic));
    assert_eq!(closes(b"NRSN\x02\0\0\0"), Violation::Frame(FrameError::Version { found: 2 }));
    assert_eq!(closes(&encoded(hello_of(NodeId(7), LEADS))), Violation::WrongNode { found: NodeId(7) });
    assert_eq!(closes(&encoded(hello_of(FOLLOWS, NodeId(7)))), Violation::NotMeant { found: NodeId(7) });
    let beyond = Hello {
        association: Association(1),
        open: true,
        peer_incarnation: Incarnation(1),
        received: FrameNumber(9),
        ..hello_of(FOLLOWS, LEADS)
    };
    assert_eq!(closes(&encoded(beyond)), Violation::AcknowledgedUnsent { received: FrameNumber(9) });
}

#[test]
fn each_way_to_break_the_protocol_has_a_name_and_ends_the_association() {
    let part = |number, place, bytes| Frame::Part { number: FrameNumber(number), place, bytes };
    let lane = Lane(3);
    let first = |number, length| part(number, Place::First { lane, length }, b"abc");
    assert_eq!(
        Played::violates(&[part(2, Place::Whole, b"")]),
        Violation::Gap { expected: FrameNumber(1), found: FrameNumber(2) }
    );
    let received = FrameNumber(1);
    assert_eq!(
        Played::violates(&[Frame::Ack(Ack { received, ..Ack::default() })]),
        Violation::AcknowledgedUnsent { received }
    );
    assert_eq!(Played::violates(&[part(1, Place::Middle { lane }, b"a")]), Violation::Lane(lane));
    assert_eq!(Played::violates(&[first(1, 9), first(2, 9)]), Violation::Lane(lane));
    assert_eq!(Played::violates(&[first(1, 5), part(2, Place::Middle { lane }, b"de")]), Violation::PartLength);
    assert_eq!(Played::violates(&[first(1, 5), part(2, Place::Last { lane }, b"d")]), Violation::PartLength);
    assert_eq!(Played::violates(&[first(1, 5), part(2, Place::Last { lane }, b"def")]), Violation::PartLength);
    let longest = SessionConfig::default().limits.message_bytes_max;
    assert_eq!(Played::violates(&[first(1, longest + 1)]), Violation::TooLong);
    let many: Vec<_> =
        (0..5).map(|n| part(n + 1, Place::First { lane: Lane(n as u16), length: longest }, b"a")).collect();
    assert_eq!(Played::violates(&many), Violation::BeyondGrant);
    let full = [0; PART_BYTES_MAX];
    let many: Vec<_> = (0..200).map(|n| part(n + 1, Place::Whole, &full)).collect();
    assert_eq!(Played::violates(&many), Violation::BeyondGrant);
    let (association, generation) = (Association(1), Generation(9));
    assert_eq!(
        Played::violates(&[Frame::Welcome { association, generation, received: FrameNumber(0) }]),
        Violation::Unexpected
    );
}

#[test]
fn hostile_bytes_end_in_errors_and_never_in_panics() {
    // A conversation, cut and flipped everywhere; the rest of it follows, as a peer gone wrong would go on.
    let mut good = Vec::new();
    hello_of(FOLLOWS, LEADS).encode(&mut good);
    let part = |number, place, bytes| Frame::Part { number: FrameNumber(number), place, bytes };
    good.extend(bytes_of(&[
        part(1, Place::Whole, b"small"),
        part(2, Place::First { lane: Lane(1), length: 6 }, b"abc"),
        part(3, Place::Whole, b""),
        Frame::Ping,
        Frame::Ack(Ack { received: FrameNumber(1), small_granted_bytes: 1 << 22, large_granted_bytes: 1 << 23 }),
        part(4, Place::Last { lane: Lane(1) }, b"def"),
        Frame::Pong,
        Frame::End,
    ]));
    let hear = |bytes: &[u8]| {
        for (node, peer) in [(LEADS, FOLLOWS), (FOLLOWS, LEADS)] {
            let mut session = Session::new(node, Incarnation(1), peer, SessionConfig::default());
            session.send(0, pid(1), b"one".to_vec()).unwrap();
            session.connected(0, ConnectionId(1), Origin::Accepted);
            session.written(0, ConnectionId(1));
            for chunk in bytes.chunks(7) {
                session.received(0, ConnectionId(1), chunk);
                session.written(0, ConnectionId(1));
            }
            effects(&mut session);
        }
    };
    hear(&good);
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        hear(&bytes);
        hear(&bytes[..bit / 8]);
    }
    let mut state = 1u64;
    for _ in 0..2_000 {
        let mut bytes = good.clone();
        for _ in 0..3 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (state >> 33) as usize % bytes.len();
            bytes[at] = (state >> 20) as u8;
        }
        hear(&bytes);
    }
}

#[test]
fn the_queue_towards_a_slow_peer_is_bounded_and_says_so() {
    let config = SessionConfig { held_bytes_max: 10_000, ..SessionConfig::default() };
    let mut played = Played::new(config);
    let mut sent = 0;
    let refused = loop {
        match played.session.send(0, pid(1), vec![0; 936]) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((sent, refused), (40, SendError::Full { bytes: vec![0; 936] }));
    let full = |effects: &[SessionEffect]| effects.iter().filter(|e| **e == SessionEffect::Full).count();
    let drained = |effects: &[SessionEffect]| effects.iter().filter(|e| **e == SessionEffect::Drained).count();
    assert_eq!(full(&effects(&mut played.session)), 1);
    played.session.written(0, played.connection);
    let ack = |number| bytes_of(&[Frame::Ack(Ack { received: FrameNumber(number), ..Ack::default() })]);
    assert_eq!(drained(&played.hear(&ack(34))), 0);
    assert_eq!(drained(&played.hear(&ack(35))), 1);
}

#[test]
fn a_message_waits_for_the_grant_of_its_class_only() {
    let limits = Limits { message_bytes_max: 40_000, small_window_bytes: 20_000, large_window_bytes: 40_064 };
    let mut pair = Pair::new(SessionConfig { limits, ..SessionConfig::default() });
    pair.send(0, 1, b"hello");
    pair.pass(20);
    let large = vec![1; 40_000];
    let mut unconsumed: Vec<Credit> = Vec::new();
    let mut arrived = Vec::new();
    for sender in 1..4 {
        pair.send(0, sender, &large);
    }
    pair.send(0, 9, b"small");
    // The receiver consumes nothing.
    for _ in 0..50 {
        for side in 0..2 {
            while let Some(effect) = pair.sessions[side].poll_effect() {
                match effect {
                    SessionEffect::Write { connection, bytes } => {
                        pair.sessions[1 - side].received(pair.now, connection, &bytes);
                        pair.sessions[side].written(pair.now, connection);
                    }
                    SessionEffect::Deliver { bytes, credit } => {
                        arrived.push(bytes.len());
                        unconsumed.push(credit);
                    }
                    _ => {}
                }
            }
        }
        pair.now += MS;
        pair.sessions.iter_mut().for_each(|session| session.advance(pair.now));
    }
    arrived.sort_unstable();
    assert_eq!(arrived, [5, 40_000]);
    for credit in unconsumed {
        pair.sessions[1].consumed(pair.now, credit);
    }
    pair.pass(100);
    assert_eq!(pair.delivered[1].iter().filter(|message| message.len() == 40_000).count(), 2);
}

/// A node that was stopped for a while, or busy, has the words of its peers waiting when it goes on.
#[test]
fn nobody_is_silent_whose_words_have_only_not_been_read() {
    let config = SessionConfig::default();
    let mut played = Played::new(config);
    let late = config.silence_max_ns + MS;
    played.session.send(late, pid(1), vec![1]).unwrap();
    played.session.received(late, played.connection, &bytes_of(&[Frame::Ping]));
    played.session.advance(late);
    let effects = effects(&mut played.session);
    assert!(!effects.iter().any(|effect| matches!(effect, SessionEffect::Close { .. })), "{effects:?}");
    assert_eq!(played.session.info().live, Some(played.connection));
}

#[test]
fn a_silent_peer_is_asked_and_then_dropped() {
    let config = SessionConfig::default();
    let mut played = Played::new(config);
    played.session.written(0, played.connection);
    effects(&mut played.session);
    played.session.advance(config.ping_after_ns);
    let ping = bytes_of(&[Frame::Ping]);
    assert_eq!(
        effects(&mut played.session),
        [SessionEffect::Write { connection: played.connection, bytes: ping.clone() }]
    );
    played.session.written(config.ping_after_ns, played.connection);
    played.session.advance(config.silence_max_ns - 1);
    assert!(!effects(&mut played.session).iter().any(|effect| matches!(effect, SessionEffect::Close { .. })));
    played.session.advance(config.silence_max_ns);
    let closed = SessionEffect::Close { connection: played.connection, reason: CloseReason::Silent, last: vec![] };
    assert!(effects(&mut played.session).contains(&closed));
    // The association lives on: it only wants another connection.
    assert!(played.session.info().association.is_some());
    played.session.advance(config.silence_max_ns + config.backoff_min_ns);
    assert_eq!(effects(&mut played.session), [SessionEffect::Dial(DialId(1))]);
}

#[test]
fn a_peer_that_takes_shorter_messages_is_not_sent_longer_ones() {
    let config = SessionConfig::default();
    let mut session = Session::new(LEADS, Incarnation(1), FOLLOWS, config);
    session.send(0, pid(1), vec![1; 2_000]).unwrap();
    session.send(0, pid(1), vec![2; 500]).unwrap();
    session.connected(0, ConnectionId(1), Origin::Dialed);
    let limits = Limits { message_bytes_max: 1_000, ..config.limits };
    let mut bytes = Vec::new();
    Hello { limits, ..hello_of(FOLLOWS, LEADS) }.encode(&mut bytes);
    session.received(0, ConnectionId(1), &bytes);
    let refused = effects(&mut session).into_iter().find_map(|effect| match effect {
        SessionEffect::Refused { messages, limit_bytes } => Some((messages.len(), limit_bytes)),
        _ => None,
    });
    assert_eq!(refused, Some((1, 1_000)));
    assert_eq!(session.info().held_messages, 1);
    assert!(matches!(session.send(0, pid(1), vec![3; 1_001]), Err(SendError::TooLong { limit_bytes: 1_000, .. })));
}

#[test]
fn what_a_node_says_itself_goes_before_all_that_has_not_begun() {
    let mut pair = Pair::new(SessionConfig::default());
    pair.sessions[0].queue(0, pid(1), vec![1]).unwrap();
    pair.sessions[0].queue(0, pid(2), vec![2; 3 * PART_BYTES_MAX]).unwrap();
    for text in [vec![3], vec![4]] {
        pair.sessions[0].queue_first(0, text).unwrap();
    }
    pair.sessions[0].queue(0, pid(3), vec![5]).unwrap();
    assert!(pair.sessions[0].poll_effect().is_none(), "nothing goes out before it is let");
    pair.sessions[0].advance(0);
    pair.settle();
    let order: Vec<u8> = pair.delivered[1].iter().map(|message| message[0]).collect();
    assert_eq!(order[..2], [3, 4]);
    assert_eq!(order.len(), 5);
    let long = vec![0; PART_BYTES_MAX + 1];
    let limit_bytes = PART_BYTES_MAX as u32;
    assert_eq!(pair.sessions[0].queue_first(0, long.clone()), Err(SendError::TooLong { bytes: long, limit_bytes }));
}
