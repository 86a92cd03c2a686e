//! [`Data`] for the types of the standard library that messages are made of, and for ids.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::ops::Range;
use core::time::Duration;

use super::{
    Data, DecodeError, DecodeFault, Reader, put_varint, put_varint_u128, unzigzag, unzigzag_u128, zigzag, zigzag_u128,
};
use crate::id::{Incarnation, NodeId, Pid, Ref, Serial};
use crate::schema::{Opaque, SchemaBuilder, Type};

impl Data for () {
    #[inline]
    fn encode(&self, _: &mut Vec<u8>) {}

    #[inline]
    fn decode(_: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(())
    }

    fn schema(_: &mut SchemaBuilder) -> Type {
        Type::Unit
    }
}

impl<T: 'static> Data for PhantomData<T> {
    #[inline]
    fn encode(&self, _: &mut Vec<u8>) {}

    #[inline]
    fn decode(_: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self)
    }

    fn schema(_: &mut SchemaBuilder) -> Type {
        Type::Unit
    }
}

impl Data for bool {
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    #[inline]
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(reader.fault(DecodeFault::BadFlag)),
        }
    }

    fn schema(_: &mut SchemaBuilder) -> Type {
        Type::Bool
    }
}

impl Data for u8 {
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }

    #[inline]
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.byte()
    }

    fn schema(_: &mut SchemaBuilder) -> Type {
        Type::U8
    }

    #[inline]
    fn encode_items(items: &[Self], out: &mut Vec<u8>) {
        out.extend_from_slice(items);
    }

    #[inline]
    fn decode_items(count: usize, reader: &mut Reader<'_>) -> Result<Vec<Self>, DecodeError> {
        Ok(reader.take(count)?.into())
    }

    fn items_schema(_: &mut SchemaBuilder) -> Type {
        Type::Bytes
    }
}

impl Data for i8 {
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(*self as u8);
    }

    #[inline]
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(reader.byte()? as i8)
    }

    fn schema(_: &mut SchemaBuilder) -> Type {
        Type::I8
    }
}

macro_rules! unsigned {
    ($($type:ty as $wire:ident $kind:ident),*) => {$(
        impl Data for $type {
            #[inline]
            fn encode(&self, out: &mut Vec<u8>) {
                put_varint(*self as u64, out);
            }

            #[inline]
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                let value = reader.varint($wire::BITS)?;
                <$type>::try_from(value).map_err(|_| reader.fault(DecodeFault::Overflow))
            }

            fn schema(_: &mut SchemaBuilder) -> Type {
                Type::$kind
            }
        }
    )*};
}

unsigned!(u16 as u16 U16, u32 as u32 U32, u64 as u64 U64);
// A guest's `usize` says that it takes 32 bits, so what it could not read is not sent to it.
#[cfg(target_pointer_width = "32")]
unsigned!(usize as u32 U32);
#[cfg(not(target_pointer_width = "32"))]
unsigned!(usize as u64 U64);

macro_rules! signed {
    ($($type:ty as $wire:ident $kind:ident),*) => {$(
        impl Data for $type {
            #[inline]
            fn encode(&self, out: &mut Vec<u8>) {
                put_varint(zigzag(*self as i64), out);
            }

            #[inline]
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                let value = unzigzag(reader.varint($wire::BITS)?);
                <$type>::try_from(value).map_err(|_| reader.fault(DecodeFault::Overflow))
            }

            fn schema(_: &mut SchemaBuilder) -> Type {
                Type::$kind
            }
        }
    )*};
}

signed!(i16 as i16 I16, i32 as i32 I32, i64 as i64 I64);
#[cfg(target_pointer_width = "32")]
signed!(isize as i32 I32);
#[cfg(not(target_pointer_width = "32"))]
signed!(isize as i64 I64);

impl Data for u128 {
    fn encode(&self, out: &mut Vec<u8>) {
        put_varint_u128(*self, out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.varint_u128()
    }

    fn schema(_: &mut SchemaBuilder) -> Type {
        Type::U128
    }
}

impl Data for i128 {
    fn encode(&self, out: &mut Vec<u8>) {
        put_varint_u128(zigzag_u128(*self), out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.varint_u128().map(unzigzag_u128)
    }

    fn schema(_: &mut SchemaBuilder) -> Type {
        Type::I128
    }
}

macro_rules! float {
    ($($type:ty as $kind:ident),*) => {$(
        impl Data for $type {
            #[inline]
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            #[inline]
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                reader.array().map(Self::from_le_bytes)
            }

            fn schema(_: &mut SchemaBuilder) -> Type {
                Type::$kind
            }
        }
    )*};
}

float!(f32 as F32, f64 as F64);

impl Data for char {
    fn encode(&self, out: &mut Vec<u8>) {
        let mut utf8 = [0; 4];
        let text = self.encode_utf8(&mut utf8);
        out.push(text.len() as u8);
        out.extend_from_slice(text.as_bytes());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut chars = reader.str()?.chars();
        match (chars.next(), chars.next()) {
            (Some(only), None) => Ok(only),
            _ => Err(reader.fault(DecodeFault::BadChar)),
        }
    }

