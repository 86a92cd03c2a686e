//! What the host for tests writes into a guest's buffers, and reads from it.
//!
//! It knows nothing of processes. Invariant: what does not fit is not written, and the head says how much room it needs.

use neurath_proto::abi::{MessageHead, TakeStatus};
use neurath_proto::data;
use neurath_proto::reason::{CallError, ExitReason};
use neurath_proto::schema::Schema;

use super::Message;
use crate::sys::TypeTag;

pub(super) fn write(message: &Message, index: u32, buffer: &mut [u8]) -> TakeStatus {
    let payload_len = message.payload.len();
    let head = MessageHead {
        seq: message.seq,
        reference: message.reference.0,
        from: message.from,
        class: message.class as u32,
        index,
        payload_len: payload_len as u32,
        reserved: 0,
    };
    buffer[..MessageHead::SIZE].copy_from_slice(&head.to_bytes());
    match buffer[MessageHead::SIZE..].get_mut(..payload_len) {
        Some(room) => room.copy_from_slice(&message.payload),
        None => return TakeStatus::BufferTooSmall,
    }
    TakeStatus::Ready
}

pub(super) fn write_failure(error: &CallError, buffer: &mut [u8]) -> TakeStatus {
    let payload = data::encode(error);
    let head = MessageHead { payload_len: payload.len() as u32, ..MessageHead::default() };
    buffer[..MessageHead::SIZE].copy_from_slice(&head.to_bytes());
    buffer[MessageHead::SIZE..][..payload.len()].copy_from_slice(&payload);
    TakeStatus::Failed
}

fn name_of(schema: &[u8]) -> String {
    Schema::decode(schema).map_or_else(|_| "?".into(), |schema| schema.name())
}

pub(super) fn mismatch(writer: &[u8], reader: &[u8]) -> CallError {
    let (writer, reader) = (name_of(writer), name_of(reader));
    CallError::Mismatch { path: reader.clone(), message: "another type".into(), writer, reader }
}

pub(super) fn reason_from(tag: TypeTag, reason: &[u8]) -> ExitReason {
    if tag.raw() == 0 {
        return ExitReason::Normal;
    }
    let schema = tag.schema();
    ExitReason::Custom { type_name: name_of(&schema), schema, value: reason.to_vec() }
}
