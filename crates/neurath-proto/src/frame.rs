//! Frames: what two nodes say to each other on a connection.
//!
//! It knows bytes and bounds, not what a session does with them. Invariant: whatever bytes come in, decoding ends
//! in a frame, in "not all there yet" or in a [`FrameError`], and nothing longer than [`FRAME_BYTES_MAX`] is
//! waited for.
//!
//! # Format
//!
//! Integers are little-endian. Each side begins a connection with a hello of [`Hello::BYTES`] bytes:
//!
//! | bytes | meaning |
//! |---|---|
//! | 4 | magic `NRSN` |
//! | 4 | version, 1 |
//! | 8 | the node that speaks |
//! | 8 | the node that is meant |
//! | 4 | incarnation of the node that speaks |
//! | 4 | incarnation of the other node that the association is with; 0 if there is none |
//! | 8 | the highest association that the speaker has known, 0 for none |
//! | 1 | 1 if that association is open, else 0 |
//! | 8 | the highest frame of that association that was received with all before it, else 0 |
//! | 8 | generation of the connection that the speaker holds to be the live one; 0 if there is none |
//! | 4 | the longest message that it takes, at most 64 MiB |
//! | 4 | bytes of messages in one part that it grants at first, at least 16 KiB + 64 |
//! | 4 | bytes of messages in several parts that it grants at first, at least the longest message + 64 |
//!
//! Frames follow. A frame is one byte of kind, three bytes of length, and that many bytes of body:
//!
//! | kind | body |
//! |---|---|
//! | 1 welcome | 8 association, 8 generation of this connection, 8 highest frame received; from the leading node only |
//! | 2 part | 8 number, 1 place (0 the whole message, 1 its first part, 2 a middle one, 3 the last); if not the whole: 2 lane; if the first: 4 length of the message; then 1 to 16384 bytes (0 if the whole) |
//! | 3 ack | 8 highest frame received, 8 bytes granted for messages in one part, 8 for those in several; all counted from the association's beginning |
//! | 4 ping | nothing |
//! | 5 pong | nothing |
//! | 6 end | nothing: the speaker has ended the association |
//!
//! Parts are numbered from 1 in each association and direction. A message is charged as its length + 64 bytes when its
//! first part is sent. Version 1 is the first.

use alloc::vec::Vec;
use core::fmt;

use crate::id::{Incarnation, NodeId};

/// The first bytes of a connection.
pub const MAGIC: [u8; 4] = *b"NRSN";
/// The version of this format.
pub const VERSION: u32 = 1;
/// A part carries at most this many bytes of a message.
pub const PART_BYTES_MAX: usize = 16 << 10;
/// No message is longer, whatever two nodes agree upon.
pub const MESSAGE_BYTES_MAX: u32 = 64 << 20;
/// What a message costs of the receiver's grant beside its bytes, so that empty ones are bounded too.
pub const MESSAGE_OVERHEAD: u64 = 64;
/// Messages that may be in the middle of their parts at a time.
pub const LANES_MAX: u16 = 256;
/// Bytes before a frame's body.
pub const HEADER_BYTES: usize = 4;
/// The longest frame, with its header.
pub const FRAME_BYTES_MAX: usize = HEADER_BYTES + PART_HEADER_MAX + PART_BYTES_MAX;

const PART_HEADER_MAX: usize = 8 + 1 + 2 + 4;
/// Counters beyond this are refused, so that no sum of two overflows.
const COUNTER_MAX: u64 = 1 << 62;

/// The number of an association between two nodes: later ones have larger numbers. 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Association(pub u64);

/// Counts the connections that the leading node of a pair has made the live one. 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Generation(pub u64);

/// The number of a part within its association and direction, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct FrameNumber(pub u64);

/// Which of the unfinished messages a part belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Lane(pub u16);

/// What a node says first on every connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Who speaks.
    pub from: NodeId,
    /// Whom it means.
    pub to: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// The life of the other node that the association is with.
    pub peer_incarnation: Incarnation,
    /// The highest association that it has known with the other node.
    pub association: Association,
    /// Whether that is open.
    pub open: bool,
    /// The highest frame of it that was received with all before it.
    pub received: FrameNumber,
    /// The connection that it holds to be the live one.
    pub live: Generation,
    /// What it takes.
    pub limits: Limits,
}

