//! [`Data`]: codec and schema of a type, in one.
//!
//! The bytes are postcard's. Decoding is for hostile bytes: nothing is allocated before its length is
//! known to fit what is left to read.

use alloc::vec::Vec;

use crate::schema::{SchemaBuilder, Type};

/// A type whose values can be sent and kept: it can be written, read and described.
pub trait Data: Sized + 'static {
    /// Appends the encoded value.
    fn encode(&self, out: &mut Vec<u8>);

    /// Reads one value.
    ///
    /// # Errors
    /// The bytes are not a value of this type.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// Describes the type.
    fn schema(builder: &mut SchemaBuilder) -> Type;
}
