//! What a process can do to itself and to others: end, link, watch, find out who it is.

use std::any::TypeId;

use neurath_proto::abi::SendStatus;
use neurath_proto::{Data, Pid, Ref};

use crate::executor;
use crate::sys::{self, TypeTag};

/// The pid of the process that asks.
pub fn self_pid() -> Pid {
    sys::self_pid()
}

/// Ends this process with a reason that links and monitors see.
///
/// `exit(())` is a normal exit, as if the process had returned; any other value is a reason of its
/// own type.
///
/// ```
/// use neurath::prelude::*;
///
/// #[derive(Message)]
/// struct OutOfStock { item: String }
///
/// #[neurath::process]
/// async fn shop() {
///     exit(OutOfStock { item: "boats".into() })
/// }
/// # fn main() {}
/// ```
pub fn exit<T: Data>(reason: T) -> ! {
    with_reason(&reason, |tag, bytes| {
        tag.declare();
        sys::exit(tag, bytes)
    });
    panic!("the host let a process go on after its exit");
}

/// Asks another process to exit, as if a process linked to it had ended with this reason.
///
/// If it [traps exits](trap_exit) it gets an [`Exit`](crate::Exit) instead; a normal reason, `()`,
/// ends nobody.
pub fn exit_process<T: Data>(pid: Pid, reason: T) {
    with_reason(&reason, |tag, bytes| {
        let status = sys::exit_process(&pid, tag, bytes);
        if status == SendStatus::NeedSchema {
            tag.declare();
            return sys::exit_process(&pid, tag, bytes);
        }
        status
    });
}

fn with_reason<T: Data>(reason: &T, f: impl FnOnce(TypeTag, &[u8]) -> SendStatus) -> SendStatus {
    let is_normal = TypeId::of::<T>() == TypeId::of::<()>();
    let tag = if is_normal { TypeTag::NONE } else { TypeTag::of::<T>() };
    executor::with_scratch(|bytes| {
        reason.encode(bytes);
        f(tag, bytes)
    })
}

/// Ends another process; it cannot be caught.
pub fn kill(pid: Pid) {
    sys::kill(&pid);
}

/// Links this process to another: when one ends with a reason that is not normal, so does the other.
///
/// A link to a process that is dead fires at once.
pub fn link(pid: Pid) {
    sys::link(&pid);
}

/// Undoes [`link`].
pub fn unlink(pid: Pid) {
    sys::unlink(&pid);
}

/// Watches a process: when it ends, or if it is dead, a [`Down`](crate::Down) with this ref comes.
///
/// ```
/// use neurath::prelude::*;
///
/// #[neurath::process(accepts(Down))]
/// async fn watcher(pid: Pid) {
///     let watch = monitor(pid);
///     receive! {
///         down: Down if down.monitor == watch => info!("{} ended: {}", down.pid, down.reason),
///         after 60.secs() => demonitor(watch),
///     }
/// }
/// # fn main() {}
/// ```
pub fn monitor(pid: Pid) -> Ref {
    sys::monitor(&pid)
}

/// Watches no longer. A [`Down`](crate::Down) that has already come is removed from the mailbox.
pub fn demonitor(monitor: Ref) {
    sys::demonitor(monitor);
}

/// Whether ends of linked processes arrive as [`Exit`](crate::Exit) messages instead of ending this one.
pub fn trap_exit(on: bool) {
    sys::trap_exit(on);
}
