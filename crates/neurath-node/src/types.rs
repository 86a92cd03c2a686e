//! The schemas that this node has met, each under one number, and how they relate.
//!
//! Invariant: a number never changes its schema while the node lives; relations are computed once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use neurath_kernel::peer::Schemas;
use neurath_kernel::session::wire::WireTypes;
use neurath_kernel::{Fit, Types, WellKnown};
use neurath_proto::cluster::{Answer, NodeDown, NodeUp};
use neurath_proto::envelope::SchemaId;
use neurath_proto::notice::{Down, Exit, NotDelivered};
use neurath_proto::reason::CallError;
use neurath_proto::resolve::{Mismatch, Resolution, same_name};
use neurath_proto::{Schema, SchemaHash};

/// Schemas that one node may know: beyond that modules are refused.
const SCHEMAS_MAX: usize = 1 << 20;

/// See the module.
pub struct TypeTable {
    inner: RwLock<Inner>,
    known: WellKnown,
    fits: FitCache,
}

/// How pairs of types relate, without a lock: each entry is one word that holds the pair and the answer, so a reader
/// sees a whole answer or another pair's.
struct FitCache(Box<[AtomicU64]>);

impl FitCache {
    const ENTRIES: usize = 4096;

    fn new() -> Self {
        Self((0..Self::ENTRIES).map(|_| AtomicU64::new(0)).collect())
    }

    #[inline]
    fn entry(&self, reader: SchemaId, writer: SchemaId) -> (&AtomicU64, u64) {
        let pair = u64::from(reader.0) << 32 | u64::from(writer.0) << 2;
        let at = (pair.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52) as usize;
        (&self.0[at % Self::ENTRIES], pair)
    }

    #[inline]
    fn get(&self, reader: SchemaId, writer: SchemaId) -> Option<Fit> {
        let (entry, pair) = self.entry(reader, writer);
        let word = entry.load(Ordering::Relaxed);
        match word ^ pair {
            1 => Some(Fit::Same),
            2 => Some(Fit::Convert),
            3 => Some(Fit::No),
            _ => None,
        }
    }

    fn set(&self, reader: SchemaId, writer: SchemaId, fit: Fit) {
        let (entry, pair) = self.entry(reader, writer);
        let answer = match fit {
            Fit::Same => 1,
            Fit::Convert => 2,
            Fit::No => 3,
        };
        entry.store(pair | answer, Ordering::Relaxed);
    }
}

#[derive(Default)]
struct Inner {
    by_hash: HashMap<SchemaHash, SchemaId>,
    schemas: Vec<Arc<Schema>>,
    hashes: Vec<SchemaHash>,
    relations: HashMap<(SchemaId, SchemaId), Relation>,
}

#[derive(Clone)]
enum Relation {
    Same,
    Convert(Arc<Resolution>),
    Not(Arc<Mismatch>),
}

/// The node knows as many schemas as it may.
#[derive(Debug, thiserror::Error)]
#[error(
    "this node knows {SCHEMAS_MAX} schemas, which is its limit; restart it, or look for a module that makes up types"
)]
pub struct TooManySchemas;

impl TypeTable {
    /// A table that knows what the runtime itself says.
    pub fn new() -> Self {
        let mut inner = Inner::default();
        let mut add = |schema| inner.add(schema).unwrap_or_default();
        let known = WellKnown {
            down: add(Schema::of::<Down>()),
            exit: add(Schema::of::<Exit>()),
            answer: add(Schema::of::<Answer>()),
            not_delivered: add(Schema::of::<NotDelivered>()),
            node_up: add(Schema::of::<NodeUp>()),
            node_down: add(Schema::of::<NodeDown>()),
        };
        Self { inner: RwLock::new(inner), known, fits: FitCache::new() }
    }

    /// The numbers of what the runtime itself says.
    pub fn known(&self) -> WellKnown {
        self.known
    }

    /// The number of a schema.
    ///
    /// # Errors
    /// The table is full; nothing changed.
    pub fn intern(&self, schema: Schema) -> Result<SchemaId, TooManySchemas> {
        let hash = schema.hash();
        if let Some(id) = self.read().by_hash.get(&hash) {
            return Ok(*id);
        }
        self.write().add(schema)
    }

    /// The schema with this number.
    pub fn schema(&self, id: SchemaId) -> Option<Arc<Schema>> {
        self.read().schemas.get(id.0 as usize).cloned()
    }

