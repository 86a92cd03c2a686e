//! A schema as people read it: like the Rust declarations that it came from.

use alloc::string::{String, ToString};
use core::fmt::{self, Display, Formatter, Write};

use super::{DefKind, Fields, Opaque, Schema, SchemaHash, Type};

impl Schema {
    /// The root type in a few words: `Tally`, `Option<i64>`, `(i64, String)`.
    pub fn name(&self) -> String {
        self.type_name(&self.root).to_string()
    }

    /// The name of one of its types.
    pub(crate) fn type_name<'a>(&'a self, ty: &'a Type) -> impl Display {
        TypeName { schema: self, ty }
    }
}

struct TypeName<'a> {
    schema: &'a Schema,
    ty: &'a Type,
}

impl Display for TypeName<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let inner = |ty| Self { schema: self.schema, ty };
        match self.ty {
            Type::Unit => f.write_str("()"),
            Type::Bool => f.write_str("bool"),
            Type::U8 => f.write_str("u8"),
            Type::I8 => f.write_str("i8"),
            Type::U16 => f.write_str("u16"),
            Type::U32 => f.write_str("u32"),
            Type::U64 => f.write_str("u64"),
            Type::U128 => f.write_str("u128"),
            Type::I16 => f.write_str("i16"),
            Type::I32 => f.write_str("i32"),
            Type::I64 => f.write_str("i64"),
            Type::I128 => f.write_str("i128"),
            Type::F32 => f.write_str("f32"),
            Type::F64 => f.write_str("f64"),
            Type::Char => f.write_str("char"),
            Type::String => f.write_str("String"),
            Type::Bytes => f.write_str("Vec<u8>"),
            Type::Option(some) => write!(f, "Option<{}>", inner(some)),
            Type::Seq(item) => write!(f, "Vec<{}>", inner(item)),
            Type::Map(key, value) => write!(f, "Map<{}, {}>", inner(key), inner(value)),
            Type::Tuple(elements) => {
                f.write_char('(')?;
                for (i, element) in elements.iter().enumerate() {
                    write!(f, "{}{}", if i > 0 { ", " } else { "" }, inner(element))?;
                }
                f.write_str(if elements.len() == 1 { ",)" } else { ")" })
            }
            Type::Array(item, length) => write!(f, "[{}; {length}]", inner(item)),
            Type::Named(index) => f.write_str(self.schema.def(*index).map_or("?", |def| &def.name)),
            Type::Opaque(Opaque::Pid) => f.write_str("Pid"),
            Type::Opaque(Opaque::Ref) => f.write_str("Ref"),
            Type::Opaque(Opaque::ReplyTo(answer)) => write!(f, "ReplyTo<{}>", inner(answer)),
            Type::Opaque(Opaque::Closure(environment)) => write!(f, "Closure<{}>", inner(environment)),
            Type::Opaque(Opaque::Continuation) => f.write_str("Continuation"),
            Type::Opaque(Opaque::SendPort(item)) => write!(f, "SendPort<{}>", inner(item)),
            Type::Opaque(Opaque::ReceivePort(item)) => write!(f, "ReceivePort<{}>", inner(item)),
        }
    }
}

/// The declarations of all its types, the root's first. `= ..` marks a field that has a default.
impl Display for Schema {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !matches!(self.root, Type::Named(_)) {
            f.write_str(&self.name())?;
            if !self.defs.is_empty() {
                f.write_str("\n\n")?;
            }
        }
        for (i, def) in self.defs.iter().enumerate() {
            if i > 0 {
                f.write_str("\n\n")?;
            }
            match &def.kind {
                DefKind::Struct(fields) => {
                    write!(f, "struct {}", def.name)?;
                    self.show_fields(fields, "", f)?;
                    if !matches!(fields, Fields::Named(_)) {
                        f.write_char(';')?;
                    }
                }
                DefKind::Enum(variants) if variants.is_empty() => write!(f, "enum {} {{}}", def.name)?,
                DefKind::Enum(variants) => {
                    writeln!(f, "enum {} {{", def.name)?;
                    for variant in variants {
                        write!(f, "    {}", variant.name)?;
                        self.show_fields(&variant.fields, "    ", f)?;
                        f.write_str(",\n")?;
                    }
                    f.write_char('}')?;
                }
            }
        }
        Ok(())
    }
}

impl Schema {
    fn show_fields(&self, fields: &Fields, indent: &str, f: &mut Formatter<'_>) -> fmt::Result {
        match fields {
            Fields::Unit => Ok(()),
            Fields::Tuple(elements) => {
                f.write_char('(')?;
                for (i, element) in elements.iter().enumerate() {
                    write!(f, "{}{}", if i > 0 { ", " } else { "" }, self.type_name(element))?;
                }
                f.write_char(')')
            }
            Fields::Named(fields) if fields.is_empty() => f.write_str(" {}"),
            Fields::Named(fields) => {
                f.write_str(" {\n")?;
                for field in fields {
                    let default = if field.default.is_some() { " = .." } else { "" };
                    writeln!(f, "{indent}    {}: {}{default},", field.name, self.type_name(&field.ty))?;
                }
                write!(f, "{indent}}}")
            }
        }
    }
}

impl Display for SchemaHash {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
