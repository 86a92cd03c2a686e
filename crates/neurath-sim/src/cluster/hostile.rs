//! A node that breaks the protocol in every way. It is a node like the others, with peers of its own, so that it comes as far
//! as they do; some of what it says is not true, and what it writes is spoiled on its way.
//!
//! Invariant: what it does to others goes through their connections only, and under its own identity.

use neurath_kernel::{NodeMessage, Signal};
use neurath_proto::Schema;
use neurath_proto::frame::{Ack, Association, Frame, FrameNumber, Generation, Hello, Lane, Limits, Place};
use neurath_proto::id::{Incarnation, NodeId};
use neurath_proto::schema::{Def, DefKind, Field, Fields, Type};

use super::Cluster;
use crate::check::Side;
use crate::rng::Rng;

/// Writes that are kept, to be said again.
const PAST_MAX: usize = 64;
/// What stands before the payload of a message, about.
const HEAD_BYTES: usize = 80;

pub(super) struct Hostile {
    node: usize,
    /// How many writes of a hundred are spoiled.
    percent: u64,
    past: Vec<Vec<u8>>,
}

impl Cluster {
    /// This node breaks the protocol from now on.
    pub fn set_hostile(&mut self, node: usize, percent: u64) {
        self.hostile = Some(Hostile { node, percent, past: Vec::new() });
    }

    /// Whether it does.
    pub fn is_hostile(&self, node: usize) -> bool {
        self.hostile.as_ref().is_some_and(|hostile| hostile.node == node)
    }

    pub(super) fn is_between_honest(&self, side: Side) -> bool {
        !self.is_hostile(side.node) && !self.is_hostile(side.peer)
    }

    /// What is written of these bytes.
    pub(super) fn spoil(&mut self, side: Side, bytes: Vec<u8>) -> Vec<u8> {
        let (id, peer) = (Self::id(side.node), Self::id(side.peer));
        match &mut self.hostile {
            Some(hostile) if hostile.node == side.node => hostile.spoil((id, peer), bytes, &mut self.rng),
            _ => bytes,
        }
    }

    /// Sends something from or to a hostile node, whatever becomes of it: mostly what an honest one could say, so that it
    /// comes to be heard.
    ///
    /// # Errors
    /// A promise was not kept.
    pub fn send_junk(&mut self, side: Side, sender: u32, length: usize) -> Result<(), String> {
        let (now, bytes) = (self.now, vec![0; length.saturating_sub(HEAD_BYTES)]);
        let signal = Self::letter_of(side, sender, 1, bytes);
        let lies = if self.is_hostile(side.node) && self.rng.chance(10) { self.lie(side, &signal) } else { Vec::new() };
        let peer = &mut self.member(side).peer;
        if lies.is_empty() {
            let epoch = peer.epoch();
            peer.send(now, epoch, signal);
        }
        for lie in lies {
            // What has no room is not said.
            let _ = peer.post(now, lie);
        }
        self.with(side, |session, now| session.advance(now))
    }

    /// Messages that a node is not to send, or only in part.
    fn lie(&mut self, side: Side, signal: &Signal) -> Vec<Vec<u8>> {
        let (mut true_words, rng) = (self.encoded(signal), &mut self.rng);
        let (artifact, offset) = ([7; 32], rng.number());
        match rng.within(0..=7) {
            0 => vec![(0..rng.magnitude(1..=100)).map(|_| rng.number() as u8).collect()],
            1 => {
                let at = rng.index(true_words.len().min(HEAD_BYTES));
                true_words[at] ^= 1 << rng.within(0..=7);
                vec![true_words]
            }
            2 => {
                let back = Side { node: side.peer, life: side.life, peer: side.node };
                vec![self.encoded(&Self::letter_of(back, 1, 1, vec![0; 8]))]
            }
            // Types that there are, or are made up, whole or without their end, and what is none.
            3 | 4 => {
                let name = format!("made_up_{}", rng.within(0..=1000)).repeat(rng.within(1..=12) as usize);
                let fields = (0..rng.magnitude(1..=600)).map(|n| Field {
                    name: format!("{name}{n}"),
                    ty: Type::U64,
                    default: None,
                });
                let kind = DefKind::Struct(Fields::Named(fields.collect()));
                let schema = Schema { root: Type::Named(0), defs: vec![Def { name, kind }] };
                let mut bytes = schema.encode();
                if rng.chance(20) {
                    let at = rng.index(bytes.len());
                    bytes[at] ^= 1 << rng.within(0..=7);
                }
                let whole = rng.chance(80);
                let mut pieces = bytes.chunks(rng.within(1 << 10..=12 << 10) as usize).peekable();
                let mut said = Vec::new();
                while let Some(bytes) = pieces.next() {
                    let more = pieces.peek().is_some() || !whole;
                    said.push(NodeMessage::Schema { more, bytes }.encode());
                }
                said
            }
            5 => vec![NodeMessage::Fetch { artifact, offset }.encode(), NodeMessage::Absent { artifact }.encode()],
            6 => {
                let bytes = vec![0; rng.magnitude(1..=40 << 10) as usize];
                vec![NodeMessage::Piece { artifact, offset, length: offset, bytes: &bytes }.encode()]
            }
            _ => vec![NodeMessage::Gossip(&true_words).encode()],
        }
    }
}

