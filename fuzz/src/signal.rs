//! Signals as messages of a session, envelopes among them.

use neurath_kernel::session::wire::{self, WireTypes};
use neurath_kernel::signal::{NameRequest, Signal};
use neurath_proto::envelope::{Class, Envelope, Epoch, Payload, SchemaId, TraceId};
use neurath_proto::id::{Incarnation, NodeId};
use neurath_proto::reason::{CallError, ExitReason};
use neurath_proto::{Pid, Ref, SchemaHash, Serial};

/// Schemas whose hash says their number.
struct Types;

impl WireTypes for Types {
    fn hash(&self, schema: SchemaId) -> SchemaHash {
        let mut hash = [0; 16];
        hash[..4].copy_from_slice(&schema.0.to_le_bytes());
        SchemaHash(hash)
    }

    fn id(&self, hash: SchemaHash) -> Option<SchemaId> {
        let (number, rest) = hash.0.split_first_chunk()?;
        rest.iter().all(|byte| *byte == 0).then(|| SchemaId(u32::from_le_bytes(*number)))
    }
}

pub(super) fn run(bytes: &[u8]) {
    let Ok(signal) = wire::decode(bytes, &Types) else { return };
    let mut again = Vec::new();
    wire::encode(&signal, &Types, &mut again);
    assert_eq!(wire::decode(&again, &Types).as_ref(), Ok(&signal));
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let to = Pid::new(NodeId(1), Incarnation(1), Serial(5));
    let from = Pid::new(NodeId(2), Incarnation(3), Serial(9));
    let reference = Ref::new(1, 2);
    let name = || "store".into();
    let envelope = Envelope {
        class: Class::Call,
        from,
        to,
        epoch: Epoch(1),
        reference,
        schema: SchemaId(4),
        trace: TraceId(0),
        payload: Payload::new(b"hello"),
        attachments: None,
    };
    let signals = [
        Signal::Message(envelope.clone()),
        Signal::TimerFired { timer: reference, envelope },
        Signal::CallFailed { to, reference, error: CallError::Down(ExitReason::NoProcess) },
        Signal::CloseCall { to, from, reference },
        Signal::Link { to, from },
        Signal::Exit { to, from, reason: ExitReason::Killed { by: Some(from) }, linked: true },
        Signal::Kill { to, by: Some(from) },
        Signal::Down { to, from, reference, reason: ExitReason::Normal },
        Signal::Probe { to, origin: from, target: to, hops: 3 },
        Signal::Name { request: NameRequest::Register(to), name: name(), from, reference },
        Signal::NameGone { name: name(), pid: to },
    ];
    let encoded = |signal: &Signal| {
        let mut out = Vec::new();
        wire::encode(signal, &Types, &mut out);
        out
    };
    signals.iter().map(encoded).collect()
}
