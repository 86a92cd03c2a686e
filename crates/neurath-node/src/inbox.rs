//! What comes into a shard from other threads.
//!
//! Invariant: inputs of one sender are taken in the order in which it pushed them; a push never blocks for longer
//! than it takes to move a vector.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use mio::Waker;

/// See the module.
pub struct Inbox<T> {
    queue: Mutex<Vec<T>>,
    /// Something may be in the queue: spares the shard the lock.
    filled: AtomicBool,
    sleeper: Condvar,
    /// The shard waits for its connections too, and is woken by this.
    waker: OnceLock<Waker>,
    /// It does so at this moment.
    watched: AtomicBool,
}

impl<T> Inbox<T> {
    /// An empty inbox.
    pub fn new() -> Self {
        Self {
            queue: Mutex::new(Vec::new()),
            filled: AtomicBool::new(false),
            sleeper: Condvar::new(),
            waker: OnceLock::new(),
            watched: AtomicBool::new(false),
        }
    }

    /// The shard waits with [`Inbox::watched`] from now on, and is woken by this.
    pub fn set_waker(&self, waker: Waker) {
        // There is one for all of a node's life.
        let _ = self.waker.set(waker);
    }

    /// Adds one input and wakes the shard.
    pub fn push(&self, input: T) {
        let mut queue = self.lock();
        queue.push(input);
        self.filled.store(true, Ordering::SeqCst);
        drop(queue);
        self.wake();
    }

    /// Adds all of `inputs`, in order, and wakes the shard; `inputs` is empty afterwards.
    pub fn append(&self, inputs: &mut Vec<T>) {
        let mut queue = self.lock();
        queue.append(inputs);
        self.filled.store(true, Ordering::SeqCst);
        drop(queue);
        self.wake();
    }

    /// Whether there may be something to take.
    #[inline]
    pub fn is_filled(&self) -> bool {
        self.filled.load(Ordering::Acquire)
    }

    /// Swaps what has come with `into`, which must be empty.
    pub fn take(&self, into: &mut Vec<T>) {
        let mut queue = self.lock();
        self.filled.store(false, Ordering::Relaxed);
        std::mem::swap(&mut *queue, into);
    }

    /// Sleeps until something comes, at most for `at_most` (`None`: as long as it takes).
    pub fn sleep(&self, at_most: Option<Duration>) {
        let queue = self.lock();
        if !queue.is_empty() {
            return;
        }
        match at_most {
            Some(time) => drop(self.sleeper.wait_timeout(queue, time)),
            None => drop(self.sleeper.wait(queue)),
        }
    }

    /// Runs `wait`, which the waker ends; it may wait only if nothing has come.
    pub fn watched(&self, wait: impl FnOnce(bool)) {
        self.watched.store(true, Ordering::SeqCst);
        // Whoever fills it from here on sees that it must wake.
        wait(!self.filled.load(Ordering::SeqCst));
        self.watched.store(false, Ordering::SeqCst);
    }

    fn wake(&self) {
        match self.waker.get() {
            None => self.sleeper.notify_one(),
            Some(waker) => {
                if self.watched.load(Ordering::SeqCst) && self.watched.swap(false, Ordering::SeqCst) {
                    // Nothing can be done about a waker that fails; the shard looks again at its next deadline.
                    let _ = waker.wake();
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        Self::new()
    }
}
