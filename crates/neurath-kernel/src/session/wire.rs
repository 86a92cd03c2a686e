//! Signals as the messages of a session.
//!
//! It knows how signals are written, not where they go. Invariant: schemas cross nodes by their hash only, so what one
//! node numbers is never taken for what another does.
//!
//! # Format
//!
//! One byte of kind, then the fields in the order of [`Signal`]'s variants, each as [`Data`] writes it. An envelope is
//! class (one byte), from, to, epoch, ref, schema (16 bytes), trace, number of attachments, of each a byte of kind (0 image,
//! 1 code, 2 port) with 32 bytes or a pid and a ref, and last the payload (length, bytes). It has no version of its own: that
//! of the session's frames covers it.
//!
//! | kind | signal | kind | signal | kind | signal |
//! |---|---|---|---|---|---|
//! | 0 | message | 7 | kill | 14 | probe |
//! | 1 | timer fired | 8 | monitor | 15 | withdraw |
//! | 2 | call failed | 9 | demonitor | 16 | not delivered |
//! | 3 | close call | 10 | down | 17 | name |
//! | 4 | link | 11 | settle | 18 | named |
//! | 5 | unlink | 12 | full | 19 | unnamed |
//! | 6 | exit | 13 | drained | 20 | name gone |
//! | 21 | spawn | 23 | ping | 25 | leave |
//! | 22 | spawned | 24 | join | 26 | members |
//! | 27 | unlinked | | | | |

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;

use neurath_proto::data::{DecodeError, DecodeFault};
use neurath_proto::envelope::{Attachment, Class, Envelope, Epoch, Payload, SchemaId, TraceId};
use neurath_proto::{Data, Reader, SchemaHash};

use crate::signal::{NameRequest, Signal, SpawnRequest};

/// The kind of what stays on its node: no decoder takes it.
const NEVER_SENT: u8 = 255;

/// What this node's numbers for schemas mean to others.
pub trait WireTypes {
    /// The hash of a schema that this node numbers.
    fn hash(&self, schema: SchemaId) -> SchemaHash;

    /// The number of a schema, if this node knows it.
    fn id(&self, hash: SchemaHash) -> Option<SchemaId>;
}

/// Why bytes are no signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// They are none at all: the peer's fault.
    Malformed(DecodeError),
    /// They are a message of a schema that this node does not know yet. Get it from the peer and read again.
    UnknownSchema(SchemaHash),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "these bytes are no signal: {error}"),
            Self::UnknownSchema(hash) => write!(f, "a message has the schema {hash}, which this node does not know"),
        }
    }
}

impl core::error::Error for WireError {}

