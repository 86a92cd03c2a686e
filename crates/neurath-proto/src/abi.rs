//! The guest ABI: what a module imports and exports, and the bytes that cross.
//!
//! It is the only seam between a guest and its host. All integers are little-endian; pointers and
//! lengths are `i32` offsets into the guest's one memory; every host function checks them.
//!
//! A guest is a *reactor*: the host calls an export, the guest runs until nothing is left to do, and
//! returns. That return is the **safe point**. What the guest asked for in between is committed
//! there, all of it or (if it trapped) none of it.
//!
//! # Exports
//!
//! | name | type | meaning |
//! |---|---|---|
//! | `memory` | memory | the one memory |
//! | `_initialize` | `() -> ()` | optional; run once, before the initial image is taken |
//! | `neurath_alloc` | `(len) -> ptr` | room for bytes that the host writes before a call |
//! | `neurath_poll` | `(receive: i64) -> status` | wake that receive and run; the two highest bits are [`poll_bits`] |
//! | `neurath_state` | `() -> i64` | the server's state, as `ptr << 32 \| len` |
//! | `neurath:start:NAME` | `(ptr, len, mode) -> status` | start entry NAME with encoded arguments or state, and run |
//! | `neurath:convert:NAME` | `(ptr, len) -> i64` | run converter NAME: encoded old state in, `ptr << 32 \| len` of the new state out, or 0 after `fail` |
//! | `neurath:describe:KIND:NAME` | `() -> i64` | the entry's or converter's part of the manifest (`KIND` is `entry` or `converter`), as `ptr << 32 \| len`; used by `neurath build` only |
//!
//! # Messages that come with the poll
//!
//! A guest that waits under [`take_flags::HAND_OVER`] may find its message in the buffer when it is polled, and need not
//! ask for it. If it then waits for the same again, under the same receive, it need not say so either: it returns
//! [`PollStatus::Again`]. So a process that lives from message to message calls its host for what it sends only.
//!
//! # Imports, all from the module `neurath`
//!
//! | name | type | meaning |
//! |---|---|---|
//! | `send` | `(to, class, ref: i64, tag, ptr, len) -> send status` | put a message into the outbox; `to` points to a pid |
//! | `send_after` | `(nanos: i64, to, tag, ptr, len) -> i64` | the same after a delay; a timer's ref, or a negative send status |
//! | `cancel_timer` | `(ref: i64) -> i32` | 1 if it had not fired |
//! | `declare` | `(tag, ptr, len)` | the encoded schema that `tag` stands for in this module version |
//! | `take` | `(receive: i64, spec, buf, cap) -> take status` | take, or look at, the next fitting message; otherwise wait for it |
//! | `accept` | `(receive: i64, seq: i64) -> i32` | take the message that `take` let the guest look at; 1 if it is still there |
//! | `cancel` | `(receive: i64)` | wait no longer |
//! | `put_back` | `(receive: i64)` | the message that came with `neurath_poll` is not read now: it goes back to where it was |
//! | `reference` | `() -> i64` | a fresh ref |
//! | `spawn` | `(name, name_len, args, args_len, flags, out) -> i32` | start an entry of this module; writes a pid and the monitor's ref (32 bytes) |
//! | `exit` | `(tag, ptr, len)` | end with a typed reason; tag 0 is a normal exit; does not return |
//! | `exit_process` | `(to, tag, ptr, len) -> send status` | ask another process to exit |
//! | `kill` | `(to)` | end another process; it cannot be caught |
//! | `link`, `unlink` | `(to)` | |
//! | `monitor` | `(to) -> i64` | a ref; a `Down` with it comes once |
//! | `demonitor` | `(ref: i64)` | also removes a `Down` that has already arrived |
//! | `trap_exit` | `(on)` | exits of linked processes arrive as messages |
//! | `ask` | `(ptr, len) -> i64` | ask a node an encoded [`Question`](crate::cluster::Question); the ref of its answer, 0 if the outbox is full |
//! | `self_pid` | `(out)` | |
//! | `become_latest` | `(name, name_len, tag, ptr, len) -> i64` | offer the state to the newest code; a refusal, if one comes, is a failed call or a `()` under this ref |
//! | `log` | `(level, ptr, len)` | level 1 error … 5 trace |
//! | `panic` | `(msg, msg_len, file, file_len, line, column)` | the reason of the trap that follows |
//! | `fail` | `(ptr, len)` | why a converter refused |

use crate::id::Pid;

/// The version of this ABI. A module of another version is refused by name before it is compiled.
pub const ABI_VERSION: u32 = 1;

