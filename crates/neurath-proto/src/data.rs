//! [`Data`]: codec and schema of a type, in one.
//!
//! The bytes are postcard's. Decoding is for hostile bytes: nothing is allocated before its length is
//! known to fit what is left to read, and what recurses through an indirection has a depth limit.
//!
//! It knows nothing of versions: bytes written with one schema are read with the same one. Where two
//! differ, [`crate::resolve`] stands between.

mod impls;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use crate::schema::{SchemaBuilder, Type};

/// A type whose values can be sent and kept: it can be written, read and described.
///
/// `#[derive(Message)]` and `#[derive(State)]` implement it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent or kept",
    label = "not a type of messages or states",
    note = "add `#[derive(Message)]` (or `State`) to `{Self}`"
)]
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

    /// Appends all of `items`, without their number. `u8` has a faster way.
    #[doc(hidden)]
    #[inline]
    fn encode_items(items: &[Self], out: &mut Vec<u8>) {
        for item in items {
            item.encode(out);
        }
    }

    /// Reads `count` values. `u8` has a faster way.
    #[doc(hidden)]
    #[inline]
    fn decode_items(count: usize, reader: &mut Reader<'_>) -> Result<Vec<Self>, DecodeError> {
        reader.nested(|reader| {
            let mut items = Vec::with_capacity(reader.justified::<Self>(count));
            for _ in 0..count {
                items.push(reader.element()?);
            }
            Ok(items)
        })
    }

    /// Describes a `Vec` of this type: `u8` has a name of its own for it.
    #[doc(hidden)]
    fn items_schema(builder: &mut SchemaBuilder) -> Type {
        Type::Seq(Box::new(Self::schema(builder)))
    }
}

/// The encoded value.
#[inline]
pub fn encode<T: Data>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    value.encode(&mut out);
    out
}

/// The value that `bytes` hold, all of them.
///
/// # Errors
/// The bytes are not one value of this type, or more than that.
#[inline]
pub fn decode<T: Data>(bytes: &[u8]) -> Result<T, DecodeError> {
    let mut reader = Reader::new(bytes);
    let value = T::decode(&mut reader)?;
    reader.finish()?;
    Ok(value)
}

/// Why bytes are not a value, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// What is wrong.
    pub what: DecodeFault,
    /// The offset behind what was read last.
    pub at: usize,
}

/// What is wrong with bytes that are not a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeFault {
    /// They end within the value.
    Truncated,
    /// An integer is larger than its type.
    Overflow,
    /// A byte that should be 0 or 1 is not.
    BadFlag,
    /// A string is not UTF-8.
    BadUtf8,
    /// A `char` is not one character.
    BadChar,
    /// An enum has no variant of this index.
    BadVariant {
        /// The enum.
        type_name: &'static str,
        /// The index that was read.
        index: u32,
    },
    /// A length is beyond what is left.
    BadLength,
    /// Values lie within values, beyond [`Reader::DEPTH_MAX`].
    TooDeep,
    /// There are too many values without any bytes.
    TooManyValues,
    /// The value ends before the bytes do.
    TrailingBytes,
    /// A rule of the type is broken.
    Invalid(&'static str),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.what {
            DecodeFault::Truncated => f.write_str("the bytes end within the value"),
            DecodeFault::Overflow => f.write_str("an integer is larger than its type"),
            DecodeFault::BadFlag => f.write_str("a flag is neither 0 nor 1"),
            DecodeFault::BadUtf8 => f.write_str("a string is not UTF-8"),
            DecodeFault::BadChar => f.write_str("a char is not one character"),
            DecodeFault::BadVariant { type_name, index } => write!(f, "`{type_name}` has no variant number {index}"),
            DecodeFault::BadLength => f.write_str("a length is beyond the bytes that are left"),
            DecodeFault::TooDeep => write!(f, "values are nested more than {} deep", Reader::DEPTH_MAX),
            DecodeFault::TooManyValues => f.write_str("there are too many values for so few bytes"),
            DecodeFault::TrailingBytes => f.write_str("there are bytes left after the value"),
            DecodeFault::Invalid(why) => f.write_str(why),
        }?;
        write!(f, " (at byte {})", self.at)
    }
}

impl core::error::Error for DecodeError {}