/// What a node takes from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest message.
    pub message_bytes_max: u32,
    /// Bytes of messages in one part that may be on their way at a time.
    pub small_window_bytes: u32,
    /// Bytes of messages in several parts that may be on their way at a time.
    pub large_window_bytes: u32,
}

/// A frame that follows the hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// The leading node has made this the live connection.
    Welcome {
        /// The association that it carries from now on.
        association: Association,
        /// Its place among the live connections of this pair.
        generation: Generation,
        /// The highest frame that the leading node has received with all before it.
        received: FrameNumber,
    },
    /// A part of a message.
    Part {
        /// Its number.
        number: FrameNumber,
        /// Where in a message it stands.
        place: Place,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// What was received, and what may be sent.
    Ack(Ack),
    /// Are you there?
    Ping,
    /// Yes.
    Pong,
    /// The speaker has ended the association.
    End,
}

/// Where in a message a part stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It is the whole message.
    Whole,
    /// It is the first of several.
    First {
        /// The lane of the message.
        lane: Lane,
        /// The length of the message.
        length: u32,
    },
    /// It is neither the first nor the last.
    Middle {
        /// The lane of the message.
        lane: Lane,
    },
    /// It is the last.
    Last {
        /// The lane of the message; free after this.
        lane: Lane,
    },
}

/// What was received, and what may be sent; everything counted from the association's beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ack {
    /// The highest frame that was received with all before it.
    pub received: FrameNumber,
    /// Bytes granted to messages in one part.
    pub small_granted_bytes: u64,
    /// Bytes granted to messages in several parts.
    pub large_granted_bytes: u64,
}

/// Why bytes are no frames. The connection that they came from is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// Whoever is there is no node.
    Magic,
    /// It speaks another version.
    Version {
        /// That version.
        found: u32,
    },
    /// There is no such kind of frame.
    Kind {
        /// The byte that should be one.
        found: u8,
    },
    /// A frame of this kind cannot have this length.
    Length {
        /// The kind.
        kind: u8,
        /// The length of the body.
        found: usize,
    },
    /// A value breaks a rule of the format.
    Value(&'static str),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("what is at the other end does not speak as a Neurath node does"),
            Self::Version { found } => write!(
                f,
                "the node speaks version {found} of the session protocol and this one version {VERSION}; run releases that have one in common"
            ),
            Self::Kind { found } => write!(f, "there is no kind {found} of frames"),
            Self::Length { kind, found } => write!(f, "a frame of kind {kind} cannot have {found} bytes"),
            Self::Value(what) => f.write_str(what),
        }
    }
}

impl core::error::Error for FrameError {}

impl Hello {
    /// Bytes of a hello.
    pub const BYTES: usize = 69;

