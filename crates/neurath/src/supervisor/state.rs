//! What a supervisor keeps: plain data, which survives upgrades.
//!
//! Invariant: a child's number is its place in the order of starts, and is never given twice.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use neurath_proto::reason::ExitReason;
use neurath_proto::{Data, DecodeError, Pid, Reader, SchemaBuilder, Type};

use super::ChildSpec;
use crate::State;

/// The state of a supervisor whose function has the parameters `A`: what an upgrade hands over.
#[derive(State, Debug, Clone, PartialEq, Eq)]
pub struct Supervision<A: Data> {
    /// What the function is called with, also in newer code.
    pub(crate) arguments: Encoded<A>,
    pub(crate) house: House,
}

/// The children.
#[derive(State, Debug, Clone, PartialEq, Eq, Default)]
pub struct House {
    /// By number.
    pub(crate) children: BTreeMap<u64, Kept>,
    pub(crate) last_number: u64,
    pub(crate) last_round: u64,
    /// When children were restarted, in milliseconds since 1970; those that are within the period.
    pub(crate) recent_ms: Vec<u64>,
    /// Restarts in all.
    pub(crate) restarts: u64,
    /// The encoded schema of the template's argument.
    pub(crate) template: Vec<u8>,
}

/// One child.
#[derive(State, Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub(crate) origin: Origin,
    pub(crate) pid: Option<Pid>,
    pub(crate) up_since_ms: u64,
    pub(crate) restarts: u64,
    /// Failures that followed each other closely.
    pub(crate) failures: u32,
    pub(crate) last_reason: Option<ExitReason>,
    /// The delay that its restart waits for.
    pub(crate) waits: Option<u64>,
}

/// What a child is made of.
#[derive(State, Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A specification of its own.
    Spec(ChildSpec),
    /// The encoded argument of the template.
    Template(Vec<u8>),
}

impl Kept {
    pub(crate) fn new(origin: Origin) -> Self {
        Self { origin, pid: None, up_since_ms: 0, restarts: 0, failures: 0, last_reason: None, waits: None }
    }

    /// What people call it.
    pub(crate) fn name(&self) -> String {
        match (&self.origin, self.pid) {
            (Origin::Spec(spec), _) => spec.id.clone(),
            (Origin::Template(_), Some(pid)) => pid.to_string(),
            (Origin::Template(_), None) => "a child of the template".into(),
        }
    }
}

/// The bytes of an `A`, described as one: so nothing has to be cloned to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded<A> {
    pub(crate) bytes: Vec<u8>,
    of: PhantomData<fn(A)>,
}

impl<A: Data> Data for Encoded<A> {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let before = reader.left();
        A::decode(reader)?;
        let bytes = before[..before.len() - reader.left().len()].to_vec();
        Ok(Self { bytes, of: PhantomData })
    }

    fn schema(builder: &mut SchemaBuilder) -> Type {
        A::schema(builder)
    }
}
