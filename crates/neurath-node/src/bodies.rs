//! [`Bodies`]: the instances of one shard's processes, and the images of those that hibernate.
//!
//! A process that nobody has polled for a while is kept as its image, some kilobytes instead of an instance with its
//! memory; it is made whole when its turn comes, and notices nothing. Which processes exist, and whose turn it is, is
//! the kernel's.
//!
//! Invariant: the body of a process is here, except while its process is being polled.

use std::time::Duration;

use neurath_engine::{Image, ImageError, Instance};
use neurath_kernel::Slot;
use neurath_proto::Pid;

use crate::guest::{Dormant, Guest};

/// Bodies looked at in one step of the sweep, so that it is no pause for anyone.
const STEP: usize = 128;

/// When processes hibernate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hibernation {
    /// A process that was not polled for this long hibernates, or up to twice as long.
    pub after: Duration,
    /// So many processes of a shard stay awake however long they wait: they cost little.
    pub awake_min: usize,
    /// Beyond so many, those hibernate first that were not polled for longest.
    pub awake_max: usize,
}

impl Default for Hibernation {
    fn default() -> Self {
        Self { after: Duration::from_secs(2), awake_min: 256, awake_max: 8192 }
    }
}

/// See the module.
pub struct Bodies {
    rule: Hibernation,
    slots: Vec<Entry>,
    /// Bodies that are awake, those being polled not among them.
    awake: usize,
    /// Where the sweep goes on.
    hand: usize,
    /// When the present sweep began, or is to begin.
    sweep_at: u64,
}

#[derive(Default)]
struct Entry {
    body: Body,
    mark: Mark,
}

#[derive(Default)]
enum Body {
    #[default]
    None,
    Awake(Instance<Guest>),
    Asleep(Box<Sleeper>),
}

struct Sleeper {
    dormant: Dormant,
    image: Box<[u8]>,
}

/// What the sweep knows of a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mark {
    /// Nothing to do: it is not there, hibernates already, or cannot.
    #[default]
    Still,
    /// Not polled since the sweep last came by.
    Idle,
    /// Polled since.
    Polled,
}

/// What a body takes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Bytes of linear memory, or of the image.
    pub bytes: u64,
    /// Whether it is an image.
    pub hibernates: bool,
}

/// What the bodies of a shard take up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BodiesHeld {
    /// Processes with an instance.
    pub awake: u64,
    /// Bytes of their linear memory.
    pub memory_bytes: u64,
    /// Processes that hibernate.
    pub hibernating: u64,
    /// Bytes of their images.
    pub image_bytes: u64,
}

impl Bodies {
    /// None yet.
    pub fn new(rule: Hibernation) -> Self {
        Self { rule, slots: Vec::new(), awake: 0, hand: 0, sweep_at: 0 }
    }

    /// Takes the body of a process out, to run it; wakes it if it hibernates. `Ok(None)`: there is none.
    ///
    /// # Errors
    /// Why it cannot be woken. It hibernates on.
    #[inline]
    pub fn take(&mut self, slot: Slot) -> Result<Option<Instance<Guest>>, ImageError> {
        let Some(entry) = self.slots.get_mut(slot.0 as usize) else { return Ok(None) };
        entry.mark = Mark::Still;
        match std::mem::take(&mut entry.body) {
            Body::Awake(instance) => {
                self.awake -= 1;
                Ok(Some(instance))
            }
            Body::None => Ok(None),
            Body::Asleep(sleeper) => self.wake(slot, *sleeper).map(Some),
        }
    }

    #[cold]
    fn wake(&mut self, slot: Slot, sleeper: Sleeper) -> Result<Instance<Guest>, ImageError> {
        let Sleeper { dormant, image } = sleeper;
        let module = dormant.loaded.module.clone();
        let parsed = Image::from_bytes(image.into_vec(), usize::MAX)?;
        match Instance::resume(&module, Guest::wake(dormant), &parsed) {
            Ok(instance) => Ok(instance),
            Err((guest, error)) => {
                let image = parsed.into_bytes().into_boxed_slice();
                self.slots[slot.0 as usize].body =
                    Body::Asleep(Box::new(Sleeper { dormant: guest.into_dormant(), image }));
                Err(error)
            }
        }
    }

