//! [`Types`]: what the kernel asks about schemas. The answers are pure and never change.

use alloc::string::String;

use neurath_proto::envelope::SchemaId;
use neurath_proto::reason::CallError;

/// How a reader's type relates to a writer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// The bytes can be read as they are.
    Same,
    /// The bytes must be resolved first; single values may still turn out not to fit.
    Convert,
    /// Never.
    No,
}

/// Knows every schema that this node has numbered.
pub trait Types: Send + Sync {
    /// How `reader` relates to `writer`. Never asked for equal ids.
    fn fit(&self, reader: SchemaId, writer: SchemaId) -> Fit;
    /// Why `writer` is not among `readers`: the error for the sender.
    fn mismatch(&self, readers: &[SchemaId], writer: SchemaId) -> CallError;
    /// The name of a type.
    fn name(&self, schema: SchemaId) -> String;
}

/// The first of `readers` that can read `writer`.
#[inline]
pub(crate) fn fit_any(types: &dyn Types, readers: &[SchemaId], writer: SchemaId) -> Option<(u32, Fit)> {
    if let Some(at) = readers.iter().position(|reader| *reader == writer) {
        return Some((at as u32, Fit::Same));
    }
    readers.iter().enumerate().find_map(|(at, reader)| match types.fit(*reader, writer) {
        Fit::No => None,
        fit => Some((at as u32, fit)),
    })
}