impl From<DecodeError> for WireError {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

/// Appends a signal.
pub fn encode(signal: &Signal, types: &dyn WireTypes, out: &mut Vec<u8>) {
    encode_head(signal, types, out);
    if let Signal::Message(Envelope { payload, .. }) | Signal::TimerFired { envelope: Envelope { payload, .. }, .. } =
        signal
    {
        out.extend_from_slice(payload.as_slice());
    }
}

/// Appends a signal but for its payload, which is to follow and is moved, not copied.
pub fn encode_owned(mut signal: Signal, types: &dyn WireTypes, out: &mut Vec<u8>) -> Payload {
    encode_head(&signal, types, out);
    payload_mut(&mut signal).map_or_else(Payload::default, core::mem::take)
}

fn encode_head(signal: &Signal, types: &dyn WireTypes, out: &mut Vec<u8>) {
    macro_rules! put {
        ($kind:literal $(, $field:expr)*) => {{
            out.push($kind);
            $($field.encode(out);)*
        }};
    }
    match signal {
        Signal::Message(envelope) => {
            put!(0);
            encode_envelope(envelope, types, out);
        }
        Signal::TimerFired { timer, envelope } => {
            put!(1, timer);
            encode_envelope(envelope, types, out);
        }
        Signal::CallFailed { to, reference, error } => put!(2, to, reference, error),
        Signal::CloseCall { to, from, reference } => put!(3, to, from, reference),
        Signal::Link { to, from } => put!(4, to, from),
        Signal::Unlink { to, from, number } => put!(5, to, from, number),
        Signal::Exit { to, from, reason, linked } => put!(6, to, from, reason, linked),
        Signal::Kill { to, by } => put!(7, to, by),
        Signal::Monitor { to, from, reference } => put!(8, to, from, reference),
        Signal::Demonitor { to, from, reference } => put!(9, to, from, reference),
        Signal::Down { to, from, reference, reason } => put!(10, to, from, reference, reason),
        Signal::Settle { to, from } => put!(11, to, from),
        Signal::Full { to, target } => put!(12, to, target),
        Signal::Drained { to, target } => put!(13, to, target),
        Signal::Probe { to, origin, target, hops } => put!(14, to, origin, target, hops),
        Signal::Withdraw { to, from } => put!(15, to, from),
        Signal::NotDelivered { to, target, type_name, reason } => put!(16, to, target, type_name, reason),
        Signal::Name { request, name, from, reference } => {
            put!(17);
            match request {
                NameRequest::Register(pid) => put!(0, pid),
                NameRequest::Unregister => put!(1),
                NameRequest::Whereis => put!(2),
            }
            name.encode(out);
            from.encode(out);
            reference.encode(out);
        }
        Signal::Named { to, name, registrar, from, reference } => put!(18, to, name, registrar, from, reference),
        Signal::Unnamed { to, name, registrar } => put!(19, to, name, registrar),
        Signal::NameGone { name, pid } => put!(20, name, pid),
        Signal::Spawn(SpawnRequest { to, from, reference, artifact, program, entry, arguments, link, monitor }) => {
            put!(21, to, from, reference, artifact, program, entry, arguments, link, monitor);
        }
        Signal::Spawned { to, from, reference, link, monitor, result } => {
            put!(22, to, from, reference, link, monitor, result);
        }
        Signal::Ping { to, from, reference } => put!(23, to, from, reference),
        Signal::Join { group, pid, reference } => put!(24, group, pid, reference),
        Signal::Leave { group, pid, reference } => put!(25, group, pid, reference),
        Signal::Members { group, from, reference } => put!(26, group, from, reference),
        Signal::Unlinked { to, from, number } => put!(27, to, from, number),
        Signal::Disconnected { .. } => out.push(NEVER_SENT),
    }
}

/// The signal that `bytes` are, all of them.
///
/// # Errors
/// See [`WireError`].
pub fn decode(bytes: &[u8], types: &dyn WireTypes) -> Result<Signal, WireError> {
    let mut reader = Reader::new(bytes);
    let mut signal = decode_signal(&mut reader, types)?;
    if let Some(payload) = payload_mut(&mut signal) {
        *payload = Payload::new(reader.left());
    } else {
        reader.finish()?;
    }
    Ok(signal)
}

/// As [`decode`], of what stands behind the first `at` bytes, but a payload of some length is not copied.
///
/// # Errors
/// As those of [`decode`].
pub fn decode_owned(bytes: Vec<u8>, at: usize, types: &dyn WireTypes) -> Result<Signal, WireError> {
    let mut reader = Reader::new(bytes.get(at..).unwrap_or_default());
    // Written to where it is returned, and not moved again.
    let mut signal = decode_signal(&mut reader, types);
    let at = bytes.len() - reader.left().len();
    match signal.as_mut().ok().map(payload_mut) {
        None => {}
        Some(Some(payload)) => *payload = Payload::tail(bytes, at),
        Some(None) => reader.finish()?,
    }
    signal
}

fn payload_mut(signal: &mut Signal) -> Option<&mut Payload> {
    match signal {
        Signal::Message(envelope) | Signal::TimerFired { envelope, .. } => Some(&mut envelope.payload),
        _ => None,
    }
}

fn get<T: Data>(reader: &mut Reader<'_>) -> Result<T, DecodeError> {
    T::decode(reader)
}

fn decode_signal(reader: &mut Reader<'_>, types: &dyn WireTypes) -> Result<Signal, WireError> {
    let r = reader;
    Ok(match r.byte()? {
        0 => Signal::Message(decode_envelope(r, types)?),
        1 => Signal::TimerFired { timer: get(r)?, envelope: decode_envelope(r, types)? },
        2 => Signal::CallFailed { to: get(r)?, reference: get(r)?, error: get(r)? },
        3 => Signal::CloseCall { to: get(r)?, from: get(r)?, reference: get(r)? },
        4 => Signal::Link { to: get(r)?, from: get(r)? },
        5 => Signal::Unlink { to: get(r)?, from: get(r)?, number: get(r)? },
        6 => Signal::Exit { to: get(r)?, from: get(r)?, reason: get(r)?, linked: get(r)? },
        7 => Signal::Kill { to: get(r)?, by: get(r)? },
        8 => Signal::Monitor { to: get(r)?, from: get(r)?, reference: get(r)? },
        9 => Signal::Demonitor { to: get(r)?, from: get(r)?, reference: get(r)? },
        10 => Signal::Down { to: get(r)?, from: get(r)?, reference: get(r)?, reason: get(r)? },
        11 => Signal::Settle { to: get(r)?, from: get(r)? },
        12 => Signal::Full { to: get(r)?, target: get(r)? },
        13 => Signal::Drained { to: get(r)?, target: get(r)? },
        14 => Signal::Probe { to: get(r)?, origin: get(r)?, target: get(r)?, hops: get(r)? },
        15 => Signal::Withdraw { to: get(r)?, from: get(r)? },
        16 => Signal::NotDelivered { to: get(r)?, target: get(r)?, type_name: get(r)?, reason: get(r)? },
        17 => {
            let request = match r.byte()? {
                0 => NameRequest::Register(get(r)?),
                1 => NameRequest::Unregister,
                2 => NameRequest::Whereis,
                other => return Err(r.bad_variant("NameRequest", u32::from(other)).into()),
            };
            Signal::Name { request, name: get(r)?, from: get(r)?, reference: get(r)? }
        }
        18 => Signal::Named { to: get(r)?, name: get(r)?, registrar: get(r)?, from: get(r)?, reference: get(r)? },
        19 => Signal::Unnamed { to: get(r)?, name: get(r)?, registrar: get(r)? },
        20 => Signal::NameGone { name: get(r)?, pid: get(r)? },
        21 => Signal::Spawn(SpawnRequest {
            to: get(r)?,
            from: get(r)?,
            reference: get(r)?,
            artifact: get(r)?,
            program: get(r)?,
            entry: get(r)?,
            arguments: get(r)?,
            link: get(r)?,
            monitor: get(r)?,
        }),
        22 => Signal::Spawned {
            to: get(r)?,
            from: get(r)?,
            reference: get(r)?,
            link: get(r)?,
            monitor: get(r)?,
            result: get(r)?,
        },
        23 => Signal::Ping { to: get(r)?, from: get(r)?, reference: get(r)? },
        24 => Signal::Join { group: get(r)?, pid: get(r)?, reference: get(r)? },
        25 => Signal::Leave { group: get(r)?, pid: get(r)?, reference: get(r)? },
        26 => Signal::Members { group: get(r)?, from: get(r)?, reference: get(r)? },
        27 => Signal::Unlinked { to: get(r)?, from: get(r)?, number: get(r)? },
        other => return Err(r.bad_variant("Signal", u32::from(other)).into()),
    })
}

fn encode_envelope(envelope: &Envelope, types: &dyn WireTypes, out: &mut Vec<u8>) {
    let Envelope { class, from, to, epoch, reference, schema, trace, payload, attachments } = envelope;
    out.push(*class as u8);
    from.encode(out);
    to.encode(out);
    epoch.0.encode(out);
    reference.encode(out);
    out.extend_from_slice(&types.hash(*schema).0);
    trace.0.encode(out);
    let attachments = attachments.as_deref().unwrap_or_default();
    (attachments.len() as u64).encode(out);
    for attachment in attachments {
        match attachment {
            Attachment::Image(hash) => {
                out.push(0);
                out.extend_from_slice(hash);
            }
            Attachment::Code(hash) => {
                out.push(1);
                out.extend_from_slice(hash);
            }
            Attachment::Port(pid, reference) => {
                out.push(2);
                pid.encode(out);
                reference.encode(out);
            }
        }
    }
    (payload.len() as u64).encode(out);
}

/// Reads up to the payload, which is all that is left then.
fn decode_envelope(reader: &mut Reader<'_>, types: &dyn WireTypes) -> Result<Envelope, WireError> {
    let class = u32::from(reader.byte()?);
    let class = Class::from_raw(class).ok_or_else(|| reader.bad_variant("Class", class))?;
    let (from, to) = (get(reader)?, get(reader)?);
    let epoch = Epoch(get(reader)?);
    let reference = get(reader)?;
    let schema = SchemaHash(reader.array()?);
    let trace = TraceId(get(reader)?);
    let count = reader.length()?;
    if count > reader.left().len() {
        return Err(reader.fault(DecodeFault::BadLength).into());
    }
    let mut attachments = Vec::new();
    for _ in 0..count {
        attachments.push(match reader.byte()? {
            0 => Attachment::Image(reader.array()?),
            1 => Attachment::Code(reader.array()?),
            2 => Attachment::Port(get(reader)?, get(reader)?),
            other => return Err(reader.bad_variant("Attachment", u32::from(other)).into()),
        });
    }
    let attachments: Option<Box<[Attachment]>> = (count > 0).then(|| attachments.into());
    let length = reader.length()?;
    match length.cmp(&reader.left().len()) {
        Ordering::Less => return Err(reader.fault(DecodeFault::TrailingBytes).into()),
        Ordering::Equal => {}
        Ordering::Greater => return Err(reader.fault(DecodeFault::BadLength).into()),
    }
    // The last thing, so that bytes which are none are not taken for ones of an unknown schema.
    let schema = types.id(schema).ok_or(WireError::UnknownSchema(schema))?;
    Ok(Envelope { class, from, to, epoch, reference, schema, trace, payload: Payload::default(), attachments })
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::vec;

    use neurath_proto::id::{Incarnation, NodeId, Serial};
    use neurath_proto::reason::{CallError, ExitReason};
    use neurath_proto::{Pid, Ref};

    use super::*;

    /// Numbers its schemas by the first byte of their hash.
    struct Table;

    impl WireTypes for Table {
        fn hash(&self, schema: SchemaId) -> SchemaHash {
            SchemaHash([schema.0 as u8; 16])
        }

        fn id(&self, hash: SchemaHash) -> Option<SchemaId> {
            let id = SchemaId(u32::from(hash.0[0]));
            (id.0 < 100 && hash == self.hash(id)).then_some(id)
        }
    }

    fn signals() -> Vec<Signal> {
        let pid = |serial| Pid::new(NodeId(0x0102_0304_0506_0708), Incarnation(3), Serial(serial));
        let (to, from, target, reference) = (pid(1), pid(2), pid(300), Ref::new(1, 5));
        let name = || String::from("clock");
        let envelope = |attachments| Envelope {
            class: Class::Call,
            from,
            to,
            epoch: Epoch(4),
            reference,
            schema: SchemaId(9),
            trace: TraceId(6),
            payload: Payload::new(b"payload"),
            attachments,
        };
        let attached =
            vec![Attachment::Image([1; 32]), Attachment::Code([2; 32]), Attachment::Port(from, reference)].into();
        vec![
            Signal::Message(envelope(None)),
            Signal::TimerFired { timer: reference, envelope: envelope(Some(attached)) },
            Signal::CallFailed { to, reference, error: CallError::NotSent(name()) },
            Signal::CloseCall { to, from, reference },
            Signal::Link { to, from },
            Signal::Unlink { to, from, number: 3 },
            Signal::Unlinked { to, from, number: 300 },
            Signal::Exit { to, from, reason: ExitReason::Killed { by: Some(to) }, linked: true },
            Signal::Kill { to, by: None },
            Signal::Monitor { to, from, reference },
            Signal::Demonitor { to, from, reference },
            Signal::Down { to, from, reference, reason: ExitReason::Disconnected },
            Signal::Settle { to, from },
            Signal::Full { to, target },
            Signal::Drained { to, target },
            Signal::Probe { to, origin: from, target, hops: 7 },
            Signal::Withdraw { to, from },
            Signal::NotDelivered { to, target, type_name: name(), reason: name() },
            Signal::Name { request: NameRequest::Register(to), name: name(), from, reference },
            Signal::Name { request: NameRequest::Unregister, name: name(), from, reference },
            Signal::Name { request: NameRequest::Whereis, name: name(), from, reference },
            Signal::Named { to, name: name(), registrar: to.node, from, reference },
            Signal::Unnamed { to, name: name(), registrar: to.node },
            Signal::Spawn(SpawnRequest {
                to,
                from,
                reference,
                artifact: [7; 32],
                program: name(),
                entry: name(),
                arguments: vec![1, 2],
                link: true,
                monitor: reference,
            }),
            Signal::Spawned { to, from, reference, link: true, monitor: reference, result: Err(name()) },
            Signal::Ping { to, from, reference },
            Signal::Join { group: name(), pid: to, reference },
            Signal::Leave { group: name(), pid: to, reference },
            Signal::Members { group: name(), from, reference },
            Signal::NameGone { name: name(), pid: to },
        ]
    }

    fn encoded(signal: &Signal) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(signal, &Table, &mut bytes);
        bytes
    }

