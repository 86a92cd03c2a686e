//! The seam between a program and what runs it: every host function as a plain Rust function.
//!
//! Nothing else in this crate knows the target. In a WebAssembly guest these are the imports of
//! [`neurath_proto::abi`]; natively they go to the host of the current thread, of which so far only
//! the one for tests exists ([`crate::testing`]).
//!
//! Invariant: no policy here. A function passes its arguments on and gives back what the host said.

#[cfg(not(target_family = "wasm"))]
pub(crate) mod native;
#[cfg(target_family = "wasm")]
mod wasm;

#[cfg(not(target_family = "wasm"))]
pub(crate) use native::*;
#[cfg(target_family = "wasm")]
pub(crate) use wasm::*;

use neurath_proto::schema::Schema;
use neurath_proto::{Data, Pid, Ref};

/// What this module calls a type: the function that describes it. In a guest that is an index into
/// the function table, so a tag costs nothing to make and is the same in every process of a module.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct TypeTag(Option<fn() -> Vec<u8>>);

impl TypeTag {
    /// No type: the tag 0 of the ABI.
    pub(crate) const NONE: Self = Self(None);

    /// The tag of `T`.
    pub const fn of<T: Data>() -> Self {
        Self(Some(describe::<T>))
    }

    /// The number that the host sees.
    pub(crate) fn raw(self) -> u32 {
        self.0.map_or(0, |describe| describe as usize as u32)
    }

    /// The encoded schema of the type.
    pub(crate) fn schema(self) -> Vec<u8> {
        self.0.map_or_else(Vec::new, |describe| describe())
    }

    /// Tells the host what the tag stands for.
    #[cold]
    #[inline(never)]
    pub(crate) fn declare(self) {
        declare(self, &self.schema());
    }
}

fn describe<T: Data>() -> Vec<u8> {
    Schema::of::<T>().encode()
}

/// What one `take` waits for.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) after_seq: u64,
    pub(crate) reference: Ref,
    pub(crate) timeout_ns: u64,
    pub(crate) flags: u32,
    pub(crate) tags: &'a [TypeTag],
}

/// How a process is started: what [`spawn`] needs of an entry.
#[derive(Clone, Copy)]
pub(crate) struct Startable {
    pub(crate) name: &'static str,
    /// Natively there are no exports to find an entry by.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) boot: native::Boot,
}

/// A new process and the ref of its monitor.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Spawned {
    pub(crate) pid: Pid,
    pub(crate) monitor: Ref,
}
