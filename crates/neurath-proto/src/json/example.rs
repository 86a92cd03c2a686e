//! Examples of values, for help texts.

use alloc::string::ToString;
use alloc::vec::Vec;

use serde_json::{Map, Value};

use super::{is_text_key, may_be_null, object};
use crate::id::Pid;
use crate::schema::{DefKind, Fields, Opaque, Schema, Type};

pub(super) fn of(schema: &Schema) -> Value {
    Examples { schema, effort_left: 4096, open: Vec::new() }.value(&schema.root)
}

struct Examples<'s> {
    schema: &'s Schema,
    effort_left: usize,
    /// The definitions that the present value lies in: what recursion must avoid.
    open: Vec<u32>,
}

impl Examples<'_> {
    fn value(&mut self, ty: &Type) -> Value {
        if self.effort_left == 0 || self.open.len() >= 32 {
            return Value::Null;
        }
        self.effort_left -= 1;
        match ty {
            Type::Unit => Value::Null,
            Type::Bool => false.into(),
            Type::U8
            | Type::I8
            | Type::U16
            | Type::U32
            | Type::U64
            | Type::I16
            | Type::I32
            | Type::I64
            | Type::Opaque(Opaque::Ref) => 0.into(),
            Type::U128 | Type::I128 => "0".into(),
            Type::F32 | Type::F64 => 0.0.into(),
            Type::Char => "x".into(),
            Type::String => "text".into(),
            Type::Bytes => object("base64", "".into()),
            Type::Option(some) => {
                if self.leads_back(some) {
                    return Value::Null;
                }
                let value = self.value(some);
                if may_be_null(self.schema, some, 0) { object("some", value) } else { value }
            }
            Type::Seq(item) if self.leads_back(item) => Value::Array(Vec::new()),
            Type::Seq(item) => Value::Array([self.value(item)].into()),
            Type::Map(key, value) if self.leads_back(key) || self.leads_back(value) => {
                if is_text_key(key) {
                    Value::Object(Map::new())
                } else {
                    Value::Array(Vec::new())
                }
            }
            Type::Map(key, value) => match (self.value(key), self.value(value)) {
                (Value::String(key_text), value) if is_text_key(key) => object(&key_text, value),
                (key, value) => Value::Array([Value::Array([key, value].into())].into()),
            },
            Type::Tuple(elements) => Value::Array(elements.iter().map(|element| self.value(element)).collect()),
            Type::Array(item, length) => {
                let shown = (*length as usize).min(self.effort_left);
                Value::Array((0..shown).map(|_| self.value(item)).collect())
            }
            Type::Named(index) => {
                let Some(def) = self.schema.def(*index) else { return Value::Null };
                self.open.push(*index);
                let value = match &def.kind {
                    DefKind::Struct(fields) => self.fields(fields),
                    DefKind::Enum(variants) => {
                        // One that does not lead back here, if there is one.
                        let ends = variants.iter().find(|variant| !self.fields_lead_back(&variant.fields));
                        match ends.or(variants.first()) {
                            None => Value::Null,
                            Some(variant) if variant.fields == Fields::Unit => variant.name.as_str().into(),
                            Some(variant) => object(&variant.name, self.fields(&variant.fields)),
                        }
                    }
                };
                self.open.pop();
                value
            }
            Type::Opaque(Opaque::Pid) => Pid::default().to_string().into(),
            Type::Opaque(Opaque::SendPort(_)) => {
                serde_json::json!({ "pid": Pid::default().to_string(), "ref": 0 })
            }
            Type::Opaque(_) => Value::Null,
        }
    }

    fn fields(&mut self, fields: &Fields) -> Value {
        match fields {
            Fields::Unit => Value::Null,
            Fields::Tuple(elements) => match elements.as_slice() {
                [only] => self.value(only),
                elements => Value::Array(elements.iter().map(|element| self.value(element)).collect()),
            },
            Fields::Named(fields) => {
                Value::Object(fields.iter().map(|field| (field.name.clone(), self.value(&field.ty))).collect())
            }
        }
    }

    fn leads_back(&self, ty: &Type) -> bool {
        match ty {
            Type::Named(index) => self.open.contains(index),
            Type::Option(_) | Type::Seq(_) | Type::Map(..) => false,
            Type::Array(item, _) => self.leads_back(item),
            Type::Tuple(elements) => elements.iter().any(|element| self.leads_back(element)),
            _ => false,
        }
    }

    fn fields_lead_back(&self, fields: &Fields) -> bool {
        match fields {
            Fields::Unit => false,
            Fields::Tuple(elements) => elements.iter().any(|element| self.leads_back(element)),
            Fields::Named(fields) => fields.iter().any(|field| self.leads_back(&field.ty)),
        }
    }
}
