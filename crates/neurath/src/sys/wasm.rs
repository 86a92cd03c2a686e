//! The guest's side of the ABI: the imports themselves.
//!
//! Invariant: the only `unsafe` calls into the host are here, and every pointer handed over is to
//! memory that lives until the call returns.

use neurath_proto::abi::{MessageHead, SendStatus, TakeSpec, TakeStatus, take_flags};
use neurath_proto::cluster::Question;
use neurath_proto::envelope::Class;
use neurath_proto::{Data, Pid, Ref};

use super::{Spawned, Startable, TypeTag, Wanted};

mod import {
    use super::{Pid, Spawned, TakeSpec};

    #[link(wasm_import_module = "neurath")]
    unsafe extern "C" {
        pub(super) fn send(to: *const Pid, class: u32, reference: u64, tag: u32, ptr: *const u8, len: usize) -> i32;
        pub(super) fn send_after(nanos: u64, to: *const Pid, tag: u32, ptr: *const u8, len: usize) -> i64;
        pub(super) fn cancel_timer(timer: u64) -> i32;
        pub(super) fn declare(tag: u32, ptr: *const u8, len: usize);
        pub(super) fn take(receive: u64, spec: *const TakeSpec, buffer: *mut u8, capacity: usize) -> i32;
        pub(super) fn accept(receive: u64, seq: u64) -> i32;
        pub(super) fn cancel(receive: u64);
        pub(super) fn put_back(receive: u64);
        pub(super) fn reference() -> u64;
        pub(super) fn spawn(
            name: *const u8,
            name_len: usize,
            arguments: *const u8,
            arguments_len: usize,
            flags: u32,
            out: *mut Spawned,
        ) -> i32;
        pub(super) fn exit(tag: u32, ptr: *const u8, len: usize);
        pub(super) fn exit_process(to: *const Pid, tag: u32, ptr: *const u8, len: usize) -> i32;
        pub(super) fn kill(to: *const Pid);
        pub(super) fn link(to: *const Pid);
        pub(super) fn unlink(to: *const Pid);
        pub(super) fn monitor(to: *const Pid) -> u64;
        pub(super) fn demonitor(monitor: u64);
        pub(super) fn trap_exit(on: u32);
        pub(super) fn ask(ptr: *const u8, len: usize) -> u64;
        pub(super) fn self_pid(out: *mut Pid);
        pub(super) fn become_latest(name: *const u8, name_len: usize, tag: u32, ptr: *const u8, len: usize) -> i64;
        pub(super) fn log(level: u32, ptr: *const u8, len: usize);
        pub(super) fn panic(
            message: *const u8,
            message_len: usize,
            file: *const u8,
            file_len: usize,
            line: u32,
            column: u32,
        );
        pub(super) fn fail(ptr: *const u8, len: usize);
    }
}

#[inline]
fn send_status(raw: i32) -> SendStatus {
    match raw {
        0 => SendStatus::Queued,
        -1 => SendStatus::NeedSchema,
        -3 => SendStatus::TooLarge,
        -4 => SendStatus::MailboxFull,
        _ => SendStatus::OutboxFull,
    }
}

#[inline]
pub(crate) fn send(to: &Pid, class: Class, reference: Ref, tag: TypeTag, payload: &[u8]) -> SendStatus {
    // SAFETY: both pointers come from references that outlive the call.
    send_status(unsafe { import::send(to, class as u32, reference.0, tag.raw(), payload.as_ptr(), payload.len()) })
}

pub(crate) fn send_after(nanos: u64, to: &Pid, tag: TypeTag, payload: &[u8]) -> Result<Ref, SendStatus> {
    // SAFETY: both pointers come from references that outlive the call.
    let raw = unsafe { import::send_after(nanos, to, tag.raw(), payload.as_ptr(), payload.len()) };
    if raw < 0 { Err(send_status(raw as i32)) } else { Ok(Ref(raw as u64)) }
}

pub(crate) fn cancel_timer(timer: Ref) -> bool {
    // SAFETY: no pointers.
    unsafe { import::cancel_timer(timer.0) != 0 }
}

pub(crate) fn declare(tag: TypeTag, schema: &[u8]) {
    // SAFETY: the slice outlives the call.
    unsafe { import::declare(tag.raw(), schema.as_ptr(), schema.len()) }
}

#[inline]
pub(crate) fn take(receive: u64, wanted: &Wanted<'_>, buffer: &mut [u8]) -> TakeStatus {
    let spec = TakeSpec {
        after_seq: wanted.after_seq,
        reference: wanted.reference.0,
        timeout_ns: wanted.timeout_ns,
        tags: wanted.tags.as_ptr() as u32,
        tag_count: wanted.tags.len() as u32,
        flags: wanted.flags,
        reserved: 0,
    };
    // SAFETY: spec, tags (function pointers are table indices of four bytes) and buffer outlive the call.
    match unsafe { import::take(receive, &spec, buffer.as_mut_ptr(), buffer.len()) } {
        1 => TakeStatus::Ready,
        2 => TakeStatus::TimedOut,
        3 => TakeStatus::BufferTooSmall,
        4 => TakeStatus::NeedSchema,
        5 => TakeStatus::Failed,
        _ => TakeStatus::Pending,
    }
}

