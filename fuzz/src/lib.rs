//! What is done with hostile bytes, one target for each decoder.
//!
//! It knows no engine: a target is a function of bytes that panics when a promise is not kept. The promises: no panic, no
//! allocation that the bytes chose, and what was read is written and read again the same.

mod data;
mod membership;
mod session;
mod signal;

/// A decoder with what is promised of it.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name on the command line, and of the directory of its corpus.
    pub name: &'static str,
    /// Gives it bytes.
    pub run: fn(&[u8]),
    /// Good bytes to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "frame", run: session::frames, seeds: session::frame_seeds },
    Target { name: "session", run: session::session, seeds: session::session_seeds },
    Target { name: "membership", run: membership::run, seeds: membership::seeds },
    Target { name: "signal", run: signal::run, seeds: signal::seeds },
    Target { name: "schema", run: data::schema, seeds: data::schema_seeds },
    Target { name: "manifest", run: data::manifest, seeds: data::manifest_seeds },
    Target { name: "value", run: data::value, seeds: data::value_seeds },
    Target { name: "resolve", run: data::resolve, seeds: data::resolve_seeds },
    Target { name: "json", run: data::json, seeds: data::json_seeds },
];

/// The first piece of `bytes`, which begin with its length in two bytes, and the rest.
fn piece(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let length = usize::from(u16::from_le_bytes(*length));
    Some(rest.split_at_checked(length).unwrap_or((rest, &[])))
}

/// Pieces as [`piece`] reads them.
fn pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in pieces {
        let length = u16::try_from(piece.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(piece);
    }
    out
}
