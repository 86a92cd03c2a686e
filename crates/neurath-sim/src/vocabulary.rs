//! The types that simulated nodes know: what the runtime says, what processes say to each other, and what a hostile node
//! makes up.
//!
//! It refuses to know what values say. Invariant: a number never changes its schema, as in a node.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use neurath_kernel::peer::Schemas;
use neurath_kernel::session::wire::WireTypes;
use neurath_kernel::{Fit, Types, WellKnown};
use neurath_proto::cluster::{Answer, NodeDown, NodeUp};
use neurath_proto::data::DecodeError;
use neurath_proto::envelope::SchemaId;
use neurath_proto::notice::{Down, Exit, NotDelivered};
use neurath_proto::reason::CallError;
use neurath_proto::schema::{SchemaBuilder, Type};
use neurath_proto::{Data, Reader, Schema, SchemaHash};

/// What processes say to each other: a number, and bytes that nobody reads.
const NUMBER: SchemaId = SchemaId(10);
/// The same, if it is long: its schema is declared in pieces.
const WIDE: SchemaId = SchemaId(11);
/// What they say later: the number of the timer.
pub const TIMED: SchemaId = SchemaId(12);
/// Schemas that somebody makes up are numbered from here on.
const MADE_UP: u32 = 100;
/// So many there may be.
const MADE_UP_MAX: usize = 1 << 16;
/// What the runtime says.
pub const KNOWN: WellKnown = WellKnown {
    down: SchemaId(0),
    exit: SchemaId(1),
    answer: SchemaId(2),
    not_delivered: SchemaId(3),
    node_up: SchemaId(4),
    node_down: SchemaId(5),
};
/// All that a process takes.
pub const READS: [SchemaId; 9] =
    [NUMBER, WIDE, TIMED, KNOWN.down, KNOWN.exit, KNOWN.answer, KNOWN.not_delivered, KNOWN.node_up, KNOWN.node_down];

/// The type in which processes say so many bytes.
pub fn of_length(bytes: usize) -> SchemaId {
    if bytes > 1 << 10 { WIDE } else { NUMBER }
}

/// Whether it is what processes say to each other.
pub fn is_number(schema: SchemaId) -> bool {
    schema == NUMBER || schema == WIDE
}

/// See the module. One stands for the tables of all nodes.
pub struct Vocabulary(Mutex<BTreeMap<SchemaId, (SchemaHash, Schema)>>);

impl Vocabulary {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<SchemaId, (SchemaHash, Schema)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Vocabulary {
    fn default() -> Self {
        let all = [
            (KNOWN.down, Schema::of::<Down>()),
            (KNOWN.exit, Schema::of::<Exit>()),
            (KNOWN.answer, Schema::of::<Answer>()),
            (KNOWN.not_delivered, Schema::of::<NotDelivered>()),
            (KNOWN.node_up, Schema::of::<NodeUp>()),
            (KNOWN.node_down, Schema::of::<NodeDown>()),
            (NUMBER, Schema::of::<u64>()),
            (WIDE, Schema::of::<Wide>()),
            (TIMED, Schema::of::<u32>()),
        ];
        Self(Mutex::new(all.into_iter().map(|(id, schema)| (id, (schema.hash(), schema))).collect()))
    }
}

impl WireTypes for Vocabulary {
    fn hash(&self, schema: SchemaId) -> SchemaHash {
        self.lock().get(&schema).map_or(SchemaHash([0; 16]), |(hash, _)| *hash)
    }

    fn id(&self, hash: SchemaHash) -> Option<SchemaId> {
        self.lock().iter().find(|(_, (known, _))| *known == hash).map(|(id, _)| *id)
    }
}

impl Schemas for Vocabulary {
    fn encoded(&self, id: SchemaId) -> Vec<u8> {
        self.lock().get(&id).map(|(_, schema)| schema.encode()).unwrap_or_default()
    }

    fn intern(&self, schema: Schema) -> Result<SchemaId, String> {
        let hash = schema.hash();
        if let Some(id) = self.id(hash) {
            return Ok(id);
        }
        let mut all = self.lock();
        if all.len() >= MADE_UP_MAX {
            return Err("too many types are made up".into());
        }
        let id = SchemaId(MADE_UP + all.len() as u32);
        all.insert(id, (hash, schema));
        Ok(id)
    }
}

/// Only equals fit.
pub struct Alike;

impl Types for Alike {
    fn fit(&self, _: SchemaId, _: SchemaId) -> Fit {
        Fit::No
    }

    fn mismatch(&self, _: &[SchemaId], writer: SchemaId) -> CallError {
        CallError::NotSent(format!("nobody reads schema {}", writer.0))
    }

    fn name(&self, schema: SchemaId) -> String {
        schema.0.to_string()
    }
}

/// A type with a long description.
struct Wide;

impl Wide {
    const FIELDS: u64 = 400;
}

impl Data for Wide {
    fn encode(&self, out: &mut Vec<u8>) {
        (0..Self::FIELDS).for_each(|field| field.encode(out));
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        (0..Self::FIELDS).try_for_each(|_| u64::decode(reader).map(drop))?;
        Ok(Self)
    }

    fn schema(builder: &mut SchemaBuilder) -> Type {
        builder.structure::<Self>("Wide", |fields| {
            (0..Self::FIELDS).for_each(|field| fields.field::<u64>(&format!("a_field_whose_name_is_long_{field}")));
        })
    }
}

#[cfg(test)]
mod tests {
    use neurath_kernel::peer::SCHEMA_PIECE_BYTES;

    use super::*;

    #[test]
    fn long_messages_have_a_schema_that_is_declared_in_pieces_and_short_ones_do_not() {
        let vocabulary = Vocabulary::default();
        assert!(vocabulary.encoded(of_length(8 << 10)).len() > SCHEMA_PIECE_BYTES);
        assert!(vocabulary.encoded(of_length(8)).len() < SCHEMA_PIECE_BYTES);
    }
}
