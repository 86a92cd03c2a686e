//! Frames, and a whole session that is given them.

use neurath_kernel::session::{ConnectionId, Origin};
use neurath_kernel::{Session, SessionConfig, SessionEffect};
use neurath_proto::frame::{Ack, Association, Frame, FrameNumber, Generation, Hello, Lane, Limits, Place};
use neurath_proto::id::{Incarnation, NodeId};
use neurath_proto::{Pid, Serial};

const MS: u64 = 1_000_000;
const PEER: NodeId = NodeId(2);
const LIMITS: Limits =
    Limits { message_bytes_max: 64 << 10, small_window_bytes: 32 << 10, large_window_bytes: 128 << 10 };
/// Connections that one input may use.
const CONNECTIONS_MAX: u64 = 16;

pub(super) fn frames(bytes: &[u8]) {
    if let Ok(Some(hello)) = Hello::decode(bytes) {
        let mut again = Vec::new();
        hello.encode(&mut again);
        assert_eq!(again, bytes[..Hello::BYTES]);
    }
    let mut rest = bytes;
    while let Ok(Some((frame, length))) = Frame::decode(rest) {
        let mut again = Vec::new();
        frame.encode(&mut again);
        assert_eq!(again, rest[..length], "{frame:?}");
        rest = &rest[length..];
    }
}

/// The first byte says who leads, whether good hellos go before the bytes, and in how long pieces they come.
pub(super) fn session(bytes: &[u8]) {
    let Some((head, bytes)) = bytes.split_first() else { return };
    let node = NodeId(if head & 1 == 0 { 1 } else { 3 });
    let greets = head & 2 == 0;
    let chunk = 1usize << (head >> 4);
    let config = SessionConfig { limits: LIMITS, ..SessionConfig::default() };
    let mut session = Session::new(node, Incarnation(1), PEER, config);
    let (mut now, mut connection, mut open) = (0, 0, false);
    for bytes in bytes.chunks(chunk) {
        now += MS;
        if !open {
            connection += 1;
            if connection > CONNECTIONS_MAX {
                return;
            }
            session.connected(now, ConnectionId(connection), Origin::Accepted);
            let _ = session.send(now, Pid::new(node, Incarnation(1), Serial(7)), vec![7; 100]);
            if greets {
                session.received(now, ConnectionId(connection), &greeting(node, connection));
            }
        }
        open = settle(&mut session, now, true);
        if open {
            session.received(now, ConnectionId(connection), bytes);
            open = settle(&mut session, now, open);
        }
    }
    // Whatever was said, the session comes to its end by time.
    for _ in 0..100 {
        let Some(deadline) = session.next_deadline() else { break };
        now = now.max(deadline);
        session.advance(now);
        settle(&mut session, now, false);
    }
}

/// Does what the session wants; whether its connection is still there.
fn settle(session: &mut Session, now: u64, mut open: bool) -> bool {
    while let Some(effect) = session.poll_effect() {
        match effect {
            SessionEffect::Close { .. } => open = false,
            SessionEffect::Write { connection, .. } => session.written(now, connection),
            SessionEffect::Deliver { bytes, credit } => {
                assert!(bytes.len() <= LIMITS.message_bytes_max as usize);
                if !bytes.len().is_multiple_of(3) {
                    session.consumed(now, credit);
                }
            }
            _ => {}
        }
    }
    let info = session.info();
    let granted = u64::from(LIMITS.small_window_bytes) + u64::from(LIMITS.large_window_bytes);
    assert!(info.unconsumed_bytes <= granted, "{info:?}");
    open
}

fn greeting(node: NodeId, connection: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let hello = Hello {
        from: PEER,
        to: node,
        incarnation: Incarnation(1),
        peer_incarnation: Incarnation(0),
        association: Association(0),
        open: false,
        received: FrameNumber(0),
        live: Generation(0),
        limits: LIMITS,
    };
    hello.encode(&mut out);
    if PEER < node {
        let welcome = Frame::Welcome {
            association: Association(connection),
            generation: Generation(connection),
            received: FrameNumber(0),
        };
        welcome.encode(&mut out);
    }
    out
}

pub(super) fn frame_seeds() -> Vec<Vec<u8>> {
    let large = [5; 300];
    let lane = Lane(1);
    let granted = Ack { received: FrameNumber(1), small_granted_bytes: 100_000, large_granted_bytes: 200_000 };
    let parts = |first: u64| {
        let part = |number, place, bytes| Frame::Part { number: FrameNumber(first + number), place, bytes };
        let mut out = Vec::new();
        for frame in [
            part(0, Place::Whole, &b"whole"[..]),
            part(1, Place::First { lane, length: 900 }, &large),
            Frame::Ping,
            part(2, Place::Middle { lane }, &large),
            part(3, Place::Last { lane }, &large),
            Frame::Ack(granted),
            Frame::Pong,
        ] {
            frame.encode(&mut out);
        }
        out
    };
    let mut end = parts(1);
    Frame::End.encode(&mut end);
    vec![greeting(NodeId(1), 1), greeting(NodeId(3), 1), parts(1), end]
}

pub(super) fn session_seeds() -> Vec<Vec<u8>> {
    let heads = [0x00, 0x01, 0x02, 0x03, 0xf0, 0xf1, 0xf2, 0xf3];
    let with = |head: u8| frame_seeds().into_iter().map(move |seed| [&[head], &seed[..]].concat());
    heads.into_iter().flat_map(with).collect()
}