    /// Puts the body of a process back, or its first.
    #[inline]
    pub fn put(&mut self, slot: Slot, instance: Instance<Guest>) {
        let index = slot.0 as usize;
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, Entry::default);
        }
        self.slots[index] = Entry { body: Body::Awake(instance), mark: Mark::Polled };
        self.awake += 1;
        if self.awake > self.rule.awake_max {
            self.make_room();
        }
    }

    /// Forgets the body of a process that has ended; a line that it had begun is logged.
    pub fn remove(&mut self, slot: Slot, pid: Pid) {
        let Some(entry) = self.slots.get_mut(slot.0 as usize) else { return };
        match std::mem::take(&mut entry.body) {
            Body::Awake(mut instance) => {
                self.awake -= 1;
                instance.host_mut().end_line(pid);
                instance.recycle();
            }
            Body::Asleep(mut sleeper) => sleeper.dormant.end_line(pid),
            Body::None => {}
        }
        entry.mark = Mark::default();
    }

    /// What the body of a process takes up; `None` while it is being polled.
    pub fn footprint(&self, slot: Slot) -> Option<Footprint> {
        match &self.slots.get(slot.0 as usize)?.body {
            Body::None => None,
            Body::Awake(instance) => Some(Footprint { bytes: instance.memory_bytes() as u64, hibernates: false }),
            Body::Asleep(sleeper) => Some(Footprint { bytes: sleeper.image.len() as u64, hibernates: true }),
        }
    }

    /// What all bodies take up, those that are being polled not among them.
    pub fn held(&self) -> BodiesHeld {
        let mut held = BodiesHeld::default();
        for entry in &self.slots {
            match &entry.body {
                Body::None => {}
                Body::Awake(instance) => {
                    held.awake += 1;
                    held.memory_bytes += instance.memory_bytes() as u64;
                }
                Body::Asleep(sleeper) => {
                    held.hibernating += 1;
                    held.image_bytes += sleeper.image.len() as u64;
                }
            }
        }
        held
    }

    /// One process fewer is awake, if any was idle.
    #[cold]
    fn make_room(&mut self) {
        for _ in 0..STEP {
            if self.step() {
                return;
            }
        }
    }

    /// Does a part of the sweep if it is due.
    pub fn sweep(&mut self, now: u64) {
        if now < self.sweep_at || self.awake <= self.rule.awake_min {
            return;
        }
        for _ in 0..STEP {
            self.step();
            if self.hand == 0 {
                self.sweep_at = now.saturating_add(self.rule.after.as_nanos() as u64);
                return;
            }
        }
    }

    /// When [`Bodies::sweep`] has something to do next.
    pub fn next_sweep(&self) -> Option<u64> {
        (self.awake > self.rule.awake_min).then_some(self.sweep_at)
    }

    /// Looks at the next body; whether it hibernates now and did not before.
    fn step(&mut self) -> bool {
        let at = self.hand;
        self.hand = if at + 1 < self.slots.len() { at + 1 } else { 0 };
        let Some(entry) = self.slots.get_mut(at) else { return false };
        match entry.mark {
            Mark::Still => false,
            Mark::Polled => {
                entry.mark = Mark::Idle;
                false
            }
            Mark::Idle => self.suspend(at),
        }
    }

    /// A process has said that it will wait for long: it hibernates now.
    pub fn hibernate(&mut self, slot: Slot) {
        self.suspend(slot.0 as usize);
    }

    /// Makes an image of a body that is awake; whether it could.
    fn suspend(&mut self, at: usize) -> bool {
        let Some(entry) = self.slots.get_mut(at) else { return false };
        entry.mark = Mark::Still;
        let Body::Awake(instance) = std::mem::take(&mut entry.body) else { return false };
        match instance.suspend() {
            Ok((image, guest)) => {
                let image = image.into_bytes().into_boxed_slice();
                entry.body = Body::Asleep(Box::new(Sleeper { dormant: guest.into_dormant(), image }));
                self.awake -= 1;
                true
            }
            Err((instance, error)) => {
                tracing::trace!(%error, "a process cannot hibernate");
                entry.body = Body::Awake(instance);
                false
            }
        }
    }
}