/// The import module of all host functions that are not WASI's.
pub const IMPORT_MODULE: &str = "neurath";

/// Names of exports.
pub mod export {
    /// The guest's memory.
    pub const MEMORY: &str = "memory";
    /// Run once before the initial image is taken.
    pub const INITIALIZE: &str = "_initialize";
    /// Room for bytes from the host.
    pub const ALLOC: &str = "neurath_alloc";
    /// Run until nothing is left to do.
    pub const POLL: &str = "neurath_poll";
    /// The server's state.
    pub const STATE: &str = "neurath_state";
    /// Starts an entry; its name follows.
    pub const START_PREFIX: &str = "neurath:start:";
    /// Runs a converter; its name follows.
    pub const CONVERT_PREFIX: &str = "neurath:convert:";
    /// Describes an entry; its name follows.
    pub const DESCRIBE_ENTRY_PREFIX: &str = "neurath:describe:entry:";
    /// Describes a converter; its name follows.
    pub const DESCRIBE_CONVERTER_PREFIX: &str = "neurath:describe:converter:";
}

/// How an entry is started (`neurath:start:NAME`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum StartMode {
    /// With the arguments of a spawn.
    Fresh = 0,
    /// With a state: after an upgrade. For a plain process the state is its arguments.
    Resume = 1,
}

/// What `neurath_poll` and `neurath:start:NAME` return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum PollStatus {
    /// The entry waits for something.
    Pending = 0,
    /// The entry returned: a normal exit.
    Finished = 1,
    /// The bytes given to `neurath:start:NAME` are not what the entry takes. Nothing ran.
    BadArguments = 2,
    /// The entry has read the message that came with the poll, and waits under the same receive for the same again.
    Again = 3,
}

impl PollStatus {
    /// The status that a guest returned, if it is one.
    pub fn from_raw(raw: u32) -> Option<Self> {
        [Self::Pending, Self::Finished, Self::BadArguments, Self::Again].into_iter().find(|s| *s as u32 == raw)
    }
}

/// What `send` returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum SendStatus {
    /// It is in the outbox.
    Queued = 0,
    /// The host does not know what `tag` stands for: call `declare`, then send again.
    NeedSchema = -1,
    /// The outbox of this poll is full; `flush().await` first.
    OutboxFull = -2,
    /// The payload is over the limit for one message.
    TooLarge = -3,
    /// The target is the sender itself and its mailbox is full.
    MailboxFull = -4,
}

impl SendStatus {
    /// The status that a host returned, if it is one.
    pub fn from_raw(raw: i32) -> Option<Self> {
        [Self::Queued, Self::NeedSchema, Self::OutboxFull, Self::TooLarge, Self::MailboxFull]
            .into_iter()
            .find(|s| *s as i32 == raw)
    }
}

/// What `take` returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum TakeStatus {
    /// Nothing fits yet: the receive is registered, and `neurath_poll` will name it.
    Pending = 0,
    /// A message was taken, or is offered if the spec has [`take_flags::LOOK`]; the buffer holds a
    /// [`MessageHead`] and the payload.
    Ready = 1,
    /// The deadline has passed and nothing fitted.
    TimedOut = 2,
    /// A message fits but not into the buffer; the head's `payload_len` says how much room it needs.
    /// It was not taken.
    BufferTooSmall = 3,
    /// The host does not know the tag at the head's `index`: call `declare`, then take again.
    NeedSchema = 4,
    /// The ref's call can never be answered; the payload is an encoded [`crate::reason::CallError`].
    Failed = 5,
}

impl TakeStatus {
    /// The status that a host returned, if it is one.
    pub fn from_raw(raw: i32) -> Option<Self> {
        [Self::Pending, Self::Ready, Self::TimedOut, Self::BufferTooSmall, Self::NeedSchema, Self::Failed]
            .into_iter()
            .find(|s| *s as i32 == raw)
    }
}

/// What a receive waits for: 40 bytes in guest memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TakeSpec {
    /// Only messages that arrived after this one (`seq`); 0 is all. A predicate's refusals move it.
    pub after_seq: u64,
    /// The ref whose answer is awaited, or the channel of which a message is, under [`take_flags::CHANNEL`]; if set,
    /// `tags` has the one type of the answer or of the channel.
    pub reference: u64,
    /// Nanoseconds that the whole receive may wait, counted from its first `take`;
    /// [`TakeSpec::FOREVER`] is no deadline. Zero still looks through the mailbox.
    pub timeout_ns: u64,
    /// Where the tags are: `tag_count` values of `u32`.
    pub tags: u32,
    /// How many types it takes. None at all makes it a sleep.
    pub tag_count: u32,
    /// [`take_flags`].
    pub flags: u32,
    #[doc(hidden)]
    pub reserved: u32,
}

