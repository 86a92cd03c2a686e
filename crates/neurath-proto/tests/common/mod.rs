//! What the tests of schemas share: schemas written like Rust, random schemas and values of them.
#![allow(dead_code, clippy::disallowed_methods, reason = "each test uses a part; the seed comes from outside")]

use neurath_proto::data::encode;
use neurath_proto::schema::{Def, DefKind, Field, Fields, Opaque, Schema, Type, Variant};
use neurath_proto::{Incarnation, NodeId, Pid, Ref, Serial};

/// Runs `property` with many seeds; `NEURATH_SEED=n` replays one.
pub fn seeds(count: u64, property: impl Fn(&mut Random)) {
    if let Ok(seed) = std::env::var("NEURATH_SEED") {
        return property(&mut Random::new(seed.parse().expect("NEURATH_SEED is a number")));
    }
    for seed in 0..count {
        let run = std::panic::AssertUnwindSafe(|| property(&mut Random::new(seed)));
        if let Err(panic) = std::panic::catch_unwind(run) {
            eprintln!("replay with: NEURATH_SEED={seed} cargo test -p neurath-proto --all-features");
            std::panic::resume_unwind(panic);
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
pub struct Random {
    state: u64,
    /// Bounds the search for a value of a type that may have none.
    effort_left: usize,
}

impl Random {
    pub fn new(seed: u64) -> Self {
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), effort_left: 0 }
    }

    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    /// Small and large numbers alike.
    pub fn number(&mut self) -> u64 {
        self.next() >> self.below(64)
    }

    pub fn bytes(&mut self, end: usize) -> Vec<u8> {
        (0..self.below(end)).map(|_| self.next() as u8).collect()
    }

    pub fn text(&mut self) -> String {
        (0..self.below(6)).map(|_| ['a', 'ß', '€', '\u{1f980}', '"', '\\', '\n'][self.below(7)]).collect()
    }

    pub fn pid(&mut self) -> Pid {
        Pid::new(NodeId(self.next()), Incarnation(self.number() as u32), Serial(self.number()))
    }

    /// `bytes`, somewhat damaged.
    pub fn damaged(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(3) {
            match self.below(4) {
                0 => bytes.truncate(self.below(bytes.len() + 1)),
                1 if !bytes.is_empty() => {
                    let at = self.below(bytes.len());
                    bytes[at] ^= 1 << self.below(8);
                }
                2 if !bytes.is_empty() => {
                    let at = self.below(bytes.len());
                    bytes[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)];
                }
                _ => bytes.insert(self.below(bytes.len() + 1), self.next() as u8),
            }
        }
        bytes
    }
}

/// A schema written like Rust: declarations, of which the first is the root, or a type and then
/// `where` and declarations. `x: u8 = 2a` has the default of these bytes.
pub fn schema(text: &str) -> Schema {
    let mut words = String::new();
    for c in text.chars() {
        if c.is_alphanumeric() || c == '_' {
            words.push(c);
        } else {
            words.push(' ');
            words.push(c);
            words.push(' ');
        }
    }
    let words: Vec<&str> = words.split_whitespace().collect();
    let names: Vec<&str> =
        words.windows(2).filter(|pair| matches!(pair[0], "struct" | "enum")).map(|pair| pair[1]).collect();
    let mut parser = Parser { words: &words, names: &names };
    let root = if matches!(words[0], "struct" | "enum") {
        Type::Named(0)
    } else {
        let root = parser.ty();
        parser.eat("where");
        root
    };
    let mut defs = Vec::new();
    while !parser.words.is_empty() {
        defs.push(parser.def());
    }
    // Through the codec: that makes it canonical.
    Schema::decode(&Schema { root, defs }.encode()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

struct Parser<'t> {
    words: &'t [&'t str],
    names: &'t [&'t str],
}

