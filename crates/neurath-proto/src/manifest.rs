//! The manifest of a module: what it offers, readable without running it.
//!
//! It lies in the custom section [`SECTION`]. Magic and ABI version come first and can be read alone,
//! so that a module of another version is refused by name.

use alloc::string::String;
use alloc::vec::Vec;

use core::fmt;

use crate::abi::ABI_VERSION;
use crate::data::{Data, DecodeError, DecodeFault, Reader, decode, encode};
use crate::schema::{Schema, SchemaBuilder, Type};

/// The name of the custom section. A checksum stands behind the manifest: 32 bytes of BLAKE3 of the module without the
/// section, followed by the manifest's bytes.
pub const SECTION: &str = "neurath";

/// The first bytes of the section; the ABI version follows as a little-endian `u32`.
pub const MAGIC: [u8; 4] = *b"NRTH";

/// A manifest may have this many bytes.
pub const MANIFEST_MAX: usize = 1 << 20;

/// What a module offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The crate's name: the module's name.
    pub package: String,
    /// Its semantic version.
    pub version: String,
    /// The version of the SDK that it was built with.
    pub sdk: String,
    /// What can be started, by name.
    pub entries: Vec<Entry>,
    /// How old states become new ones.
    pub converters: Vec<Converter>,
}

/// What kind of entry it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A plain process: a function that decides itself when it changes its code.
    Process,
    /// A server: changed between any two messages.
    Server,
    /// A function that can be run elsewhere.
    Function,
}

/// Something that can be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name within the module; `neurath:start:NAME` starts it.
    pub name: String,
    /// The defining crate's path of it, as in `package@version#path`.
    pub path: String,
    /// What kind it is.
    pub kind: EntryKind,
    /// The arguments, as a tuple with one element for each.
    pub arguments: Schema,
    /// The names of the arguments.
    pub argument_names: Vec<String>,
    /// What survives an upgrade: a server's struct; for a plain process its arguments, and then equal
    /// to `arguments`.
    pub state: Schema,
    /// The messages that it takes; empty if it declares none, and then anything is let in.
    pub accepts: Vec<Schema>,
    /// A server's requests that want an answer.
    pub call: Option<Schema>,
    /// A server's answers.
    pub reply: Option<Schema>,
    /// A server's requests that want none.
    pub cast: Option<Schema>,
}

/// A function from an old state to a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converter {
    /// The name within the module; `neurath:convert:NAME` runs it.
    pub name: String,
    /// The entry that it serves, if it names one; otherwise every entry whose state is `to`.
    pub entry: Option<String>,
    /// What it takes.
    pub from: Schema,
    /// What it makes.
    pub to: Schema,
}

/// Why bytes are not the manifest of a module that this runtime can run. Nothing else happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestError {
    /// They do not begin with [`MAGIC`] and a version.
    NotASection,
    /// The module was built for another version of the guest ABI: build it with a fitting SDK.
    WrongAbi {
        /// The module's.
        found: u32,
        /// The only one that is known here.
        supported: u32,
    },
    /// They begin rightly, but are no manifest.
    Damaged(DecodeError),
    /// There are more than [`MANIFEST_MAX`].
    TooLarge {
        /// How many there are.
        bytes: usize,
    },
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotASection => f.write_str("this is not a manifest: was the module built with `neurath build`?"),
            Self::WrongAbi { found, supported } => {
                write!(f, "the module speaks version {found} of the guest ABI, this node version {supported}")
            }
            Self::Damaged(error) => write!(f, "the manifest is damaged: {error}"),
            Self::TooLarge { bytes } => {
                write!(f, "a manifest of {bytes} bytes is over the limit of {MANIFEST_MAX}")
            }
        }
    }
}

impl core::error::Error for ManifestError {}

impl Manifest {
    /// The content of the section.
    pub fn to_section(&self) -> Vec<u8> {
        let Self { package, version, sdk, entries, converters } = self;
        let mut out = Vec::new();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&ABI_VERSION.to_le_bytes());
        for text in [package, version, sdk] {
            text.encode(&mut out);
        }
        entries.encode(&mut out);
        converters.encode(&mut out);
        out
    }

    /// The manifest in the content of a section.
    ///
    /// # Errors
    /// It is none, or one of another ABI.
    pub fn from_section(bytes: &[u8]) -> Result<Self, ManifestError> {
        let mut reader = Self::check_head(bytes)?;
        if bytes.len() > MANIFEST_MAX {
            return Err(ManifestError::TooLarge { bytes: bytes.len() });
        }
        let manifest = Self::read(&mut reader).map_err(ManifestError::Damaged)?;
        reader.finish().map_err(ManifestError::Damaged)?;
        Ok(manifest)
    }

    /// Whether a section begins as one of this ABI does; what comes after that.
    ///
    /// # Errors
    /// It does not.
    pub fn check_head(bytes: &[u8]) -> Result<Reader<'_>, ManifestError> {
        let not_a_section = |_| ManifestError::NotASection;
        let mut reader = Reader::new(bytes);
        if reader.array().map_err(not_a_section)? != MAGIC {
            return Err(ManifestError::NotASection);
        }
        let found = u32::from_le_bytes(reader.array().map_err(not_a_section)?);
        if found != ABI_VERSION {
            return Err(ManifestError::WrongAbi { found, supported: ABI_VERSION });
        }
        Ok(reader)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            package: Data::decode(reader)?,
            version: Data::decode(reader)?,
            sdk: Data::decode(reader)?,
            entries: Data::decode(reader)?,
            converters: Data::decode(reader)?,
        })
    }

    /// The entry of this name, if there is one.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }
}

