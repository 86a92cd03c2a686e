//! Plans: whether and how the state of one module version becomes the state of another, and what its messages lose.
//!
//! A plan is made from two manifests alone, before any process is touched.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use neurath_proto::manifest::{Converter, Entry, EntryKind, Manifest};
use neurath_proto::resolve::{Resolution, same_name};
use neurath_proto::schema::DefKind;
use neurath_proto::{Schema, Type};

/// How an old state becomes a new one.
#[derive(Clone, Debug)]
pub enum StateRoute {
    /// The bytes are taken over as they are.
    Same,
    /// Fields were added that have defaults, or integers widened.
    Resolve(Resolution),
    /// A function of the new version makes it.
    Convert {
        /// What must be done to the bytes before, if anything.
        input: Option<Resolution>,
        /// The converter's name.
        converter: String,
        /// What must be done to its result, if anything.
        output: Option<Resolution>,
    },
}

/// What comes of an entry when its module changes.
#[derive(Clone, Debug)]
pub struct EntryPlan {
    /// Its place in the new manifest.
    pub entry: u32,
    /// How its state gets there.
    pub route: StateRoute,
}

/// Plans the change of one entry from the `old` manifest's to the `new` one's entry of the same name.
///
/// `state` is the type of the state at hand: the old entry's, or what a process offers at `become_latest!`.
///
/// # Errors
/// In words for people: what does not meet, and what to do.
pub fn plan_entry(old: &Manifest, entry: &str, state: &Schema, new: &Manifest) -> Result<EntryPlan, String> {
    let target = format!("{}@{}", new.package, new.version);
    let Some((index, to)) = new.entries.iter().enumerate().find(|(_, e)| e.name == entry) else {
        let names: Vec<_> = new.entries.iter().map(|e| e.name.as_str()).collect();
        return Err(format!(
            "{target} has no entry `{entry}` (it has: {}); add it, or stop these processes first",
            names.join(", ")
        ));
    };
    let was = old.entries.iter().find(|e| e.name == entry);
    if let Some(was) = was
        && was.kind != to.kind
    {
        return Err(format!("`{entry}` is a {} and would become a {} in {target}", kind(was.kind), kind(to.kind)));
    }
    let route = route(entry, state, to, new)?;
    Ok(EntryPlan { entry: index as u32, route })
}

/// What others notice when the `old` entry becomes the `new` one: messages that they cannot send any more, answers that
/// they cannot read. One line in words for each; they forbid nothing, since whoever still sends such a message is told.
pub fn plan_messages(old: &Entry, new: &Entry) -> Vec<String> {
    let mut lost = Vec::new();
    let takes_all = new.accepts.is_empty() && new.kind == EntryKind::Process;
    if !takes_all {
        old.accepts.iter().for_each(|schema| not_taken(schema, &new.accepts, "", &mut lost));
    }
    for (was, is, class) in [(&old.call, &new.call, "call "), (&old.cast, &new.cast, "cast ")] {
        if let Some(schema) = was {
            not_taken(schema, is.as_slice(), class, &mut lost);
        }
    }
    if let (Some(was), Some(is)) = (&old.reply, &new.reply)
        && has_values(was)
        && has_values(is)
    {
        match Resolution::new(is, was) {
            Ok(resolution) => {
                let lines = resolution.partial().iter().map(|path| {
                    format!(
                        "the answer `{}` is new: callers that know only the old answers get an error",
                        variant(path)
                    )
                });
                lost.extend(lines);
            }
            Err(why) => lost.push(format!("callers that know only the old answers get an error: {why}")),
        }
    }
    lost
}

/// What of `schema` none of the readers takes.
fn not_taken(schema: &Schema, readers: &[Schema], class: &str, lost: &mut Vec<String>) {
    if !has_values(schema) || readers.contains(schema) {
        return;
    }
    let mut namesake = None;
    for reader in readers {
        match Resolution::new(schema, reader) {
            Ok(resolution) => {
                let line = |path: &String| format!("{class}`{}` is not taken any more", variant(path));
                lost.extend(resolution.partial().iter().map(line));
                return;
            }
            Err(why) if same_name(schema, reader) => namesake = Some(why),
            Err(_) => {}
        }
    }
    let why = namesake.map(|why| format!(" as it was: at {}: {}", why.path, why.message)).unwrap_or_default();
    lost.push(format!("{class}`{}` is not taken any more{why}", schema.name()));
}

/// A variant's path, as it is written in Rust where the enum is the whole message.
fn variant(path: &str) -> String {
    match path.split_once('.') {
        Some((name, variant)) if !variant.contains(['.', '[', '(']) => format!("{name}::{variant}"),
        _ => path.to_string(),
    }
}

/// A server without calls, or without casts, takes an enum without variants.
fn has_values(schema: &Schema) -> bool {
    let Type::Named(index) = &schema.root else { return true };
    !matches!(schema.defs.get(*index as usize).map(|def| &def.kind), Some(DefKind::Enum(none)) if none.is_empty())
}

fn kind(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::Process => "process",
        EntryKind::Server => "server",
        EntryKind::Function => "function",
    }
}

fn route(entry: &str, state: &Schema, to: &Entry, new: &Manifest) -> Result<StateRoute, String> {
    // A converter that takes exactly this state comes first: its author meant it.
    let serves = |c: &&Converter| match &c.entry {
        Some(name) => name == entry,
        None => c.to == to.state,
    };
    let candidates = || new.converters.iter().filter(serves);
    let exact = candidates().find(|c| c.from == *state && c.from != c.to);
    if let Some(converter) = exact {
        return Ok(StateRoute::Convert {
            input: None,
            converter: converter.name.clone(),
            output: output(converter, to)?,
        });
    }
    let straight = Resolution::for_state(state, &to.state);
    if let Ok(resolution) = straight {
        return Ok(if resolution.is_identity() { StateRoute::Same } else { StateRoute::Resolve(resolution) });
    }
    for converter in candidates() {
        if let Ok(resolution) = Resolution::for_state(state, &converter.from) {
            let input = if resolution.is_identity() { None } else { Some(resolution) };
            return Ok(StateRoute::Convert {
                input,
                converter: converter.name.clone(),
                output: output(converter, to)?,
            });
        }
    }
    let why = match straight {
        Err(mismatch) => mismatch.to_string(),
        Ok(_) => String::new(),
    };
    Err(format!(
        "the state of `{entry}` cannot be taken over by {}@{}: {why}; write a `#[neurath::converter]` from the old state, or give new fields `#[neurath(default)]`",
        new.package, new.version
    ))
}

fn output(converter: &Converter, to: &Entry) -> Result<Option<Resolution>, String> {
    if converter.to == to.state {
        return Ok(None);
    }
    match Resolution::for_state(&converter.to, &to.state) {
        Ok(resolution) if resolution.is_identity() => Ok(None),
        Ok(resolution) => Ok(Some(resolution)),
        Err(mismatch) => Err(format!(
            "converter `{}` makes `{}`, but `{}` wants another state: {mismatch}",
            converter.name,
            converter.to.name(),
            to.name
        )),
    }
}