/// A look with no time left ends a call, and one that takes no type throws the answer away if it has come. The inbox may
/// hold what somebody is reading, so that is not used.
#[cold]
#[inline(never)]
pub(crate) fn give_up(receive: u64, reference: Ref) {
    let wanted = Wanted { after_seq: 0, reference, timeout_ns: 0, flags: 0, tags: &[] };
    let mut room = vec![0; 1024];
    while take(receive, &wanted, &mut room) == TakeStatus::BufferTooSmall {
        room.resize(room.len() * 2, 0);
    }
}

/// The inbox may hold what somebody is reading, so that is not used.
pub(crate) fn close_channel(receive: u64, reference: Ref) {
    let flags = take_flags::CHANNEL | take_flags::CLOSE;
    let wanted = Wanted { after_seq: 0, reference, timeout_ns: 0, flags, tags: &[] };
    take(receive, &wanted, &mut [0; MessageHead::SIZE]);
}

pub(crate) fn accept(receive: u64, seq: u64) -> bool {
    // SAFETY: no pointers.
    unsafe { import::accept(receive, seq) != 0 }
}

pub(crate) fn cancel(receive: u64) {
    // SAFETY: no pointers.
    unsafe { import::cancel(receive) }
}

pub(crate) fn put_back(receive: u64) {
    // SAFETY: no pointers.
    unsafe { import::put_back(receive) }
}

pub(crate) fn reference() -> Ref {
    // SAFETY: no pointers.
    Ref(unsafe { import::reference() })
}

pub(crate) fn spawn(entry: &Startable, arguments: &[u8], flags: u32) -> Result<Spawned, ()> {
    let mut out = Spawned::default();
    let name = entry.name;
    // SAFETY: the slices and `out`, which has the 32 bytes that the host writes, outlive the call.
    let raw = unsafe { import::spawn(name.as_ptr(), name.len(), arguments.as_ptr(), arguments.len(), flags, &mut out) };
    if raw < 0 { Err(()) } else { Ok(out) }
}

pub(crate) fn exit(tag: TypeTag, reason: &[u8]) -> SendStatus {
    // SAFETY: the slice outlives the call.
    unsafe { import::exit(tag.raw(), reason.as_ptr(), reason.len()) };
    // The host comes back only if it does not know the type.
    SendStatus::NeedSchema
}

pub(crate) fn exit_process(to: &Pid, tag: TypeTag, reason: &[u8]) -> SendStatus {
    // SAFETY: both pointers come from references that outlive the call.
    send_status(unsafe { import::exit_process(to, tag.raw(), reason.as_ptr(), reason.len()) })
}

pub(crate) fn kill(to: &Pid) {
    // SAFETY: the reference outlives the call.
    unsafe { import::kill(to) }
}

pub(crate) fn link(to: &Pid) {
    // SAFETY: the reference outlives the call.
    unsafe { import::link(to) }
}

pub(crate) fn unlink(to: &Pid) {
    // SAFETY: the reference outlives the call.
    unsafe { import::unlink(to) }
}

pub(crate) fn monitor(to: &Pid) -> Ref {
    // SAFETY: the reference outlives the call.
    Ref(unsafe { import::monitor(to) })
}

pub(crate) fn demonitor(monitor: Ref) {
    // SAFETY: no pointers.
    unsafe { import::demonitor(monitor.0) }
}

pub(crate) fn trap_exit(on: bool) {
    // SAFETY: no pointers.
    unsafe { import::trap_exit(u32::from(on)) }
}

pub(crate) fn ask(question: &Question) -> Ref {
    crate::executor::with_scratch(|bytes| {
        question.encode(bytes);
        // SAFETY: the slice outlives the call.
        Ref(unsafe { import::ask(bytes.as_ptr(), bytes.len()) })
    })
}

pub(crate) fn self_pid() -> Pid {
    let mut pid = Pid::default();
    // SAFETY: `pid` has the 24 bytes that the host writes.
    unsafe { import::self_pid(&mut pid) };
    pid
}

pub(crate) fn become_latest(entry: &str, tag: TypeTag, state: &[u8]) -> Result<Ref, SendStatus> {
    // SAFETY: both slices outlive the call.
    let raw = unsafe { import::become_latest(entry.as_ptr(), entry.len(), tag.raw(), state.as_ptr(), state.len()) };
    if raw < 0 { Err(send_status(raw as i32)) } else { Ok(Ref(raw as u64)) }
}

pub(crate) fn log(level: u32, line: &str) {
    // SAFETY: the slice outlives the call.
    unsafe { import::log(level, line.as_ptr(), line.len()) }
}

pub(crate) fn panicked(message: &str, file: &str, line: u32, column: u32) {
    // SAFETY: both slices outlive the call.
    unsafe { import::panic(message.as_ptr(), message.len(), file.as_ptr(), file.len(), line, column) }
}

pub(crate) fn fail(message: &str) {
    // SAFETY: the slice outlives the call.
    unsafe { import::fail(message.as_ptr(), message.len()) }
}
