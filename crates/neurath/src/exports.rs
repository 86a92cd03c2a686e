//! What a module exports, apart from the names of its entries; and the glue under those.
//!
//! Invariant: bytes from the host lie in the inbox, because `neurath_alloc` gives nothing else; bytes for
//! the host stay valid until the next export is called.

use neurath_proto::abi::{PollStatus, StartMode};

use crate::entry::Entry;
use crate::{executor, sys};

/// Runs once, before the initial image is taken: what it does, no process has to do.
#[used]
#[unsafe(link_section = ".init_array")]
static PREPARE: extern "C" fn() = prepare;

extern "C" fn prepare() {
    std::panic::set_hook(Box::new(|info| {
        let message = info.payload_as_str().unwrap_or("a panic whose message is no string");
        let (file, line, column) =
            info.location().map_or(("", 0, 0), |location| (location.file(), location.line(), location.column()));
        sys::panicked(message, file, line, column);
    }));
    // The heap's first growth belongs to the image as well.
    drop(std::hint::black_box(Vec::<u8>::with_capacity(4096)));
}

#[unsafe(no_mangle)]
extern "C" fn neurath_alloc(len: usize) -> *mut u8 {
    executor::with_inbox(|inbox| inbox.reserve(len).as_mut_ptr())
}

#[unsafe(no_mangle)]
extern "C" fn neurath_poll(receive: u64) -> u32 {
    executor::with(|executor| executor.poll(receive)) as u32
}

#[unsafe(no_mangle)]
extern "C" fn neurath_state() -> u64 {
    let Some(source) = executor::with(|executor| executor.state()) else { return 0 };
    executor::with_scratch(|bytes| {
        // SAFETY: the source was set by a server that waits for its next message, and is unset when it
        // goes on; the guest is not running in between.
        unsafe { (source.encode)(source.state, bytes) };
        packed(bytes)
    })
}

fn packed(bytes: &[u8]) -> u64 {
    (bytes.as_ptr() as u64) << 32 | bytes.len() as u64
}

/// `neurath:start:NAME`
pub fn start<E: Entry>(_: usize, len: usize, mode: u32) -> u32 {
    let mode = if mode == StartMode::Fresh as u32 { StartMode::Fresh } else { StartMode::Resume };
    match executor::with_inbox(|inbox| E::boot(inbox.bytes(len), mode)) {
        Ok(root) => executor::with(|executor| executor.start(root)) as u32,
        Err(_) => PollStatus::BadArguments as u32,
    }
}

/// `neurath:convert:NAME`
pub fn convert(_: usize, len: usize, run: impl FnOnce(&[u8]) -> Result<Vec<u8>, String>) -> u64 {
    let old = executor::with_inbox(|inbox| inbox.bytes(len).to_vec());
    match run(&old) {
        Ok(new) => executor::with_scratch(|bytes| {
            *bytes = new;
            packed(bytes)
        }),
        Err(why) => {
            sys::fail(&why);
            0
        }
    }
}

/// `neurath:describe:KIND:NAME`
pub fn describe(part: Vec<u8>) -> u64 {
    executor::with_scratch(|bytes| {
        *bytes = part;
        packed(bytes)
    })
}