    #[test]
    fn what_was_written_is_read_and_nothing_shorter_or_longer() {
        for signal in signals() {
            let mut bytes = encoded(&signal);
            assert_eq!(decode(&bytes, &Table), Ok(signal));
            for cut in 0..bytes.len() {
                assert!(matches!(decode(&bytes[..cut], &Table), Err(WireError::Malformed(_))));
            }
            bytes.push(0);
            assert!(matches!(decode(&bytes, &Table), Err(WireError::Malformed(_))));
        }
    }

    #[test]
    fn payloads_that_are_moved_make_the_same_bytes_and_come_back() {
        for length in [0, 7, Payload::INLINE, Payload::INLINE + 1, 100_000] {
            let Some(Signal::Message(envelope)) = signals().into_iter().next() else { return };
            let payload = Payload::from(vec![7; length]);
            let signal = Signal::Message(Envelope { payload, ..envelope });
            let mut bytes = vec![99];
            let payload = encode_owned(signal.clone(), &Table, &mut bytes);
            bytes.extend_from_slice(payload.as_slice());
            assert_eq!(bytes[1..], encoded(&signal));
            assert_eq!(decode_owned(bytes.clone(), 1, &Table), Ok(signal));
            bytes.push(0);
            assert!(decode_owned(bytes, 1, &Table).is_err());
        }
        assert!(decode_owned(vec![1, 2], 3, &Table).is_err());
    }