impl Hostile {
    fn spoil(&mut self, (id, peer): (NodeId, NodeId), mut bytes: Vec<u8>, rng: &mut Rng) -> Vec<u8> {
        if self.past.len() < PAST_MAX {
            self.past.push(bytes.clone());
        } else {
            let at = rng.index(PAST_MAX);
            self.past[at].clone_from(&bytes);
        }
        if !rng.chance(self.percent) || bytes.is_empty() {
            return bytes;
        }
        let past = self.past[rng.index(self.past.len())].clone();
        match rng.within(0..=8) {
            0 | 1 => {
                for _ in 0..rng.within(1..=4) {
                    let at = rng.index(bytes.len());
                    bytes[at] ^= 1 << rng.within(0..=7);
                }
            }
            2 => bytes.truncate(rng.index(bytes.len())),
            3 => bytes = (0..rng.magnitude(1..=64 << 10)).map(|_| rng.number() as u8).collect(),
            4 => bytes.extend(past),
            5 => bytes = past,
            // A frame that is said to be as long as can be written.
            6 => bytes.splice(0..0, [rng.within(0..=7) as u8, 0xff, 0xff, 0xff]).for_each(drop),
            _ => match Hello::decode(&bytes) {
                Ok(Some(hello)) => {
                    let rest = bytes.split_off(Hello::BYTES);
                    bytes.clear();
                    forge_hello(hello, (id, peer), rng).encode(&mut bytes);
                    bytes.extend(rest);
                }
                _ => forge_frame(rng, &mut bytes),
            },
        }
        bytes
    }
}

fn forge_hello(mut hello: Hello, (id, peer): (NodeId, NodeId), rng: &mut Rng) -> Hello {
    let counter = rng.magnitude(1..=1 << 62);
    match rng.within(0..=8) {
        0 => hello.incarnation = Incarnation(rng.magnitude(1..=u64::from(u32::MAX)) as u32),
        1 => hello.peer_incarnation = Incarnation(rng.magnitude(1..=u64::from(u32::MAX)) as u32),
        2 => hello.association = Association(counter),
        3 => hello.open = !hello.open,
        4 => hello.received = FrameNumber(counter),
        5 => hello.live = Generation(counter),
        6 => hello.from = if rng.chance(50) { peer } else { NodeId(rng.number()) },
        7 => hello.to = if rng.chance(50) { id } else { NodeId(rng.number()) },
        _ => {
            let message_bytes_max = rng.magnitude(1..=u64::from(u32::MAX)) as u32;
            let window = rng.magnitude(1..=u64::from(u32::MAX)) as u32;
            hello.limits = Limits { message_bytes_max, small_window_bytes: window, large_window_bytes: window };
        }
    }
    hello
}

fn forge_frame(rng: &mut Rng, out: &mut Vec<u8>) {
    let number = FrameNumber(rng.magnitude(1..=1 << 62));
    let lane = Lane(rng.within(0..=300) as u16);
    let place = match rng.within(0..=3) {
        0 => Place::Whole,
        1 => Place::First { lane, length: rng.magnitude(1..=u64::from(u32::MAX)) as u32 },
        2 => Place::Middle { lane },
        _ => Place::Last { lane },
    };
    let frame = match rng.within(0..=3) {
        0 => Frame::Welcome {
            association: Association(rng.magnitude(1..=1 << 62)),
            generation: Generation(rng.magnitude(1..=1 << 62)),
            received: number,
        },
        1 => Frame::Part { number, place, bytes: b"forged" },
        2 => Frame::Ack(Ack {
            received: number,
            small_granted_bytes: rng.magnitude(1..=1 << 62),
            large_granted_bytes: rng.magnitude(1..=1 << 62),
        }),
        _ => Frame::End,
    };
    frame.encode(out);
}