/// Reads values from bytes that anyone may have written.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    left: &'a [u8],
    len: usize,
    depth: usize,
    /// How many values that take no bytes may still be read.
    free_values: usize,
}

impl<'a> Reader<'a> {
    /// How deep values may lie within each other through a `Box`, a `Vec`, a map and the like.
    pub const DEPTH_MAX: usize = 128;

    /// Reads from the beginning of `bytes`.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self::with_free_values(bytes, bytes.len().saturating_mul(64).saturating_add(1 << 16))
    }

    pub(crate) fn with_free_values(bytes: &'a [u8], free_values: usize) -> Self {
        Self { left: bytes, len: bytes.len(), depth: 0, free_values }
    }

    pub(crate) fn free_values(&self) -> usize {
        self.free_values
    }

    /// How many bytes were read.
    #[inline]
    pub fn position(&self) -> usize {
        self.len - self.left.len()
    }

    /// What is left to read.
    #[inline]
    pub fn left(&self) -> &'a [u8] {
        self.left
    }

    /// Demands that nothing is left.
    ///
    /// # Errors
    /// [`DecodeFault::TrailingBytes`].
    #[inline]
    pub fn finish(&self) -> Result<(), DecodeError> {
        if self.left.is_empty() { Ok(()) } else { Err(self.fault(DecodeFault::TrailingBytes)) }
    }

    /// An error at this place.
    #[cold]
    pub fn fault(&self, what: DecodeFault) -> DecodeError {
        DecodeError { what, at: self.position() }
    }

    /// The error that `type_name` has no variant `index`.
    #[cold]
    pub fn bad_variant(&self, type_name: &'static str, index: u32) -> DecodeError {
        self.fault(DecodeFault::BadVariant { type_name, index })
    }

    /// The next byte.
    ///
    /// # Errors
    /// There is none.
    #[inline]
    pub fn byte(&mut self) -> Result<u8, DecodeError> {
        match self.left.split_first() {
            Some((first, rest)) => {
                self.left = rest;
                Ok(*first)
            }
            None => Err(self.fault(DecodeFault::Truncated)),
        }
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// There are fewer.
    #[inline]
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        match self.left.split_at_checked(count) {
            Some((taken, rest)) => {
                self.left = rest;
                Ok(taken)
            }
            None => Err(self.fault(DecodeFault::Truncated)),
        }
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// There are fewer.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.left.split_first_chunk() {
            Some((taken, rest)) => {
                self.left = rest;
                Ok(*taken)
            }
            None => Err(self.fault(DecodeFault::Truncated)),
        }
    }

    /// The length of what follows: bytes, or elements of a byte or more. Elements that take no bytes
    /// have a bound of their own.
    ///
    /// # Errors
    /// It is beyond what is left.
    #[inline]
    pub fn length(&mut self) -> Result<usize, DecodeError> {
        let length = self.varint(u64::BITS)?;
        match usize::try_from(length) {
            Ok(length) if length <= self.left.len() || length - self.left.len() <= self.free_values => Ok(length),
            _ => Err(self.fault(DecodeFault::BadLength)),
        }
    }

    /// A string, where it lies.
    ///
    /// # Errors
    /// It is truncated or no UTF-8.
    #[inline]
    pub fn str(&mut self) -> Result<&'a str, DecodeError> {
        let length = self.length()?;
        let bytes = self.take(length)?;
        core::str::from_utf8(bytes).map_err(|_| self.fault(DecodeFault::BadUtf8))
    }

    /// Bytes after their length, where they lie.
    ///
    /// # Errors
    /// They are truncated.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.length()?;
        self.take(length)
    }

    /// Reads what lies within something that can contain itself.
    ///
    /// # Errors
    /// Those of `read`, and [`DecodeFault::TooDeep`].
    #[inline]
    pub fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, DecodeError>) -> Result<T, DecodeError> {
        if self.depth >= Self::DEPTH_MAX {
            return Err(self.fault(DecodeFault::TooDeep));
        }
        self.depth += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    /// An element of a collection: one that takes no bytes is counted.
    ///
    /// # Errors
    /// Those of the element, and [`DecodeFault::TooManyValues`].
    #[inline]
    pub fn element<T: Data>(&mut self) -> Result<T, DecodeError> {
        let before = self.left.len();
        let value = T::decode(self)?;
        if self.left.len() == before {
            self.spend()?;
        }
        Ok(value)
    }

    /// Counts a value that is out of proportion to the bytes.
    ///
    /// # Errors
    /// [`DecodeFault::TooManyValues`].
    #[inline]
    pub(crate) fn spend(&mut self) -> Result<(), DecodeError> {
        match self.free_values.checked_sub(1) {
            Some(rest) => {
                self.free_values = rest;
                Ok(())
            }
            None => Err(self.fault(DecodeFault::TooManyValues)),
        }
    }

    /// For how many values of `T` room may be made at once, when `count` are announced.
    #[inline]
    fn justified<T>(&self, count: usize) -> usize {
        match core::mem::size_of::<T>() {
            0 => 0,
            size => count.min((self.left.len().saturating_mul(8) / size).max(1)),
        }
    }

    /// A varint of `bits` bits: 16, 32 or 64.
    #[inline]
    pub(crate) fn varint(&mut self, bits: u32) -> Result<u64, DecodeError> {
        match self.left.split_first() {
            Some((first, rest)) if *first < 0x80 => {
                self.left = rest;
                Ok(u64::from(*first))
            }
            _ => self.long_varint(bits),
        }
    }

    fn long_varint(&mut self, bits: u32) -> Result<u64, DecodeError> {
        let bytes_max = bits.div_ceil(7) as usize;
        let mut value = 0;
        for (index, byte) in self.left.iter().take(bytes_max).enumerate() {
            let part = u64::from(byte & 0x7f);
            value |= part << (7 * index);
            if *byte < 0x80 {
                self.left = &self.left[index + 1..];
                let bits_left = bits - 7 * index as u32;
                return if part >> bits_left.min(7) == 0 { Ok(value) } else { Err(self.fault(DecodeFault::Overflow)) };
            }
        }
        let what = if self.left.len() < bytes_max { DecodeFault::Truncated } else { DecodeFault::Overflow };
        self.left = &self.left[self.left.len().min(bytes_max)..];
        Err(self.fault(what))
    }

    pub(crate) fn varint_u128(&mut self) -> Result<u128, DecodeError> {
        let mut value = 0;
        let mut shift = 0;
        while shift < 128 {
            let byte = self.byte()?;
            let part = u128::from(byte & 0x7f);
            if 128 - shift < 7 && part >> (128 - shift) != 0 {
                break;
            }
            value |= part << shift;
            if byte < 0x80 {
                return Ok(value);
            }
            shift += 7;
        }
        Err(self.fault(DecodeFault::Overflow))
    }
}