    /// Appends the encoded hello.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let Self { from, to, incarnation, peer_incarnation, association, open, received, live, limits } = *self;
        let Limits { message_bytes_max, small_window_bytes, large_window_bytes } = limits;
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&from.0.to_le_bytes());
        out.extend_from_slice(&to.0.to_le_bytes());
        out.extend_from_slice(&incarnation.0.to_le_bytes());
        out.extend_from_slice(&peer_incarnation.0.to_le_bytes());
        out.extend_from_slice(&association.0.to_le_bytes());
        out.push(u8::from(open));
        out.extend_from_slice(&received.0.to_le_bytes());
        out.extend_from_slice(&live.0.to_le_bytes());
        out.extend_from_slice(&message_bytes_max.to_le_bytes());
        out.extend_from_slice(&small_window_bytes.to_le_bytes());
        out.extend_from_slice(&large_window_bytes.to_le_bytes());
    }

    /// The hello at the beginning of `bytes`; `None` if it is not all there. Magic and version are judged as soon
    /// as they are there.
    ///
    /// # Errors
    /// There is no hello.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, FrameError> {
        if bytes.iter().zip(&MAGIC).any(|(found, expected)| found != expected) {
            return Err(FrameError::Magic);
        }
        let mut fields = Fields(bytes.get(MAGIC.len()..).unwrap_or_default());
        match fields.u32() {
            Some(VERSION) => {}
            Some(found) => return Err(FrameError::Version { found }),
            None => return Ok(None),
        }
        let Some(hello) = Self::fields(&mut fields) else { return Ok(None) };
        hello.map(Some)
    }

    fn fields(fields: &mut Fields<'_>) -> Option<Result<Self, FrameError>> {
        let from = NodeId(fields.u64()?);
        let to = NodeId(fields.u64()?);
        let incarnation = Incarnation(fields.u32()?);
        let peer_incarnation = Incarnation(fields.u32()?);
        let association = Association(fields.u64()?);
        let open = fields.u8()?;
        let received = FrameNumber(fields.u64()?);
        let live = Generation(fields.u64()?);
        let limits = Limits {
            message_bytes_max: fields.u32()?,
            small_window_bytes: fields.u32()?,
            large_window_bytes: fields.u32()?,
        };
        let hello =
            Self { from, to, incarnation, peer_incarnation, association, open: open == 1, received, live, limits };
        Some(match hello.check(open) {
            Ok(()) => Ok(hello),
            Err(what) => Err(FrameError::Value(what)),
        })
    }

    fn check(&self, open: u8) -> Result<(), &'static str> {
        let Limits { message_bytes_max, small_window_bytes, large_window_bytes } = self.limits;
        let overhead = MESSAGE_OVERHEAD as u32;
        if open > 1 {
            return Err("a hello says neither that an association is open nor that it is not");
        }
        if self.open && self.association.0 == 0 {
            return Err("a hello says that no association is open and that it is");
        }
        if !self.open && self.received.0 != 0 {
            return Err("a hello acknowledges frames of an association that is not open");
        }
        if [self.association.0, self.received.0, self.live.0].iter().any(|counter| *counter > COUNTER_MAX) {
            return Err("a counter in a hello is beyond what can be counted");
        }
        if message_bytes_max > MESSAGE_BYTES_MAX {
            return Err("a node takes longer messages than the protocol has");
        }
        if small_window_bytes < PART_BYTES_MAX as u32 + overhead || large_window_bytes < message_bytes_max + overhead {
            return Err("a node grants less than one message needs");
        }
        Ok(())
    }
}

/// How many bytes at least are needed to go on with the frame that `begun` begins: more than it has.
pub fn wanted(begun: &[u8]) -> usize {
    match begun.first_chunk::<HEADER_BYTES>() {
        None => HEADER_BYTES,
        Some([_, a, b, c]) => HEADER_BYTES + u32::from_le_bytes([*a, *b, *c, 0]) as usize,
    }
}

/// Appends the head of a part, which as many bytes of the message as it says must follow.
pub fn encode_part(number: FrameNumber, place: Place, bytes: usize, out: &mut Vec<u8>) {
    let start = out.len();
    Frame::Part { number, place, bytes: &[] }.encode(out);
    let length = (out.len() - start - HEADER_BYTES + bytes) as u32;
    out[start + 1..start + HEADER_BYTES].copy_from_slice(&length.to_le_bytes()[..3]);
}