    fn schema(_: &mut SchemaBuilder) -> Type {
        Type::Char
    }
}

impl Data for String {
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        put_varint(self.len() as u64, out);
        out.extend_from_slice(self.as_bytes());
    }

    #[inline]
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.str().map(String::from)
    }

    fn schema(_: &mut SchemaBuilder) -> Type {
        Type::String
    }
}

impl<T: Data> Data for Box<T> {
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        T::encode(self, out);
    }

    #[inline]
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.nested(T::decode).map(Box::new)
    }

    fn schema(builder: &mut SchemaBuilder) -> Type {
        T::schema(builder)
    }
}

impl<T: Data> Data for Option<T> {
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            None => out.push(0),
            Some(value) => {
                out.push(1);
                value.encode(out);
            }
        }
    }

    #[inline]
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(if bool::decode(reader)? { Some(T::decode(reader)?) } else { None })
    }

    fn schema(builder: &mut SchemaBuilder) -> Type {
        Type::Option(Box::new(T::schema(builder)))
    }
}

impl<T: Data> Data for Vec<T> {
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        put_varint(self.len() as u64, out);
        T::encode_items(self, out);
    }

    #[inline]
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = reader.length()?;
        T::decode_items(count, reader)
    }

    fn schema(builder: &mut SchemaBuilder) -> Type {
        T::items_schema(builder)
    }
}

impl<T: Data> Data for VecDeque<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_varint(self.len() as u64, out);
        let (front, back) = self.as_slices();
        T::encode_items(front, out);
        T::encode_items(back, out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Vec::decode(reader).map(Self::from)
    }

    fn schema(builder: &mut SchemaBuilder) -> Type {
        T::items_schema(builder)
    }
}

impl<T: Data, const N: usize> Data for [T; N] {
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        T::encode_items(self, out);
    }

    #[inline]
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut failed = None;
        let items: [Option<T>; N] = core::array::from_fn(|_| {
            if failed.is_some() {
                return None;
            }
            T::decode(reader).map_err(|error| failed = Some(error)).ok()
        });
        match failed {
            Some(error) => Err(error),
            None => Ok(items.map(|item| item.expect("each item was read, since none failed"))),
        }
    }

    fn schema(builder: &mut SchemaBuilder) -> Type {
        let length = u32::try_from(N).expect("an array that is sent has fewer than 2^32 items");
        Type::Array(Box::new(T::schema(builder)), length)
    }
}

/// Writes a collection's length and its elements.
macro_rules! encode_all {
    ($items:expr, $out:expr) => {
        put_varint($items.len() as u64, $out);
        for item in $items {
            item.encode($out);
        }
    };
}

/// Writes a map's length and its pairs.
macro_rules! encode_pairs {
    ($map:expr, $out:expr) => {
        put_varint($map.len() as u64, $out);
        for (key, value) in $map {
            key.encode($out);
            value.encode($out);
        }
    };
}

/// Reads a collection into whatever has an `extend`-like function for one item.
#[inline]
fn decode_each<T: Data, C>(
    reader: &mut Reader<'_>,
    mut into: C,
    mut add: impl FnMut(&mut C, T),
) -> Result<C, DecodeError> {
    let count = reader.length()?;
    reader.nested(|reader| {
        for _ in 0..count {
            add(&mut into, reader.element()?);
        }
        Ok(into)
    })
}

impl<T: Data + Ord> Data for BTreeSet<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_all!(self, out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        decode_each(reader, Self::new(), |set, item| {
            set.insert(item);
        })
    }

    fn schema(builder: &mut SchemaBuilder) -> Type {
        Type::Seq(Box::new(T::schema(builder)))
    }
}

impl<K: Data + Ord, V: Data> Data for BTreeMap<K, V> {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_pairs!(self, out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        decode_each(reader, Self::new(), |map, (key, value)| {
            map.insert(key, value);
        })
    }

    fn schema(builder: &mut SchemaBuilder) -> Type {
        Type::Map(Box::new(K::schema(builder)), Box::new(V::schema(builder)))
    }
}

#[cfg(feature = "std")]
#[allow(
    clippy::disallowed_types,
    reason = "programs may use them; in a guest their seed is the host's, so runs repeat"
)]
mod with_std {
    use super::*;
    use core::hash::{BuildHasher, Hash};
    use std::collections::{HashMap, HashSet};

