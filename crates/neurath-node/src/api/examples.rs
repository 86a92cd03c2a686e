//! Values that show a type's form in JSON: for errors and for `info`.

use neurath_proto::json::example;
use neurath_proto::schema::{DefKind, Schema, Type};
use serde_json::Value;

/// Examples of one type at most.
const EXAMPLES_MAX: usize = 16;

/// One value of a type; of an enum, one for each of its first variants.
pub(super) fn examples(schema: &Schema) -> Vec<Value> {
    let variants = match root_variants(schema) {
        Some(variants) => variants.min(EXAMPLES_MAX),
        None => return vec![example(schema)],
    };
    (0..variants).map(|variant| example(&only(schema, variant))).collect()
}

fn root_variants(schema: &Schema) -> Option<usize> {
    let Type::Named(root) = schema.root else { return None };
    match &schema.defs.get(root as usize)?.kind {
        DefKind::Enum(variants) => Some(variants.len()),
        DefKind::Struct(_) => None,
    }
}

/// The schema with a root that has only this variant. It is for showing: its bytes would not fit.
fn only(schema: &Schema, variant: usize) -> Schema {
    let mut schema = schema.clone();
    if let Type::Named(root) = schema.root
        && let Some(def) = schema.defs.get(root as usize)
    {
        let mut def = def.clone();
        if let DefKind::Enum(variants) = &mut def.kind {
            *variants = variants.drain(..).skip(variant).take(1).collect();
        }
        // Where the type contains itself, all its variants are still wanted.
        schema.root = Type::Named(schema.defs.len() as u32);
        schema.defs.push(def);
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use neurath_proto::schema::{Def, Fields, Variant};

    #[test]
    fn every_variant_of_an_enum_has_an_example() {
        let variant = |name: &str, fields| Variant { name: name.into(), fields };
        let list = vec![variant("Nil", Fields::Unit), variant("Cons", Fields::Tuple(vec![Type::I64, Type::Named(0)]))];
        let schema =
            Schema { root: Type::Named(0), defs: vec![Def { name: "List".into(), kind: DefKind::Enum(list) }] };
        assert_eq!(examples(&schema), [serde_json::json!("Nil"), serde_json::json!({"Cons": [0, "Nil"]})]);
    }

    #[test]
    fn a_plain_type_has_one() {
        assert_eq!(examples(&Schema { root: Type::Bool, defs: Vec::new() }).len(), 1);
    }
}
