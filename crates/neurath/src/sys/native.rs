//! The native side: host functions go to the host of the current thread, if there is one.
//!
//! So far only [`crate::testing`] provides one.

use neurath_proto::abi::{SendStatus, StartMode, TakeStatus};
use neurath_proto::cluster::Question;
use neurath_proto::envelope::Class;
use neurath_proto::{DecodeError, Pid, Ref};

use super::{Spawned, Startable, TypeTag, Wanted};
use crate::executor::Root;
use crate::testing::host;

/// How an entry's future is made of its arguments.
pub(crate) type Boot = fn(&[u8], StartMode) -> Result<Root, DecodeError>;

/// Says what is missing outside a process.
#[cold]
pub(crate) fn nobody(what: &str) -> ! {
    panic!(
        "not inside a Neurath process: `{what}` needs a host; in a test, write `neurath::testing::run(async {{ … }})`"
    )
}

pub(crate) fn send(to: &Pid, class: Class, reference: Ref, tag: TypeTag, payload: &[u8]) -> SendStatus {
    host("send", |host| host.send(*to, class, reference, tag, payload))
}

pub(crate) fn send_after(nanos: u64, to: &Pid, tag: TypeTag, payload: &[u8]) -> Result<Ref, SendStatus> {
    Ok(host("send_after", |host| host.send_after(nanos, *to, tag, payload)))
}

pub(crate) fn cancel_timer(timer: Ref) -> bool {
    host("cancel_timer", |host| host.cancel_timer(timer))
}

pub(crate) fn declare(_: TypeTag, _: &[u8]) {}

pub(crate) fn take(receive: u64, wanted: &Wanted<'_>, buffer: &mut [u8]) -> TakeStatus {
    host("take", |host| host.take(receive, wanted, buffer))
}

pub(crate) fn give_up(_: u64, reference: Ref) {
    // Futures are dropped after their world as well.
    crate::testing::if_host(|host| host.give_up(reference));
}

pub(crate) fn close_channel(_: u64, reference: Ref) {
    // Ports are dropped after their world as well.
    crate::testing::if_host(|host| host.close_channel(reference));
}

pub(crate) fn accept(receive: u64, seq: u64) -> bool {
    host("accept", |host| host.accept(receive, seq))
}

pub(crate) fn cancel(receive: u64) {
    // Futures are dropped after their world as well.
    crate::testing::if_host(|host| host.cancel(receive));
}

/// Natively no message comes with the poll.
pub(crate) fn put_back(_: u64) {}

pub(crate) fn reference() -> Ref {
    host("reference", |host| host.reference())
}

pub(crate) fn spawn(entry: &Startable, arguments: &[u8], flags: u32) -> Result<Spawned, ()> {
    let boot = entry.boot;
    let root = boot(arguments, StartMode::Fresh).map_err(|_| ())?;
    Ok(host("spawn", |host| host.spawn(entry.name, root, flags)))
}

pub(crate) fn exit(tag: TypeTag, reason: &[u8]) -> SendStatus {
    host("exit", |host| host.set_reason(tag, reason));
    std::panic::resume_unwind(Box::new(crate::testing::Exited));
}

pub(crate) fn exit_process(to: &Pid, tag: TypeTag, reason: &[u8]) -> SendStatus {
    host("exit_process", |host| host.exit_process(*to, tag, reason));
    SendStatus::Queued
}

pub(crate) fn kill(to: &Pid) {
    host("kill", |host| host.kill(*to));
}

pub(crate) fn link(to: &Pid) {
    host("link", |host| host.link(*to));
}

pub(crate) fn unlink(to: &Pid) {
    host("unlink", |host| host.unlink(*to));
}

pub(crate) fn monitor(to: &Pid) -> Ref {
    host("monitor", |host| host.monitor(*to))
}

pub(crate) fn demonitor(monitor: Ref) {
    host("demonitor", |host| host.demonitor(monitor));
}

pub(crate) fn trap_exit(on: bool) {
    host("trap_exit", |host| host.trap_exit(on));
}

pub(crate) fn ask(question: &Question) -> Ref {
    host("ask", |host| host.ask(question))
}

pub(crate) fn self_pid() -> Pid {
    host("self_pid", |host| host.current())
}

pub(crate) fn become_latest(_: &str, _: TypeTag, _: &[u8]) -> Result<Ref, SendStatus> {
    Ok(host("become_latest", |host| host.nothing_newer()))
}

pub(crate) fn log(level: u32, line: &str) {
    let level = ["", "error", "warn", "info", "debug", "trace"].get(level as usize).unwrap_or(&"");
    eprintln!("{level}: {line}");
}