    /// Writes each item for itself, in the order of their bytes: the same collection gives the same bytes.
    fn encode_sorted<I: ExactSizeIterator>(items: I, out: &mut Vec<u8>, encode: impl Fn(I::Item, &mut Vec<u8>)) {
        put_varint(items.len() as u64, out);
        let start = out.len();
        let mut ends = Vec::with_capacity(items.len());
        for item in items {
            let from = out.len() - start;
            encode(item, out);
            ends.push(from..out.len() - start);
        }
        let unsorted = out.split_off(start);
        ends.sort_unstable_by(|a, b| unsorted[a.clone()].cmp(&unsorted[b.clone()]));
        ends.into_iter().for_each(|range| out.extend_from_slice(&unsorted[range]));
    }

    impl<T: Data + Eq + Hash, S: BuildHasher + Default + 'static> Data for HashSet<T, S> {
        fn encode(&self, out: &mut Vec<u8>) {
            encode_sorted(self.iter(), out, T::encode);
        }

        fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
            decode_each(reader, Self::default(), |set, item| {
                set.insert(item);
            })
        }

        fn schema(builder: &mut SchemaBuilder) -> Type {
            Type::Seq(Box::new(T::schema(builder)))
        }
    }

    impl<K: Data + Eq + Hash, V: Data, S: BuildHasher + Default + 'static> Data for HashMap<K, V, S> {
        fn encode(&self, out: &mut Vec<u8>) {
            encode_sorted(self.iter(), out, |(key, value), out| {
                key.encode(out);
                value.encode(out);
            });
        }

        fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
            decode_each(reader, Self::default(), |map, (key, value)| {
                map.insert(key, value);
            })
        }

        fn schema(builder: &mut SchemaBuilder) -> Type {
            Type::Map(Box::new(K::schema(builder)), Box::new(V::schema(builder)))
        }
    }
}

macro_rules! tuple {
    ($($type:ident $at:tt),+) => {
        impl<$($type: Data),+> Data for ($($type,)+) {
            #[inline]
            fn encode(&self, out: &mut Vec<u8>) {
                $(self.$at.encode(out);)+
            }

            #[inline]
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Ok(($($type::decode(reader)?,)+))
            }

            fn schema(builder: &mut SchemaBuilder) -> Type {
                Type::Tuple([$($type::schema(builder)),+].into())
            }
        }
    };
}

tuple!(A 0);
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);
tuple!(A 0, B 1, C 2, D 3, E 4);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11);

impl<T: Data, E: Data> Data for Result<T, E> {
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Ok(value) => {
                out.push(0);
                value.encode(out);
            }
            Err(error) => {
                out.push(1);
                error.encode(out);
            }
        }
    }

    #[inline]
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u32::decode(reader)? {
            0 => T::decode(reader).map(Ok),
            1 => E::decode(reader).map(Err),
            other => Err(reader.bad_variant("Result", other)),
        }
    }

    fn schema(builder: &mut SchemaBuilder) -> Type {
        builder.enumeration::<Self>("Result", |variants| {
            variants.tuple("Ok", |fields| fields.element::<T>());
            variants.tuple("Err", |fields| fields.element::<E>());
        })
    }
}

impl Data for Duration {
    fn encode(&self, out: &mut Vec<u8>) {
        self.as_secs().encode(out);
        self.subsec_nanos().encode(out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (secs, nanos) = <(u64, u32)>::decode(reader)?;
        // Whole seconds among the nanoseconds are carried over, as serde does it.
        if secs.checked_add(u64::from(nanos / 1_000_000_000)).is_none() {
            return Err(reader.fault(DecodeFault::Overflow));
        }
        Ok(Self::new(secs, nanos))
    }

    fn schema(builder: &mut SchemaBuilder) -> Type {
        builder.structure::<Self>("Duration", |fields| {
            fields.field::<u64>("secs");
            fields.field::<u32>("nanos");
        })
    }
}

impl<T: Data> Data for Range<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.start.encode(out);
        self.end.encode(out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(T::decode(reader)?..T::decode(reader)?)
    }

    fn schema(builder: &mut SchemaBuilder) -> Type {
        builder.structure::<Self>("Range", |fields| {
            fields.field::<T>("start");
            fields.field::<T>("end");
        })
    }
}

/// The node as eight bytes (it is a hash: a varint would be longer), then incarnation and serial.
impl Data for Pid {
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        let Self { node, serial, incarnation, reserved: _ } = self;
        out.extend_from_slice(&node.0.to_le_bytes());
        incarnation.0.encode(out);
        serial.0.encode(out);
    }

    #[inline]
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let node = NodeId(u64::from_le_bytes(reader.array()?));
        let incarnation = Incarnation(u32::decode(reader)?);
        Ok(Self::new(node, incarnation, Serial(u64::decode(reader)?)))
    }

    fn schema(_: &mut SchemaBuilder) -> Type {
        Type::Opaque(Opaque::Pid)
    }
}

impl Data for Ref {
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }

    #[inline]
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        u64::decode(reader).map(Ref)
    }

    fn schema(_: &mut SchemaBuilder) -> Type {
        Type::Opaque(Opaque::Ref)
    }
}