impl<'a> Frame<'a> {
    /// Appends the encoded frame. A part has at most [`PART_BYTES_MAX`] bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[self.kind(), 0, 0, 0]);
        match *self {
            Self::Welcome { association, generation, received } => {
                out.extend_from_slice(&association.0.to_le_bytes());
                out.extend_from_slice(&generation.0.to_le_bytes());
                out.extend_from_slice(&received.0.to_le_bytes());
            }
            Self::Part { number, place, bytes } => {
                out.extend_from_slice(&number.0.to_le_bytes());
                match place {
                    Place::Whole => out.push(0),
                    Place::First { lane, length } => {
                        out.push(1);
                        out.extend_from_slice(&lane.0.to_le_bytes());
                        out.extend_from_slice(&length.to_le_bytes());
                    }
                    Place::Middle { lane } => {
                        out.push(2);
                        out.extend_from_slice(&lane.0.to_le_bytes());
                    }
                    Place::Last { lane } => {
                        out.push(3);
                        out.extend_from_slice(&lane.0.to_le_bytes());
                    }
                }
                out.extend_from_slice(bytes);
            }
            Self::Ack(Ack { received, small_granted_bytes, large_granted_bytes }) => {
                out.extend_from_slice(&received.0.to_le_bytes());
                out.extend_from_slice(&small_granted_bytes.to_le_bytes());
                out.extend_from_slice(&large_granted_bytes.to_le_bytes());
            }
            Self::Ping | Self::Pong | Self::End => {}
        }
        let length = (out.len() - start - HEADER_BYTES) as u32;
        out[start + 1..start + HEADER_BYTES].copy_from_slice(&length.to_le_bytes()[..3]);
    }

    /// The frame at the beginning of `bytes`, and how many bytes it takes; `None` if it is not all there.
    ///
    /// # Errors
    /// There is no frame. Kind and length are judged before the body is there.
    pub fn decode(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, FrameError> {
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let [kind, a, b, c] = *header;
        let length = u32::from_le_bytes([a, b, c, 0]) as usize;
        let lengths = match kind {
            1 | 3 => 24..=24,
            2 => 9..=PART_HEADER_MAX + PART_BYTES_MAX,
            4..=6 => 0..=0,
            _ => return Err(FrameError::Kind { found: kind }),
        };
        if !lengths.contains(&length) {
            return Err(FrameError::Length { kind, found: length });
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let mut fields = Fields(body);
        let frame = Self::body(kind, &mut fields).ok_or(FrameError::Length { kind, found: length })?;
        frame.check().map_err(FrameError::Value)?;
        Ok(Some((frame, HEADER_BYTES + length)))
    }

    fn body(kind: u8, fields: &mut Fields<'a>) -> Option<Self> {
        Some(match kind {
            1 => Self::Welcome {
                association: Association(fields.u64()?),
                generation: Generation(fields.u64()?),
                received: FrameNumber(fields.u64()?),
            },
            2 => {
                let number = FrameNumber(fields.u64()?);
                let place = match fields.u8()? {
                    0 => Place::Whole,
                    1 => Place::First { lane: Lane(fields.u16()?), length: fields.u32()? },
                    2 => Place::Middle { lane: Lane(fields.u16()?) },
                    3 => Place::Last { lane: Lane(fields.u16()?) },
                    _ => return None,
                };
                Self::Part { number, place, bytes: fields.0 }
            }
            3 => Self::Ack(Ack {
                received: FrameNumber(fields.u64()?),
                small_granted_bytes: fields.u64()?,
                large_granted_bytes: fields.u64()?,
            }),
            4 => Self::Ping,
            5 => Self::Pong,
            _ => Self::End,
        })
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Welcome { .. } => 1,
            Self::Part { .. } => 2,
            Self::Ack(_) => 3,
            Self::Ping => 4,
            Self::Pong => 5,
            Self::End => 6,
        }
    }

    fn check(&self) -> Result<(), &'static str> {
        let counters = match *self {
            Self::Welcome { association, generation, received } => [association.0, generation.0, received.0],
            Self::Part { number, .. } => [number.0, 0, 0],
            Self::Ack(ack) => [ack.received.0, ack.small_granted_bytes, ack.large_granted_bytes],
            Self::Ping | Self::Pong | Self::End => [0; 3],
        };
        if counters.iter().any(|counter| *counter > COUNTER_MAX) {
            return Err("a counter in a frame is beyond what can be counted");
        }
        match *self {
            Self::Welcome { association, generation, .. } if association.0 == 0 || generation.0 == 0 => {
                Err("a welcome has no association or no generation")
            }
            Self::Part { bytes, .. } if bytes.len() > PART_BYTES_MAX => Err("a part is longer than parts are"),
            Self::Part { place, bytes, .. } if place != Place::Whole && bytes.is_empty() => Err("a part is empty"),
            Self::Part { place: Place::First { length, .. }, bytes, .. } if length as usize <= bytes.len() => {
                Err("the first part of several is the whole message")
            }
            Self::Part { place: Place::First { length, .. }, .. } if length > MESSAGE_BYTES_MAX => {
                Err("a message is longer than messages are")
            }
            Self::Part { place: Place::First { lane, .. } | Place::Middle { lane } | Place::Last { lane }, .. }
                if lane.0 >= LANES_MAX =>
            {
                Err("there are not so many lanes")
            }
            _ => Ok(()),
        }
    }
}