impl Entry {
    /// What `neurath:describe:entry:NAME` returns.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// The entry that `neurath:describe:entry:NAME` returned.
    ///
    /// # Errors
    /// The bytes are no entry, or too many.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ManifestError> {
        part(bytes)
    }
}

impl Converter {
    /// What `neurath:describe:converter:NAME` returns.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// The converter that `neurath:describe:converter:NAME` returned.
    ///
    /// # Errors
    /// The bytes are no converter, or too many.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ManifestError> {
        part(bytes)
    }
}

fn part<T: Data>(bytes: &[u8]) -> Result<T, ManifestError> {
    if bytes.len() > MANIFEST_MAX {
        return Err(ManifestError::TooLarge { bytes: bytes.len() });
    }
    decode(bytes).map_err(ManifestError::Damaged)
}

impl Data for EntryKind {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(match self {
            Self::Process => 0,
            Self::Server => 1,
            Self::Function => 2,
        });
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u32::decode(reader)? {
            0 => Ok(Self::Process),
            1 => Ok(Self::Server),
            2 => Ok(Self::Function),
            other => Err(reader.bad_variant("EntryKind", other)),
        }
    }

    fn schema(builder: &mut SchemaBuilder) -> Type {
        builder.enumeration::<Self>("EntryKind", |variants| {
            for name in ["Process", "Server", "Function"] {
                variants.unit(name);
            }
        })
    }
}

impl Data for Entry {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self { name, path, kind, arguments, argument_names, state, accepts, call, reply, cast } = self;
        name.encode(out);
        path.encode(out);
        kind.encode(out);
        Data::encode(arguments, out);
        argument_names.encode(out);
        Data::encode(state, out);
        accepts.encode(out);
        for schema in [call, reply, cast] {
            schema.encode(out);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let entry = Self {
            name: export_name(reader)?,
            path: Data::decode(reader)?,
            kind: Data::decode(reader)?,
            arguments: Data::decode(reader)?,
            argument_names: Data::decode(reader)?,
            state: Data::decode(reader)?,
            accepts: Data::decode(reader)?,
            call: Data::decode(reader)?,
            reply: Data::decode(reader)?,
            cast: Data::decode(reader)?,
        };
        match &entry.arguments.root {
            Type::Tuple(elements) if elements.len() == entry.argument_names.len() => Ok(entry),
            Type::Unit if entry.argument_names.is_empty() => Ok(entry),
            _ => {
                Err(reader
                    .fault(DecodeFault::Invalid("an entry's arguments are not a tuple of as many as their names")))
            }
        }
    }

    fn schema(builder: &mut SchemaBuilder) -> Type {
        builder.structure::<Self>("Entry", |fields| {
            fields.field::<String>("name");
            fields.field::<String>("path");
            fields.field::<EntryKind>("kind");
            fields.field::<Schema>("arguments");
            fields.field::<Vec<String>>("argument_names");
            fields.field::<Schema>("state");
            fields.field::<Vec<Schema>>("accepts");
            fields.field::<Option<Schema>>("call");
            fields.field::<Option<Schema>>("reply");
            fields.field::<Option<Schema>>("cast");
        })
    }
}

impl Data for Converter {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self { name, entry, from, to } = self;
        name.encode(out);
        entry.encode(out);
        Data::encode(from, out);
        Data::encode(to, out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            name: export_name(reader)?,
            entry: Data::decode(reader)?,
            from: Data::decode(reader)?,
            to: Data::decode(reader)?,
        })
    }

    fn schema(builder: &mut SchemaBuilder) -> Type {
        builder.structure::<Self>("Converter", |fields| {
            fields.field::<String>("name");
            fields.field::<Option<String>>("entry");
            fields.field::<Schema>("from");
            fields.field::<Schema>("to");
        })
    }
}

/// A name that stands in an export's name and on terminals.
fn export_name(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    let name = reader.str()?;
    if name.is_empty() || name.len() > 256 || name.chars().any(char::is_control) {
        return Err(reader.fault(DecodeFault::Invalid("a name is empty, too long, or holds a control character")));
    }
    Ok(name.into())
}
