//! The executor: one root future, run until nothing is left to do.
//!
//! The host says which receive it woke; that receive and no other goes back to the host. A future that
//! is polled for any other reason waits on, so among concurrent receives the earliest started wins
//! and a poll of all branches of a `select!` costs one host call.
//!
//! Invariant: between two polls everything about the process is here or in the root future; nothing
//! is on a stack.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, RawWaker, RawWakerVTable, Waker};

use neurath_proto::abi::{PollStatus, TakeSpec, poll_bits, take_flags};
use neurath_proto::{Pid, Ref};

use crate::inbox::Inbox;
use crate::sys::{self, TypeTag, Wanted};

/// The future of a whole process.
pub type Root = Pin<Box<dyn Future<Output = ()>>>;

/// How often a root that wakes itself is polled again before others have their turn.
const ROUNDS_MAX: u32 = 64;

/// What a process has besides its root future and its heap.
pub(crate) struct Executor {
    root: Cell<Option<Root>>,
    last_id: Cell<u64>,
    /// The receive that the host woke and that has not been polled since; 0 is none.
    woken: Cell<u64>,
    /// Earlier ones that a combinator has not polled yet. Nearly always empty.
    woken_before: RefCell<Vec<u64>>,
    /// Wakers other than the root's, by receive, in ascending order.
    wakers: RefCell<Vec<(u64, Waker)>>,
    /// The receive whose message came with the poll and has not been read; 0 is none.
    handed: Cell<u64>,
    /// What the latest receive that the host may hand a message to waits for.
    standing: Cell<Standing>,
    /// Whether that receive has read a message that came with the poll, and nothing has been received since.
    may_stand_again: Cell<bool>,
    /// Whether it waits again, which the host learns when the poll ends.
    stands_again: Cell<bool>,
    /// The root's waker was used.
    again: Cell<bool>,
    /// The receive under which the executor itself takes a breath; 0 is none.
    breath: Cell<u64>,
    state: Cell<Option<StateSource>>,
    /// The supervisor that waits for this process to start, and the ref that it waits under.
    starter: Cell<Option<(Pid, Ref)>>,
    /// The process expects nothing soon.
    hibernates: Cell<bool>,
}

/// See [`Executor::stand_again`].
#[derive(Clone, Copy)]
struct Standing {
    receive: u64,
    tags: *const TypeTag,
    tag_count: usize,
    flags: u32,
}

/// Where a server that is between two messages keeps its state, and how to write it.
#[derive(Clone, Copy)]
pub(crate) struct StateSource {
    pub(crate) state: *const (),
    pub(crate) encode: unsafe fn(*const (), &mut Vec<u8>),
}

/// All that the SDK keeps for a process, together in one place so that it touches few pages.
struct Statics {
    executor: Executor,
    inbox: RefCell<Inbox>,
    scratch: Cell<Vec<u8>>,
}

thread_local! {
    static STATICS: Statics = const {
        Statics { executor: Executor::new(), inbox: RefCell::new(Inbox::new()), scratch: Cell::new(Vec::new()) }
    };
}

/// Runs `f` with the executor of the current process.
#[inline]
pub(crate) fn with<R>(f: impl FnOnce(&Executor) -> R) -> R {
    STATICS.with(|statics| f(&statics.executor))
}

/// Runs `f` with the buffer that messages are received into.
#[inline]
pub(crate) fn with_inbox<R>(f: impl FnOnce(&mut Inbox) -> R) -> R {
    STATICS.with(|statics| f(&mut statics.inbox.borrow_mut()))
}

/// Runs `f` with an empty vector that keeps its capacity from use to use.
#[inline]
pub(crate) fn with_scratch<R>(f: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    STATICS.with(|statics| {
        let mut bytes = statics.scratch.take();
        bytes.clear();
        let result = f(&mut bytes);
        statics.scratch.set(bytes);
        result
    })
}

static ROOT_VTABLE: RawWakerVTable = RawWakerVTable::new(
    |_| RawWaker::new(std::ptr::null(), &ROOT_VTABLE),
    |_| with(|executor| executor.again.set(true)),
    |_| with(|executor| executor.again.set(true)),
    |_| {},
);

// SAFETY: the functions keep no data and may be called from any thread: each sets a flag of its own thread.
static ROOT_WAKER: Waker = unsafe { Waker::new(std::ptr::null(), &ROOT_VTABLE) };