impl<'t> Parser<'t> {
    fn next(&mut self) -> &'t str {
        let (first, rest) = self.words.split_first().expect("the schema's text ends too early");
        self.words = rest;
        first
    }

    fn eat(&mut self, word: &str) -> bool {
        let found = self.words.first() == Some(&word);
        if found {
            self.next();
        }
        found
    }

    fn list<T>(&mut self, end: &str, mut item: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let mut items = Vec::new();
        while !self.eat(end) {
            items.push(item(self));
            self.eat(",");
        }
        items
    }

    fn def(&mut self) -> Def {
        let keyword = self.next();
        let name = self.next().into();
        let kind = match keyword {
            "struct" => DefKind::Struct(self.fields()),
            "enum" => {
                assert!(self.eat("{"));
                DefKind::Enum(self.list("}", |p| Variant { name: p.next().into(), fields: p.fields() }))
            }
            other => panic!("neither struct nor enum: {other}"),
        };
        self.eat(";");
        Def { name, kind }
    }

    fn fields(&mut self) -> Fields {
        if self.eat("(") {
            Fields::Tuple(self.list(")", Self::ty))
        } else if self.eat("{") {
            Fields::Named(self.list("}", |p| {
                let name = p.next().into();
                assert!(p.eat(":"));
                let ty = p.ty();
                let default = p.eat("=").then(|| {
                    let hex = p.next();
                    (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect()
                });
                Field { name, ty, default }
            }))
        } else {
            Fields::Unit
        }
    }

    fn ty(&mut self) -> Type {
        if self.eat("(") {
            let elements = self.list(")", Self::ty);
            return if elements.is_empty() { Type::Unit } else { Type::Tuple(elements) };
        }
        if self.eat("[") {
            let item = self.ty();
            assert!(self.eat(";"));
            let length = self.next().parse().unwrap();
            assert!(self.eat("]"));
            return Type::Array(Box::new(item), length);
        }
        let name = self.next();
        let arguments = if self.eat("<") { self.list(">", Self::ty) } else { Vec::new() };
        let mut arguments = arguments.into_iter().map(Box::new);
        let mut argument = || arguments.next().expect("a type needs an argument");
        match name {
            "bool" => Type::Bool,
            "u8" => Type::U8,
            "i8" => Type::I8,
            "u16" => Type::U16,
            "u32" => Type::U32,
            "u64" => Type::U64,
            "u128" => Type::U128,
            "i16" => Type::I16,
            "i32" => Type::I32,
            "i64" => Type::I64,
            "i128" => Type::I128,
            "f32" => Type::F32,
            "f64" => Type::F64,
            "char" => Type::Char,
            "String" => Type::String,
            "Bytes" => Type::Bytes,
            "Option" => Type::Option(argument()),
            "Vec" => Type::Seq(argument()),
            "Map" => Type::Map(argument(), argument()),
            "Pid" => Type::Opaque(Opaque::Pid),
            "Ref" => Type::Opaque(Opaque::Ref),
            "ReplyTo" => Type::Opaque(Opaque::ReplyTo(argument())),
            "SendPort" => Type::Opaque(Opaque::SendPort(argument())),
            other => match self.names.iter().position(|known| *known == other) {
                Some(index) => Type::Named(index as u32),
                None => panic!("no type `{other}`"),
            },
        }
    }
}

const LEAVES: &[Type] = &[
    Type::Unit,
    Type::Bool,
    Type::U8,
    Type::I8,
    Type::U16,
    Type::U32,
    Type::U64,
    Type::U128,
    Type::I16,
    Type::I32,
    Type::I64,
    Type::I128,
    Type::F32,
    Type::F64,
    Type::Char,
    Type::String,
    Type::Bytes,
    Type::Opaque(Opaque::Pid),
    Type::Opaque(Opaque::Ref),
];

/// A schema with a few types, recursive ones among them. It may have types without any finite value.
pub fn random_schema(random: &mut Random) -> Schema {
    let count = 1 + random.below(4);
    let defs: Vec<Def> = (0..count)
        .map(|i| Def {
            name: format!("T{i}"),
            kind: if random.one_in(2) {
                DefKind::Struct(random_fields(random, count))
            } else {
                let variants = (0..1 + random.below(4))
                    .map(|i| Variant { name: format!("V{i}"), fields: random_fields(random, count) })
                    .collect();
                DefKind::Enum(variants)
            },
        })
        .collect();
    let root = if random.one_in(3) { random_type(random, count, 0) } else { Type::Named(0) };
    let mut schema = Schema { root, defs };
    add_defaults(random, &mut schema);
    Schema::decode(&schema.encode()).expect("a random schema is a good one")
}

fn random_fields(random: &mut Random, defs: usize) -> Fields {
    let count = random.below(4);
    match random.below(4) {
        0 => Fields::Unit,
        1 => Fields::Tuple((0..count).map(|_| random_type(random, defs, 0)).collect()),
        _ => Fields::Named(
            (0..count)
                .map(|i| Field { name: format!("f{i}"), ty: random_type(random, defs, 0), default: None })
                .collect(),
        ),
    }
}

