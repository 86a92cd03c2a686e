//! The manifest of a module: what it offers, readable without running it.
//!
//! It lies in the custom section [`SECTION`]. Magic and ABI version come first and can be read alone,
//! so that a module of another version is refused by name.

use alloc::string::String;
use alloc::vec::Vec;

use crate::schema::Schema;

/// The name of the custom section.
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
