//! What every transport promises: one function for each promise, run with each transport.
//!
//! Invariant: no promise here knows which transport it is tested with, unless its name says so.

mod common;

use std::io::{ErrorKind, Write};

use common::{Kind, World, is_closed, pattern};
use neurath_net::{Dial, DialError, Event, Limits, ListenError, NodeId, Security, tcp};

macro_rules! conformance {
    ($($promise:ident)*) => {
        mod memory { $(#[test] fn $promise() { super::$promise(&super::World::new(super::Kind::Memory)); })* }
        mod plain { $(#[test] fn $promise() { super::$promise(&super::World::new(super::Kind::Plain)); })* }
        mod tls { $(#[test] fn $promise() { super::$promise(&super::World::new(super::Kind::Tls)); })* }
    };
}

conformance! {
    bytes_go_both_ways
    many_bytes_arrive_whole
    what_does_not_fit_into_the_socket_waits_and_is_not_lost
    whoever_reads_until_it_is_emptied_has_heard_all_that_was_there
    whoever_reads_until_it_is_emptied_and_waits_for_the_next_event_hears_everything
    one_side_can_finish_while_the_other_goes_on
    a_peer_that_ignores_the_end_is_rid_of_by_dropping_it
    a_connection_can_be_opened_again
    connections_between_two_nodes_are_independent
    connects_that_cross_both_succeed
    a_node_does_not_dial_itself
    writing_to_a_peer_that_is_gone_fails
    writing_after_the_end_fails
    a_closed_endpoint_refuses_and_leaves_what_is_established
    dials_under_way_are_answered_when_the_endpoint_closes
    a_peer_that_leaves_in_the_middle_of_the_handshake_harms_nobody
    garbage_is_refused_by_name
    a_handshake_that_never_ends_is_closed_in_time
    a_dial_that_is_never_answered_fails_in_time
    another_node_at_the_address_is_named
    where_nobody_listens_the_dial_fails
    dials_beyond_the_limit_fail_at_once
    of_too_many_half_open_connections_the_oldest_goes_first
}

fn bytes_go_both_ways(world: &World) {
    let (a, b) = (world.node(1), world.node(2));
    let (mut at_a, mut at_b) = a.connect(&b);
    for round in 0..100u8 {
        at_a.send(&[round, 1, 2]).unwrap();
        assert_eq!(at_b.hear(3), [round, 1, 2]);
        at_b.send(&[round]).unwrap();
        assert_eq!(at_a.hear(1), [round]);
    }
}

fn many_bytes_arrive_whole(world: &World) {
    let (a, b) = (world.node(1), world.node(2));
    let (mut at_a, mut at_b) = a.connect(&b);
    let piece = pattern(1 << 20);
    let sent = piece.clone();
    let sender = std::thread::spawn(move || {
        for _ in 0..64 {
            at_a.send(&sent).unwrap();
        }
        at_a.finish();
        at_a
    });
    for round in 0..64 {
        assert!(at_b.hear(1 << 20) == piece, "piece {round} differs");
    }
    assert!(at_b.is_at_end());
    drop(sender.join().unwrap());
}

fn what_does_not_fit_into_the_socket_waits_and_is_not_lost(world: &World) {
    let (a, b) = (world.node(1), world.node(2));
    let (mut at_a, mut at_b) = a.connect(&b);
    let piece = pattern(100_000);
    let mut written = 0;
    // Both sockets' buffers and that of TLS are bounded, so this ends.
    loop {
        match at_a.connection.write(&piece[written % piece.len()..]) {
            Ok(n) => written += n,
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::WouldBlock);
                break;
            }
        }
        assert!(written < 1 << 30, "a write that nobody reads blocks some time");
    }
    let reader = std::thread::spawn(move || at_b.hear(written));
    at_a.send(&[]).unwrap();
    let heard = reader.join().unwrap();
    assert!(heard.iter().enumerate().all(|(at, byte)| *byte == piece[at % piece.len()]));
    assert!(!at_a.connection.wants_write());
}

/// All is there before the reader begins, and the writer is silent then: nothing tells the reader of what it left.
fn whoever_reads_until_it_is_emptied_has_heard_all_that_was_there(world: &World) {
    let (a, b) = (world.node(1), world.node(2));
    // TLS cuts what is written into records of 16 KiB; the last amount still fits into a socket that nobody reads.
    for length in [1, 4_096, 16_384, 17_000, 33_000, 50_000] {
        for at_once in [1, 100, 4_096, 16 << 10, 20_000, 128 << 10] {
            let (mut at_a, mut at_b) = a.connect(&b);
            let sent = pattern(length);
            at_a.send(&sent).unwrap();
            assert!(at_b.hear_at_events(length, at_once) == sent, "{length} bytes, read {at_once} at once, differ");
        }
    }
}

/// Also if the reader stood still until no more could be written.
fn whoever_reads_until_it_is_emptied_and_waits_for_the_next_event_hears_everything(world: &World) {
    let (a, b) = (world.node(1), world.node(2));
    let (mut at_a, mut at_b) = a.connect(&b);
    let piece = pattern(100_000);
    let mut written = 0;
    while let Ok(n) = at_a.connection.write(&piece[written % piece.len()..]) {
        written += n;
    }
    let rest = piece.len() - written % piece.len();
    let all = written + rest + 100 * piece.len();
    let reader = std::thread::spawn(move || at_b.hear_at_events(all, 128 << 10));
    at_a.send(&piece[piece.len() - rest..]).unwrap();
    for _ in 0..100 {
        at_a.send(&piece).unwrap();
    }
    let heard = reader.join().unwrap();
    assert!(heard.iter().enumerate().all(|(at, byte)| *byte == piece[at % piece.len()]));
}

fn one_side_can_finish_while_the_other_goes_on(world: &World) {
    let (a, b) = (world.node(1), world.node(2));
    let (mut at_a, mut at_b) = a.connect(&b);
    at_a.send(b"the last").unwrap();
    at_a.finish();
    assert_eq!(at_b.hear(8), b"the last");
    assert!(at_b.is_at_end());
    let answer = pattern(1 << 20);
    let sent = answer.clone();
    let sender = std::thread::spawn(move || {
        at_b.send(&sent).unwrap();
        at_b.finish();
    });
    assert!(at_a.hear(1 << 20) == answer);
    assert!(at_a.is_at_end());
    sender.join().unwrap();
}

fn a_peer_that_ignores_the_end_is_rid_of_by_dropping_it(world: &World) {
    let (a, b) = (world.node(1), world.node(2));
    let (mut at_a, mut at_b) = a.connect(&b);
    at_a.finish();
    at_b.send(b"still here").unwrap();
    assert_eq!(at_a.hear(10), b"still here");
    drop(at_a);
    let piece = pattern(1 << 16);
    assert!((0..1000).any(|_| at_b.send(&piece).is_err()), "whoever writes to nobody is told");
}

fn a_connection_can_be_opened_again(world: &World) {
    let (a, b) = (world.node(1), world.node(2));
    for round in 0..5u8 {
        let (mut at_a, mut at_b) = if round % 2 == 0 { a.connect(&b) } else { b.connect(&a) };
        at_a.send(&[round]).unwrap();
        assert_eq!(at_b.hear(1), [round]);
        at_a.finish();
        assert!(at_b.is_at_end());
    }
}

fn connections_between_two_nodes_are_independent(world: &World) {
    let (a, b) = (world.node(1), world.node(2));
    for token in 0..32 {
        a.handle.dial(Dial { token, peer: b.id, address: b.address() });
    }
    let (mut dialed, mut tokens) = (Vec::new(), Vec::new());
    for _ in 0..32 {
        match a.event() {
            Event::Dialed { token, connection } => {
                tokens.push(token);
                dialed.push((token as u8, common::Line::new(connection)));
            }
            other => panic!("{other:?}"),
        }
    }
    tokens.sort_unstable();
    assert_eq!(tokens, (0..32).collect::<Vec<_>>());
    for (token, line) in &mut dialed {
        line.send(&[*token]).unwrap();
    }
    let mut heard: Vec<u8> = (0..32).map(|_| b.accepted().hear(1)[0]).collect();
    heard.sort_unstable();
    assert_eq!(heard, (0..32).collect::<Vec<_>>());
}

fn connects_that_cross_both_succeed(world: &World) {
    let (a, b) = (world.node(1), world.node(2));
    a.dial_to(b.id, &b.address());
    b.dial_to(a.id, &a.address());
    for node in [&a, &b] {
        let mut seen = [node.event(), node.event()].map(|event| match event {
            Event::Dialed { .. } => "dialed",
            Event::Accepted(_) => "accepted",
            other => panic!("{other:?}"),
        });
        seen.sort_unstable();
        assert_eq!(seen, ["accepted", "dialed"]);
    }
}

fn a_node_does_not_dial_itself(world: &World) {
    let a = world.node(1);
    let error = a.dial_fails(a.id, &a.address());
    assert!(matches!(error, DialError::Itself { .. }), "{error}");
}

fn writing_to_a_peer_that_is_gone_fails(world: &World) {
    let (a, b) = (world.node(1), world.node(2));
    let (mut at_a, at_b) = a.connect(&b);
    drop(at_b);
    assert!(!matches!(at_a.read_some(&mut [0; 8]), Ok(1..)));
    let failed = (0..100).find_map(|_| at_a.send(b"anyone?").err());
    assert!(failed.is_some(), "whoever writes to nobody is told");
}

fn writing_after_the_end_fails(world: &World) {
    let (a, b) = (world.node(1), world.node(2));
    let (mut at_a, mut at_b) = a.connect(&b);
    at_a.finish();
    assert_eq!(at_a.send(b"more").unwrap_err().kind(), ErrorKind::BrokenPipe);
    assert!(at_b.is_at_end());
}

fn a_closed_endpoint_refuses_and_leaves_what_is_established(world: &World) {
    let (a, b) = (world.node(1), world.node(2));
    let (mut at_a, mut at_b) = a.connect(&b);
    let address = b.address();
    b.handle.close();
    assert!(matches!(b.event(), Event::Closed));
    let error = a.dial_fails(b.id, &address);
    assert!(matches!(error, DialError::Unreachable { .. }), "{error}");
    at_a.send(b"on").unwrap();
    assert_eq!(at_b.hear(2), b"on");
}

fn dials_under_way_are_answered_when_the_endpoint_closes(world: &World) {
    let (mut a, silent) = (world.endpoint(1, Limits::default()), world.endpoint(2, Limits::default()));
    let (handle, address) = (a.handle(), silent.handle().address().unwrap());
    handle.dial(Dial { token: 1, peer: world.node_id(2), address: address.clone() });
    assert!(a.next(Some(std::time::Duration::ZERO)).is_none());
    handle.close();
    handle.dial(Dial { token: 2, peer: world.node_id(2), address });
    let mut answered = Vec::new();
    loop {
        match a.next(None).unwrap() {
            Event::DialFailed { token, error: DialError::Closed { .. } } => answered.push(token),
            Event::Closed => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(answered, [1, 2]);
    assert!(matches!(a.next(None), Some(Event::Closed)));
}

fn a_peer_that_leaves_in_the_middle_of_the_handshake_harms_nobody(world: &World) {
    let (a, b) = (world.node(1), world.node(2));
    let beginnings = match world.kind {
        Kind::Tls => [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01"],
        Kind::Plain | Kind::Memory => [&b""[..], b"N", b"NRNT\x01\0\0\0"],
    };
    for said in beginnings {
        let mut raw = world.raw(&b.address());
        raw.write_all(said).unwrap();
        drop(raw);
        let why = b.refused();
        assert!(why.contains("broke"), "{why}");
    }
    a.connect(&b);
}

fn garbage_is_refused_by_name(world: &World) {
    let b = world.node(2);
    let mut raw = world.raw(&b.address());
    raw.write_all(b"GET / HTTP/1.1\r\nHost: somewhere\r\n\r\n").unwrap();
    let why = b.refused();
    assert!(why.contains("does not speak as a node") || why.contains("TLS"), "{why}");
    // With TLS it gets an alert of seven bytes, and nothing else.
    assert!(is_closed(&mut *raw, 7));
}

fn a_handshake_that_never_ends_is_closed_in_time(world: &World) {
    let b = world.node_with(2, Limits { handshake_ms: 50, ..Limits::default() });
    let mut silent = world.raw(&b.address());
    let why = b.refused();
    assert!(why.contains("within 50 ms"), "{why}");
    assert!(is_closed(&mut *silent, 0));
    let mut slow = world.raw(&b.address());
    slow.write_all(b"N").unwrap();
    assert!(is_closed(&mut *slow, 7));
    b.refused();
}

fn a_dial_that_is_never_answered_fails_in_time(world: &World) {
    let silent = world.endpoint(2, Limits::default());
    let a = world.node_with(1, Limits { dial_ms: 50, ..Limits::default() });
    let error = a.dial_fails(world.node_id(2), &silent.handle().address().unwrap());
    assert!(matches!(error, DialError::TimedOut { limit_ms: 50, .. }), "{error}");
}

fn another_node_at_the_address_is_named(world: &World) {
    let (a, b) = (world.node(1), world.node(2));
    let absent = world.node_id(3);
    match a.dial_fails(absent, &b.address()) {
        DialError::WrongPeer { wanted, found, .. } => assert_eq!((wanted, found), (absent, b.id)),
        other => panic!("{other}"),
    }
    b.refused();
    a.connect(&b);
}

fn where_nobody_listens_the_dial_fails(world: &World) {
    let a = world.node(1);
    let free = match world.kind {
        Kind::Memory => "nobody".to_owned(),
        Kind::Plain | Kind::Tls => {
            std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
        }
    };
    let error = a.dial_fails(NodeId(7), &free);
    assert!(matches!(error, DialError::Unreachable { .. }), "{error}");
}

fn dials_beyond_the_limit_fail_at_once(world: &World) {
    let silent = world.endpoint(2, Limits::default());
    let address = silent.handle().address().unwrap();
    let a = world.node_with(1, Limits { dials_max: 3, ..Limits::default() });
    for token in 0..4 {
        a.handle.dial(Dial { token, peer: world.node_id(2), address: address.clone() });
    }
    assert!(matches!(a.event(), Event::DialFailed { token: 3, error: DialError::TooMany { limit: 3, .. } }));
}

fn of_too_many_half_open_connections_the_oldest_goes_first(world: &World) {
    let a = world.node(1);
    let b = world.node_with(2, Limits { half_open_max: 4, ..Limits::default() });
    let mut raws: Vec<_> = (0..10).map(|_| world.raw(&b.address())).collect();
    for raw in &mut raws[..6] {
        assert!(is_closed(&mut **raw, 0));
        let why = b.refused();
        assert!(why.contains("the oldest"), "{why}");
    }
    a.dial_to(b.id, &b.address());
    assert_eq!(b.accepted().peer(), a.id);
}

#[test]
fn over_tcp_an_address_that_is_none_is_refused_by_name() {
    let world = World::new(Kind::Tls);
    let a = world.node(1);
    for address in ["", "nowhere", "127.0.0.1", "127.0.0.1:http", "a b:1"] {
        let error = a.dial_fails(NodeId(7), address);
        assert!(matches!(error, DialError::Address { .. }), "{address}: {error}");
    }
    let error = a.dial_fails(NodeId(7), "no-such-host.invalid:1");
    assert!(matches!(error, DialError::Unresolved { .. }), "{error}");
}

#[test]
fn over_tcp_every_address_of_a_name_is_tried() {
    let world = World::new(Kind::Tls);
    let (a, b) = (world.node(1), world.node(2));
    let port = b.address().rsplit_once(':').unwrap().1.to_owned();
    a.dial_to(b.id, &format!("localhost:{port}"));
    assert_eq!(a.dialed().peer(), b.id);
}

#[test]
fn without_tls_other_machines_are_neither_listened_to_nor_dialed() {
    let plain = || Security::PlainLoopback(NodeId(1));
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:7700"] {
        let error = tcp::listen(Some(address), plain(), Limits::default()).err();
        assert!(matches!(error, Some(ListenError::NotLoopback { .. })), "{address}");
    }
    let world = World::new(Kind::Plain);
    let a = world.node(1);
    let error = a.dial_fails(NodeId(7), "192.0.2.1:7700");
    assert!(matches!(error, DialError::NotLoopback { .. }), "{error}");
}

#[test]
fn an_address_that_is_taken_is_refused_by_name() {
    let world = World::new(Kind::Plain);
    let a = world.node(1);
    let error = tcp::listen(Some(&a.address()), Security::PlainLoopback(NodeId(2)), Limits::default()).err().unwrap();
    assert!(matches!(error, ListenError::Io { .. }) && error.to_string().contains(&a.address()), "{error}");
}