fn random_type(random: &mut Random, defs: usize, depth: usize) -> Type {
    if depth > 3 || random.one_in(2) {
        return LEAVES[random.below(LEAVES.len())].clone();
    }
    let inner = |random: &mut Random| Box::new(random_type(random, defs, depth + 1));
    match random.below(8) {
        0 => Type::Option(inner(random)),
        1 => Type::Seq(inner(random)),
        2 => Type::Map(inner(random), inner(random)),
        3 => Type::Tuple((0..1 + random.below(3)).map(|_| *inner(random)).collect()),
        4 => Type::Array(inner(random), random.below(4) as u32),
        5 if random.below(2) == 0 => Type::Opaque(Opaque::ReplyTo(inner(random))),
        5 => Type::Opaque(Opaque::SendPort(inner(random))),
        _ => Type::Named(random.below(defs) as u32),
    }
}

/// Gives some fields a default, where their type has values.
fn add_defaults(random: &mut Random, schema: &mut Schema) {
    let whole = schema.clone();
    for def in &mut schema.defs {
        let all: Vec<&mut Fields> = match &mut def.kind {
            DefKind::Struct(fields) => vec![fields],
            DefKind::Enum(variants) => variants.iter_mut().map(|variant| &mut variant.fields).collect(),
        };
        for fields in all {
            let Fields::Named(fields) = fields else { continue };
            for field in fields {
                if random.one_in(2) {
                    let mut out = Vec::new();
                    random.effort_left = 100;
                    if put_value(random, &whole, &field.ty, &mut out, 24).is_some() && out.len() < 64 {
                        field.default = Some(out);
                    }
                }
            }
        }
    }
}

/// A random value of the schema, if one is found.
pub fn random_value(random: &mut Random, schema: &Schema) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    random.effort_left = 1000;
    put_value(random, schema, &schema.root, &mut out, 32)?;
    Some(out)
}

fn put_value(random: &mut Random, schema: &Schema, ty: &Type, out: &mut Vec<u8>, fuel: usize) -> Option<()> {
    let fuel = fuel.checked_sub(1)?;
    random.effort_left = random.effort_left.checked_sub(1)?;
    let length = |random: &mut Random| if fuel < 24 { 0 } else { random.below(4) };
    let number = random.number();
    match ty {
        Type::Unit => {}
        Type::Bool => out.push(random.below(2) as u8),
        Type::U8 | Type::I8 => out.push(number as u8),
        Type::U16 => out.extend(encode(&(number as u16))),
        Type::U32 => out.extend(encode(&(number as u32))),
        Type::U64 => out.extend(encode(&number)),
        Type::U128 => {
            out.extend(encode(&((u128::from(number) << 64 | u128::from(random.next())) >> random.below(128))))
        }
        Type::I16 => out.extend(encode(&(number as i16))),
        Type::I32 => out.extend(encode(&(number as i32))),
        Type::I64 => out.extend(encode(&(number as i64))),
        Type::I128 => out.extend(encode(&(i128::from(number as i64) << random.below(64)))),
        Type::F32 => {
            let special = [0.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MIN_POSITIVE, 0.1, f32::MAX];
            out.extend(encode(&special[random.below(special.len())]));
        }
        Type::F64 => {
            let special = [0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE, 0.1, f64::MAX];
            out.extend(encode(&special[random.below(special.len())]));
        }
        Type::Char => out.extend(encode(&['x', 'ß', '\u{1f980}', '\0'][random.below(4)])),
        Type::String => out.extend(encode(&random.text())),
        Type::Bytes => out.extend(encode(&random.bytes(5))),
        Type::Option(some) => {
            if length(random) == 0 {
                out.push(0);
            } else {
                out.push(1);
                put_value(random, schema, some, out, fuel)?;
            }
        }
        Type::Seq(item) => {
            let length = length(random);
            out.push(length as u8);
            for _ in 0..length {
                put_value(random, schema, item, out, fuel)?;
            }
        }
        Type::Map(key, value) => {
            // At most one pair: keys must differ for JSON to have the same form.
            let length = length(random).min(1);
            out.push(length as u8);
            for _ in 0..length {
                put_value(random, schema, key, out, fuel)?;
                put_value(random, schema, value, out, fuel)?;
            }
        }
        Type::Tuple(elements) => {
            for element in elements {
                put_value(random, schema, element, out, fuel)?;
            }
        }
        Type::Array(item, length) => {
            for _ in 0..*length {
                put_value(random, schema, item, out, fuel)?;
            }
        }
        Type::Named(index) => match &schema.defs[*index as usize].kind {
            DefKind::Struct(fields) => put_fields(random, schema, fields, out, fuel)?,
            DefKind::Enum(variants) => {
                let start = out.len();
                // Deep down any variant that ends will do.
                let first = random.below(variants.len());
                let ended = (0..variants.len()).any(|i| {
                    let index = (first + i) % variants.len();
                    out.truncate(start);
                    out.push(index as u8);
                    (i == 0 || fuel < 24) && put_fields(random, schema, &variants[index].fields, out, fuel).is_some()
                });
                if !ended {
                    return None;
                }
            }
        },
        Type::Opaque(Opaque::Pid) => out.extend(encode(&random.pid())),
        Type::Opaque(Opaque::Ref) => out.extend(encode(&Ref(number))),
        Type::Opaque(Opaque::ReplyTo(_) | Opaque::SendPort(_)) => out.extend(encode(&(random.pid(), Ref(number)))),
        Type::Opaque(_) => return None,
    }
    Some(())
}

