//! The canonical form of a schema: definitions that mean the same are one, those that nothing reaches
//! are gone, and the order is that in which they are met, breadth first.
//!
//! Invariant: schemas of one shape have one canonical form, whoever built them.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::{Def, DefKind, Field, Fields, Opaque, Schema, Type, Variant, codec};

pub(super) fn canonical(schema: &Schema) -> Schema {
    let class_of = classes(&schema.defs);
    // New numbers, in the order in which the classes are met.
    let mut number = alloc::vec![None; schema.defs.len()];
    let mut met: Vec<u32> = Vec::new();
    let mut meet = |ty: &Type, met: &mut Vec<u32>| {
        rename(ty, &mut |index| {
            let class = class_of[index as usize];
            *number[class as usize].get_or_insert_with(|| {
                met.push(class);
                met.len() as u32 - 1
            })
        })
    };
    let root = meet(&schema.root, &mut met);
    let mut defs = Vec::new();
    while let Some(class) = met.get(defs.len()).copied() {
        defs.push(rename_def(&schema.defs[class as usize], &mut |ty| meet(ty, &mut met)));
    }
    Schema { root, defs }
}

/// For each definition the first one that means the same. Starts from the names and refines: two
/// differ if what they hold differs, until nothing changes.
fn classes(defs: &[Def]) -> Vec<u32> {
    let mut names = BTreeMap::new();
    let mut class_of: Vec<u32> =
        defs.iter().enumerate().map(|(i, def)| *names.entry(def.name.as_str()).or_insert(i as u32)).collect();
    let mut count = names.len();
    while count < defs.len() {
        let mut shapes = BTreeMap::new();
        let next = defs
            .iter()
            .enumerate()
            .map(|(i, def)| {
                let mut shape = Vec::new();
                codec::put_def(
                    &rename_def(def, &mut |ty| rename(ty, &mut |index| class_of[index as usize])),
                    &mut shape,
                );
                *shapes.entry(shape).or_insert(i as u32)
            })
            .collect();
        class_of = next;
        if shapes.len() == count {
            break;
        }
        count = shapes.len();
    }
    class_of
}

fn rename_def(def: &Def, rename: &mut impl FnMut(&Type) -> Type) -> Def {
    let Def { name, kind } = def;
    let kind = match kind {
        DefKind::Struct(fields) => DefKind::Struct(rename_fields(fields, rename)),
        DefKind::Enum(variants) => DefKind::Enum(
            variants
                .iter()
                .map(|Variant { name, fields }| Variant { name: name.clone(), fields: rename_fields(fields, rename) })
                .collect(),
        ),
    };
    Def { name: name.clone(), kind }
}

fn rename_fields(fields: &Fields, rename: &mut impl FnMut(&Type) -> Type) -> Fields {
    match fields {
        Fields::Unit => Fields::Unit,
        Fields::Tuple(elements) => Fields::Tuple(elements.iter().map(rename).collect()),
        Fields::Named(fields) => Fields::Named(
            fields
                .iter()
                .map(|Field { name, ty, default }| Field {
                    name: name.clone(),
                    ty: rename(ty),
                    default: default.clone(),
                })
                .collect(),
        ),
    }
}

/// The type with other numbers for the named ones in it.
fn rename(ty: &Type, number: &mut impl FnMut(u32) -> u32) -> Type {
    fn boxed(ty: &Type, number: &mut dyn FnMut(u32) -> u32) -> Box<Type> {
        Box::new(inner(ty, number))
    }
    fn inner(ty: &Type, number: &mut dyn FnMut(u32) -> u32) -> Type {
        match ty {
            Type::Named(index) => Type::Named(number(*index)),
            Type::Option(some) => Type::Option(boxed(some, number)),
            Type::Seq(item) => Type::Seq(boxed(item, number)),
            Type::Map(key, value) => {
                let key = boxed(key, number);
                Type::Map(key, boxed(value, number))
            }
            Type::Tuple(elements) => Type::Tuple(elements.iter().map(|e| inner(e, number)).collect()),
            Type::Array(item, length) => Type::Array(boxed(item, number), *length),
            Type::Opaque(Opaque::ReplyTo(answer)) => Type::Opaque(Opaque::ReplyTo(boxed(answer, number))),
            Type::Opaque(Opaque::Closure(environment)) => Type::Opaque(Opaque::Closure(boxed(environment, number))),
            Type::Opaque(Opaque::SendPort(item)) => Type::Opaque(Opaque::SendPort(boxed(item, number))),
            Type::Opaque(Opaque::ReceivePort(item)) => Type::Opaque(Opaque::ReceivePort(boxed(item, number))),
            plain => plain.clone(),
        }
    }
    inner(ty, number)
}