/// Appends a varint.
#[inline]
pub(crate) fn put_varint(value: u64, out: &mut Vec<u8>) {
    if value < 0x80 { out.push(value as u8) } else { put_long_varint(value, out) }
}

fn put_long_varint(mut value: u64, out: &mut Vec<u8>) {
    let mut bytes = [0; 10];
    let mut len = 0;
    while value >= 0x80 {
        bytes[len] = value as u8 | 0x80;
        value >>= 7;
        len += 1;
    }
    bytes[len] = value as u8;
    out.extend_from_slice(&bytes[..=len]);
}

pub(crate) fn put_varint_u128(mut value: u128, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Small negative numbers become small numbers.
#[inline]
pub(crate) const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[inline]
pub(crate) const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

pub(crate) const fn zigzag_u128(value: i128) -> u128 {
    ((value << 1) ^ (value >> 127)) as u128
}

pub(crate) const fn unzigzag_u128(value: u128) -> i128 {
    (value >> 1) as i128 ^ -((value & 1) as i128)
}

/// [`Data`] for a struct, field by field.
macro_rules! structure {
    ($name:ident { $($field:ident: $type:ty),* }) => {
        impl $crate::Data for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                $(self.$field.encode(out);)*
            }

            fn decode(reader: &mut $crate::Reader<'_>) -> Result<Self, $crate::DecodeError> {
                Ok(Self { $($field: $crate::Data::decode(reader)?),* })
            }

            fn schema(builder: &mut $crate::SchemaBuilder) -> $crate::Type {
                builder.structure::<Self>(stringify!($name), |fields| { $(fields.field::<$type>(stringify!($field));)* })
            }
        }
    };
}
pub(crate) use structure;