impl Executor {
    pub(crate) const fn new() -> Self {
        Self {
            root: Cell::new(None),
            last_id: Cell::new(0),
            woken: Cell::new(0),
            woken_before: RefCell::new(Vec::new()),
            wakers: RefCell::new(Vec::new()),
            handed: Cell::new(0),
            standing: Cell::new(Standing { receive: 0, tags: std::ptr::null(), tag_count: 0, flags: 0 }),
            may_stand_again: Cell::new(false),
            stands_again: Cell::new(false),
            again: Cell::new(false),
            breath: Cell::new(0),
            state: Cell::new(None),
            starter: Cell::new(None),
            hibernates: Cell::new(false),
        }
    }

    /// Makes `root` the process and runs it.
    pub(crate) fn start(&self, root: Root) -> PollStatus {
        self.run(root)
    }

    /// Wakes a receive and runs the process. `receive` has [`poll_bits`].
    #[inline]
    pub(crate) fn poll(&self, receive: u64) -> PollStatus {
        let Some(root) = self.root.take() else { return PollStatus::Finished };
        let bits = receive;
        let receive = bits & poll_bits::RECEIVE;
        if bits & poll_bits::DELIVERED != 0 {
            with_inbox(Inbox::use_small);
            self.handed.set(receive);
            self.may_stand_again.set(bits & poll_bits::MORE == 0);
        }
        if receive == self.breath.get() {
            self.breath.set(0);
            self.look_again(receive);
        } else {
            self.woken.set(receive);
            self.wake(receive);
        }
        self.run(root)
    }

    fn run(&self, mut root: Root) -> PollStatus {
        let mut context = Context::from_waker(&ROOT_WAKER);
        let mut rounds = 0;
        loop {
            self.again.set(false);
            if root.as_mut().poll(&mut context).is_ready() {
                return PollStatus::Finished;
            }
            if !self.again.get() {
                break;
            }
            rounds += 1;
            if rounds == ROUNDS_MAX {
                if self.breath.get() == 0 {
                    self.breath.set(self.next_id());
                    self.look_again(self.breath.get());
                }
                break;
            }
        }
        let unpolled = self.woken.replace(0);
        if unpolled != 0 {
            self.put_back();
            self.woken_before.borrow_mut().push(unpolled);
        }
        self.root.set(Some(root));
        self.may_stand_again.set(false);
        if self.stands_again.replace(false) { PollStatus::Again } else { PollStatus::Pending }
    }

    // ---- messages that come with the poll ----

    /// Whether the message of this receive is in the inbox already: then it is read now.
    #[inline]
    pub(crate) fn read_handed(&self, receive: u64) -> bool {
        if self.handed.get() != receive {
            return false;
        }
        self.handed.set(0);
        self.may_stand_again.set(self.may_stand_again.get() && self.standing.get().receive == receive);
        true
    }

    /// Gives a message back that came with the poll and was not read.
    #[inline]
    pub(crate) fn put_back(&self) {
        let handed = self.handed.replace(0);
        if handed != 0 {
            self.may_stand_again.set(false);
            sys::put_back(handed);
        }
    }

    /// Notes what a receive waits for to which the host may hand its message.
    #[inline]
    pub(crate) fn stand(&self, receive: u64, tags: &[TypeTag], flags: u32) {
        self.standing.set(Standing { receive, tags: tags.as_ptr(), tag_count: tags.len(), flags });
    }

    /// The receive that has just read what came with the poll, if the same is to be received again and no receive was
    /// begun since: it goes on as the new one, without a word to the host.
    #[inline]
    pub(crate) fn stand_again(&self, tags: &[TypeTag], flags: u32) -> Option<u64> {
        if !self.may_stand_again.replace(false) || self.hibernates.get() {
            return None;
        }
        let standing = self.standing.get();
        let same = standing.tags == tags.as_ptr() && standing.tag_count == tags.len() && standing.flags == flags;
        if !same || self.last_id.get() != standing.receive {
            return None;
        }
        self.stands_again.set(true);
        Some(standing.receive)
    }

    /// A receive is over or given up: the host is told so.
    #[inline]
    pub(crate) fn cancel(&self, receive: u64) {
        if self.handed.get() == receive {
            self.put_back();
        }
        if self.standing.get().receive == receive {
            self.stands_again.set(false);
        }
        sys::cancel(receive);
    }