/// Reads fields of fixed length; `None` is the end of the bytes.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn hello() -> Hello {
        Hello {
            from: NodeId(0x0102_0304_0506_0708),
            to: NodeId(9),
            incarnation: Incarnation(2),
            peer_incarnation: Incarnation(3),
            association: Association(4),
            open: true,
            received: FrameNumber(5),
            live: Generation(6),
            limits: Limits { message_bytes_max: 1 << 20, small_window_bytes: 1 << 19, large_window_bytes: 1 << 21 },
        }
    }

    fn frames() -> Vec<Frame<'static>> {
        vec![
            Frame::Welcome { association: Association(1), generation: Generation(2), received: FrameNumber(3) },
            Frame::Part { number: FrameNumber(7), place: Place::Whole, bytes: b"hi" },
            Frame::Part { number: FrameNumber(8), place: Place::Whole, bytes: b"" },
            Frame::Part { number: FrameNumber(9), place: Place::First { lane: Lane(255), length: 300 }, bytes: b"abc" },
            Frame::Part { number: FrameNumber(10), place: Place::Middle { lane: Lane(255) }, bytes: b"d" },
            Frame::Part { number: FrameNumber(11), place: Place::Last { lane: Lane(255) }, bytes: b"e" },
            Frame::Ack(Ack { received: FrameNumber(1), small_granted_bytes: 2, large_granted_bytes: 3 }),
            Frame::Ping,
            Frame::Pong,
            Frame::End,
        ]
    }

    #[test]
    fn the_bytes_are_those_of_version_1() {
        let mut bytes = Vec::new();
        hello().encode(&mut bytes);
        assert_eq!(
            bytes,
            [
                b'N', b'R', b'S', b'N', 1, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1, 9, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 3, 0,
                0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 1, 5, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 8,
                0, 0, 0, 32, 0
            ]
        );
        assert_eq!(bytes.len(), Hello::BYTES);
        let mut bytes = Vec::new();
        for frame in frames() {
            frame.encode(&mut bytes);
        }
        #[rustfmt::skip]
        let golden = [
            1, 24, 0, 0,  1, 0, 0, 0, 0, 0, 0, 0,  2, 0, 0, 0, 0, 0, 0, 0,  3, 0, 0, 0, 0, 0, 0, 0,
            2, 11, 0, 0,  7, 0, 0, 0, 0, 0, 0, 0,  0,  b'h', b'i',
            2, 9, 0, 0,  8, 0, 0, 0, 0, 0, 0, 0,  0,
            2, 18, 0, 0,  9, 0, 0, 0, 0, 0, 0, 0,  1,  255, 0,  44, 1, 0, 0,  b'a', b'b', b'c',
            2, 12, 0, 0,  10, 0, 0, 0, 0, 0, 0, 0,  2,  255, 0,  b'd',
            2, 12, 0, 0,  11, 0, 0, 0, 0, 0, 0, 0,  3,  255, 0,  b'e',
            3, 24, 0, 0,  1, 0, 0, 0, 0, 0, 0, 0,  2, 0, 0, 0, 0, 0, 0, 0,  3, 0, 0, 0, 0, 0, 0, 0,
            4, 0, 0, 0,
            5, 0, 0, 0,
            6, 0, 0, 0,
        ];
        assert_eq!(bytes, golden);
    }

    #[test]
    fn what_was_written_is_read_and_every_cut_waits_for_more() {
        let mut bytes = Vec::new();
        hello().encode(&mut bytes);
        assert_eq!(Hello::decode(&bytes), Ok(Some(hello())));
        for cut in 0..bytes.len() {
            assert_eq!(Hello::decode(&bytes[..cut]), Ok(None), "{cut}");
        }
        for frame in frames() {
            let mut bytes = Vec::new();
            frame.encode(&mut bytes);
            for cut in 0..bytes.len() {
                assert_eq!(Frame::decode(&bytes[..cut]), Ok(None), "{frame:?} cut at {cut}");
            }
            bytes.extend_from_slice(b"and more");
            assert_eq!(Frame::decode(&bytes), Ok(Some((frame, bytes.len() - 8))));
        }
    }

    #[test]
    fn every_flipped_bit_is_an_error_or_another_frame_and_waits_for_no_more_than_a_frame() {
        let mut bytes = Vec::new();
        hello().encode(&mut bytes);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            match Hello::decode(&flipped) {
                Ok(read) => assert!(read.is_some_and(|read| read != hello()), "{bit}"),
                Err(_) => assert!(Hello::decode(&bytes[..bit / 8]).is_ok()),
            }
        }
        for frame in frames() {
            let mut bytes = Vec::new();
            frame.encode(&mut bytes);
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                flipped.resize(FRAME_BYTES_MAX, 0);
                if let Ok(read) = Frame::decode(&flipped) {
                    let (read, length) = read.expect("the longest frame is there");
                    assert!(read != frame && length <= FRAME_BYTES_MAX, "{bit}: {read:?}");
                }
            }
        }
    }

    #[test]
    fn each_rule_has_an_error() {
        let mut bytes = Vec::new();
        hello().encode(&mut bytes);
        assert_eq!(Hello::decode(b"NX"), Err(FrameError::Magic));
        bytes[4] = 2;
        assert_eq!(Hello::decode(&bytes[..8]), Err(FrameError::Version { found: 2 }));
        let refuse = |change: fn(&mut Hello)| {
            let mut hello = hello();
            change(&mut hello);
            let mut bytes = Vec::new();
            hello.encode(&mut bytes);
            assert!(matches!(Hello::decode(&bytes), Err(FrameError::Value(_))), "{hello:?}");
        };
        refuse(|hello| hello.association = Association(0));
        refuse(|hello| hello.open = false);
        refuse(|hello| hello.live = Generation(u64::MAX));
        refuse(|hello| hello.limits.message_bytes_max = MESSAGE_BYTES_MAX + 1);
        refuse(|hello| hello.limits.small_window_bytes = PART_BYTES_MAX as u32);
        refuse(|hello| hello.limits.large_window_bytes = hello.limits.message_bytes_max);

        assert_eq!(Frame::decode(&[9, 0, 0, 0]), Err(FrameError::Kind { found: 9 }));
        assert_eq!(Frame::decode(&[2, 255, 255, 255]), Err(FrameError::Length { kind: 2, found: 0xff_ffff }));
        assert_eq!(Frame::decode(&[4, 1, 0, 0]), Err(FrameError::Length { kind: 4, found: 1 }));
        let refuse = |frame: Frame<'_>| {
            let mut bytes = Vec::new();
            frame.encode(&mut bytes);
            assert!(matches!(Frame::decode(&bytes), Err(FrameError::Value(_))), "{frame:?}");
        };
        let (number, lane) = (FrameNumber(1), Lane(0));
        refuse(Frame::Part { number: FrameNumber(u64::MAX), place: Place::Whole, bytes: b"" });
        refuse(Frame::Part { number, place: Place::Middle { lane }, bytes: b"" });
        refuse(Frame::Part { number, place: Place::Last { lane: Lane(LANES_MAX) }, bytes: b"a" });
        refuse(Frame::Part { number, place: Place::First { lane, length: 1 }, bytes: b"a" });
        refuse(Frame::Part { number, place: Place::First { lane, length: u32::MAX }, bytes: b"a" });
        refuse(Frame::Part { number, place: Place::Whole, bytes: &[0; PART_BYTES_MAX + 1] });
        refuse(Frame::Welcome { association: Association(0), generation: Generation(1), received: FrameNumber(0) });
    }
}