impl TakeSpec {
    /// Bytes of a spec in guest memory.
    pub const SIZE: usize = 40;
    /// No deadline.
    pub const FOREVER: u64 = u64::MAX;
    /// Tags that one receive may name.
    pub const TAGS_MAX: u32 = 64;

    /// The spec in `bytes`.
    #[inline]
    pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        let word = |at: usize| u64::from_le_bytes(core::array::from_fn(|i| bytes[at + i]));
        let half = |at: usize| u32::from_le_bytes(core::array::from_fn(|i| bytes[at + i]));
        Self {
            after_seq: word(0),
            reference: word(8),
            timeout_ns: word(16),
            tags: half(24),
            tag_count: half(28),
            flags: half(32),
            reserved: 0,
        }
    }
}

/// Bits of [`TakeSpec::flags`].
pub mod take_flags {
    /// Only look: the message stays until `accept`. A guest that refuses it looks on under the same receive, whose
    /// deadline counts from its first look.
    pub const LOOK: u32 = 1;
    /// The process is a server between two messages: while this receive waits and no other does, its
    /// state may be asked for and its code changed.
    pub const BETWEEN_MESSAGES: u32 = 2;
    /// Not a receive at all: commit what has been done so far and come back at once. The first look is
    /// pending; the next, when `neurath_poll` has named it, is `TimedOut` and ends it.
    pub const YIELD: u32 = 4;
    /// While the receive waits, the buffer of this `take` is the host's: the message may come with the poll. Only for
    /// receives without a ref, a deadline or `LOOK`.
    pub const HAND_OVER: u32 = 8;
    /// The process expects nothing soon: while this receive waits, its memory may be given up at once. A hint.
    pub const HIBERNATE: u32 = 16;
    /// The spec's ref is one of this process that names a channel: only messages sent to that channel are taken.
    pub const CHANNEL: u32 = 32;
    /// With `CHANNEL`: no receive, but the channel is opened for messages of the spec's one type. The look is `TimedOut`.
    pub const OPEN: u32 = 64;
    /// With `CHANNEL`: no receive, but the channel is closed. What waits in it is refused. The look is `TimedOut`.
    pub const CLOSE: u32 = 128;
}

/// Bits of what `neurath_poll` is given, beside the receive.
pub mod poll_bits {
    /// The message is in the buffer that the receive was registered with, as after a `take` that was ready.
    pub const DELIVERED: u64 = 1 << 63;
    /// More messages wait, whether they fit or not: a guest that wants another one has to ask.
    pub const MORE: u64 = 1 << 62;
    /// The receive.
    pub const RECEIVE: u64 = MORE - 1;
}

/// What the host writes before the payload of a message: 56 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct MessageHead {
    /// The message's number in this process's mailbox, counted from 1.
    pub seq: u64,
    /// The ref that an answer must carry; 0 if none is wanted.
    pub reference: u64,
    /// The sender.
    pub from: Pid,
    /// [`crate::envelope::Class`].
    pub class: u32,
    /// Which of the spec's tags it is.
    pub index: u32,
    /// Bytes of payload.
    pub payload_len: u32,
    #[doc(hidden)]
    pub reserved: u32,
}

impl MessageHead {
    /// Bytes of a head in guest memory.
    pub const SIZE: usize = 56;

    /// The bytes that the guest ABI uses.
    #[inline]
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[0..8].copy_from_slice(&self.seq.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.reference.to_le_bytes());
        bytes[16..40].copy_from_slice(&self.from.to_bytes());
        bytes[40..44].copy_from_slice(&self.class.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.index.to_le_bytes());
        bytes[48..52].copy_from_slice(&self.payload_len.to_le_bytes());
        bytes
    }
}

/// Bits of `spawn`'s `flags`.
pub mod spawn_flags {
    /// Link the new process to its parent, before it runs.
    pub const LINK: u32 = 1;
    /// Monitor it, before it runs.
    pub const MONITOR: u32 = 2;
}

/// What a module calls a type: its own short name for a schema, fixed for one module version.
///
/// It is the table index of the function that describes the type, so it costs a guest nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Tag(pub u32);

/// A guest's own number for one receive: counted from 1, never used twice by a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct ReceiveId(pub u64);

const _: () = {
    assert!(core::mem::size_of::<TakeSpec>() == TakeSpec::SIZE);
    assert!(core::mem::size_of::<MessageHead>() == MessageHead::SIZE);
    assert!(core::mem::size_of::<Pid>() == Pid::SIZE);
};