    #[test]
    fn every_flipped_bit_is_an_error_or_another_signal() {
        for signal in signals() {
            let bytes = encoded(&signal);
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_ne!(decode(&flipped, &Table).as_ref(), Ok(&signal), "bit {bit}");
            }
        }
    }

    #[test]
    fn the_bytes_of_a_message_are_those_of_version_1() {
        let Some(message) = signals().into_iter().next() else { return };
        let mut golden = vec![0, 2];
        for serial in [2, 1] {
            Pid::new(NodeId(0x0102_0304_0506_0708), Incarnation(3), Serial(serial)).encode(&mut golden);
        }
        golden.push(4);
        Ref::new(1, 5).encode(&mut golden);
        golden.extend_from_slice(&[9; 16]);
        golden.extend_from_slice(&[6, 0, 7]);
        golden.extend_from_slice(b"payload");
        assert_eq!(encoded(&message), golden);
    }

    #[test]
    fn a_message_of_an_unknown_schema_names_it() {
        let Some(Signal::Message(envelope)) = signals().into_iter().next() else { return };
        let bytes = encoded(&Signal::Message(Envelope { schema: SchemaId(200), ..envelope }));
        assert_eq!(decode(&bytes, &Table), Err(WireError::UnknownSchema(SchemaHash([200; 16]))));
    }
}