fn put_fields(random: &mut Random, schema: &Schema, fields: &Fields, out: &mut Vec<u8>, fuel: usize) -> Option<()> {
    match fields {
        Fields::Unit => {}
        Fields::Tuple(elements) => {
            for element in elements {
                put_value(random, schema, element, out, fuel)?;
            }
        }
        Fields::Named(fields) => {
            for field in fields {
                put_value(random, schema, &field.ty, out, fuel)?;
            }
        }
    }
    Some(())
}

/// The next version of a schema: variants and fields change places, fields with a default come, integers
/// grow, values become optional. Everything it does is allowed.
pub fn evolved(random: &mut Random, schema: &Schema) -> Schema {
    let Schema { root, defs } = schema.clone();
    let mut next = Schema { root, defs };
    for def in &mut next.defs {
        match &mut def.kind {
            DefKind::Struct(fields) => evolve_fields(random, fields),
            DefKind::Enum(variants) => {
                if random.one_in(2) {
                    variants.insert(0, Variant { name: "New".into(), fields: Fields::Tuple(vec![Type::U64]) });
                }
                let by = random.below(variants.len());
                variants.rotate_left(by);
                variants.iter_mut().for_each(|variant| evolve_fields(random, &mut variant.fields));
            }
        }
    }
    // Defaults were values of the old types; those of fields that stay are not needed.
    for def in &mut next.defs {
        let all: Vec<&mut Fields> = match &mut def.kind {
            DefKind::Struct(fields) => vec![fields],
            DefKind::Enum(variants) => variants.iter_mut().map(|variant| &mut variant.fields).collect(),
        };
        for fields in all {
            let Fields::Named(fields) = fields else { continue };
            fields.iter_mut().filter(|field| field.name != "new").for_each(|field| field.default = None);
        }
    }
    Schema::decode(&next.encode()).expect("an evolved schema is a good one")
}

fn evolve_fields(random: &mut Random, fields: &mut Fields) {
    match fields {
        Fields::Unit => {
            if random.one_in(3) {
                *fields = Fields::Named(vec![Field { name: "new".into(), ty: Type::U8, default: Some(vec![7]) }]);
            }
        }
        Fields::Tuple(elements) => elements.iter_mut().for_each(|element| evolve_type(random, element)),
        Fields::Named(fields) => {
            fields.iter_mut().for_each(|field| evolve_type(random, &mut field.ty));
            if random.one_in(2) {
                fields.push(Field { name: "new".into(), ty: Type::String, default: Some(vec![1, b'x']) });
            }
            if !fields.is_empty() {
                let by = random.below(fields.len());
                fields.rotate_left(by);
            }
        }
    }
}

fn evolve_type(random: &mut Random, ty: &mut Type) {
    match ty {
        Type::U8 => *ty = [Type::U8, Type::U16, Type::I16, Type::I128, Type::U128][random.below(5)].clone(),
        Type::I8 => *ty = [Type::I8, Type::I16, Type::I64][random.below(3)].clone(),
        Type::U16 => *ty = [Type::U16, Type::U32, Type::I32][random.below(3)].clone(),
        Type::U64 => *ty = [Type::U64, Type::U128, Type::I128][random.below(3)].clone(),
        Type::I32 => *ty = [Type::I32, Type::I64][random.below(2)].clone(),
        Type::F32 => *ty = [Type::F32, Type::F64][random.below(2)].clone(),
        Type::String if random.one_in(2) => *ty = Type::Option(Box::new(Type::String)),
        Type::Option(inner) | Type::Seq(inner) | Type::Array(inner, _) => evolve_type(random, inner),
        _ => {}
    }
}