    /// The bytes of a value of type `writer` as `reader` would have written them.
    pub fn convert(&self, reader: SchemaId, writer: SchemaId, bytes: &[u8]) -> Result<Vec<u8>, CallError> {
        match self.relation(reader, writer) {
            Relation::Same => Ok(bytes.to_vec()),
            Relation::Convert(resolution) => resolution.apply(bytes).map_err(|m| to_call_error(&m)),
            Relation::Not(mismatch) => Err(to_call_error(&mismatch)),
        }
    }

    fn relation(&self, reader: SchemaId, writer: SchemaId) -> Relation {
        if reader == writer {
            return Relation::Same;
        }
        if let Some(relation) = self.read().relations.get(&(reader, writer)) {
            return relation.clone();
        }
        let (Some(to), Some(from)) = (self.schema(reader), self.schema(writer)) else {
            return Relation::Not(Arc::new(unknown()));
        };
        let relation = match Resolution::new(&from, &to) {
            Ok(resolution) if resolution.is_identity() => Relation::Same,
            Ok(resolution) => Relation::Convert(Arc::new(resolution)),
            Err(mismatch) => Relation::Not(Arc::new(mismatch)),
        };
        self.write().relations.insert((reader, writer), relation.clone());
        relation
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Default for TypeTable {
    fn default() -> Self {
        Self::new()
    }
}

impl Inner {
    fn add(&mut self, schema: Schema) -> Result<SchemaId, TooManySchemas> {
        let hash = schema.hash();
        if let Some(id) = self.by_hash.get(&hash) {
            return Ok(*id);
        }
        if self.schemas.len() >= SCHEMAS_MAX {
            return Err(TooManySchemas);
        }
        let id = SchemaId(self.schemas.len() as u32);
        self.schemas.push(Arc::new(schema));
        self.hashes.push(hash);
        self.by_hash.insert(hash, id);
        Ok(id)
    }
}

impl WireTypes for TypeTable {
    fn hash(&self, schema: SchemaId) -> SchemaHash {
        self.read().hashes.get(schema.0 as usize).copied().unwrap_or(SchemaHash([0; 16]))
    }

    fn id(&self, hash: SchemaHash) -> Option<SchemaId> {
        self.read().by_hash.get(&hash).copied()
    }
}

impl Schemas for TypeTable {
    fn encoded(&self, id: SchemaId) -> Vec<u8> {
        self.schema(id).map(|schema| schema.encode()).unwrap_or_default()
    }

    fn intern(&self, schema: Schema) -> Result<SchemaId, String> {
        Self::intern(self, schema).map_err(|error| error.to_string())
    }
}

impl Types for TypeTable {
    #[inline]
    fn fit(&self, reader: SchemaId, writer: SchemaId) -> Fit {
        if let Some(fit) = self.fits.get(reader, writer) {
            return fit;
        }
        let fit = match self.relation(reader, writer) {
            Relation::Same => Fit::Same,
            Relation::Convert(_) => Fit::Convert,
            Relation::Not(_) => Fit::No,
        };
        self.fits.set(reader, writer, fit);
        fit
    }

    fn mismatch(&self, readers: &[SchemaId], writer: SchemaId) -> CallError {
        let Some(from) = self.schema(writer) else { return to_call_error(&unknown()) };
        // The reader of the same name says most; failing that, all of them are named.
        let namesake = readers
            .iter()
            .find(|id| self.schema(**id).is_some_and(|to| same_name(&from, &to)))
            .or(if readers.len() == 1 { readers.first() } else { None });
        if let Some(id) = namesake
            && let Relation::Not(mismatch) = self.relation(*id, writer)
        {
            return to_call_error(&mismatch);
        }
        let names: Vec<_> = readers.iter().map(|id| self.name(*id)).collect();
        CallError::Mismatch {
            writer: from.name(),
            reader: if names.is_empty() { "nothing".into() } else { names.join(" | ") },
            path: from.name(),
            message: "the receiver takes no message of this type".into(),
        }
    }

    fn name(&self, schema: SchemaId) -> String {
        self.schema(schema).map_or_else(|| "an unknown type".into(), |schema| schema.name())
    }
}

fn unknown() -> Mismatch {
    Mismatch {
        writer: "an unknown type".into(),
        reader: "an unknown type".into(),
        path: String::new(),
        message: "this node does not know the schema".into(),
    }
}

/// The same words for whoever waits for an answer.
pub fn to_call_error(mismatch: &Mismatch) -> CallError {
    let Mismatch { writer, reader, path, message } = mismatch.clone();
    CallError::Mismatch { writer, reader, path, message }
}