    /// The breath's two looks: the first asks to be polled again, the second ends it.
    fn look_again(&self, receive: u64) {
        let wanted = Wanted {
            after_seq: 0,
            reference: Ref::NONE,
            timeout_ns: TakeSpec::FOREVER,
            flags: take_flags::YIELD,
            tags: &[],
        };
        with_inbox(|inbox| sys::take(receive, &wanted, inbox.room()));
    }

    /// A number for a new receive.
    #[inline]
    pub(crate) fn next_id(&self) -> u64 {
        let id = self.last_id.get() + 1;
        self.last_id.set(id);
        id
    }

    /// Whether the host woke this receive and it has not been asked about since.
    pub(crate) fn is_woken(&self, receive: u64) -> bool {
        self.woken.get() == receive || self.woken_before.borrow().contains(&receive)
    }

    /// Whether the host woke this receive since it was last asked about.
    #[inline]
    pub(crate) fn was_woken(&self, receive: u64) -> bool {
        if self.woken.get() == receive {
            self.woken.set(0);
            return true;
        }
        let mut before = self.woken_before.borrow_mut();
        if before.is_empty() {
            return false;
        }
        let found = before.iter().position(|id| *id == receive);
        found.map(|at| before.swap_remove(at)).is_some()
    }

    /// Notes whom to wake when the host wakes `receive`.
    #[inline]
    pub(crate) fn wait(&self, receive: u64, waker: &Waker) {
        let mut wakers = self.wakers.borrow_mut();
        if waker.will_wake(&ROOT_WAKER) && wakers.is_empty() {
            return;
        }
        match wakers.binary_search_by_key(&receive, |(id, _)| *id) {
            Ok(at) => wakers[at].1.clone_from(waker),
            Err(at) => wakers.insert(at, (receive, waker.clone())),
        }
    }

    /// Forgets a receive that is over.
    #[inline]
    pub(crate) fn forget(&self, receive: u64) {
        self.was_woken(receive);
        let mut wakers = self.wakers.borrow_mut();
        if !wakers.is_empty()
            && let Ok(at) = wakers.binary_search_by_key(&receive, |(id, _)| *id)
        {
            wakers.remove(at);
        }
    }

    #[inline]
    fn wake(&self, receive: u64) {
        let wakers = self.wakers.borrow();
        if wakers.is_empty() {
            return;
        }
        let found = wakers.binary_search_by_key(&receive, |(id, _)| *id).ok().map(|at| wakers[at].1.clone());
        drop(wakers);
        if let Some(waker) = found {
            waker.wake();
        }
    }

    /// Changes places with the executor of another process.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn swap(&self, other: &Self) {
        self.root.swap(&other.root);
        self.last_id.swap(&other.last_id);
        self.woken.swap(&other.woken);
        self.woken_before.swap(&other.woken_before);
        self.wakers.swap(&other.wakers);
        self.handed.swap(&other.handed);
        self.standing.swap(&other.standing);
        self.may_stand_again.swap(&other.may_stand_again);
        self.stands_again.swap(&other.stands_again);
        self.again.swap(&other.again);
        self.breath.swap(&other.breath);
        self.state.swap(&other.state);
        self.starter.swap(&other.starter);
        self.hibernates.swap(&other.hibernates);
    }

    /// Says where the state is, from now until the next call.
    #[inline]
    pub(crate) fn set_state(&self, source: Option<StateSource>) {
        self.state.set(source);
    }

    /// Says whether the process expects nothing soon.
    pub(crate) fn set_hibernates(&self, hibernates: bool) {
        self.hibernates.set(hibernates);
    }

    /// Whether the process expects nothing soon; it is said once.
    #[inline]
    pub(crate) fn take_hibernates(&self) -> bool {
        self.hibernates.replace(false)
    }

    /// Says who waits for this process to start.
    pub(crate) fn set_starter(&self, starter: Option<(Pid, Ref)>) {
        self.starter.set(starter);
    }

    /// Who waits for this process to start; afterwards nobody does.
    pub(crate) fn take_starter(&self) -> Option<(Pid, Ref)> {
        self.starter.take()
    }

    /// The state of a server between two messages.
    pub(crate) fn state(&self) -> Option<StateSource> {
        self.state.get()
    }
}
