//! [`Slots`]: the linear memories of all guests of one engine, in one mapping.
//!
//! A hundred thousand mappings are more than a kernel gives; one is enough. It is cut into regions,
//! one for each size class, and each region into slots. A memory that outgrows its slot is copied to
//! one of the next class. Which guest owns a slot is not known here.
//!
//! Some slots that come back stay resident, and are wiped when they are handed out again: giving pages
//! to the kernel and getting them back costs several times as much, and disturbs every other thread.
//!
//! Invariant: a slot that is handed out reads as zero throughout, and belongs to one memory.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmtime::{LinearMemory, MemoryCreator, MemoryType};

use crate::pagemap::{PAGE, PageMap};

/// Bytes of a slot of each class. The last is all that a 32-bit guest can address.
const CLASSES: [usize; 6] = [256 << 10, 2 << 20, 16 << 20, 128 << 20, 1 << 30, 4 << 30];

/// Parts of the mapping: one region for each class, one for the table of sizes, one spare.
const REGIONS: usize = 8;
const SIZES_REGION: usize = CLASSES.len();

/// Slots of the smallest class that stay resident after use.
const WARM_MAX: usize = 256;

/// A mapping smaller than this is not worth having.
const MAPPING_BYTES_MIN: usize = 1 << 30;

/// All slots.
#[derive(Debug)]
pub(crate) struct Slots {
    base: *mut u8,
    region_bytes: usize,
    classes: [Class; CLASSES.len()],
    pagemap: PageMap,
}

// SAFETY: `base` is the address of a mapping that lives as long as the value; who may touch which
// bytes of it is settled by the ownership of slots, and the table of sizes is atomic.
unsafe impl Send for Slots {}
// SAFETY: as above; the free lists are behind mutexes.
unsafe impl Sync for Slots {}

#[derive(Debug)]
struct Class {
    bytes: usize,
    count: usize,
    free: Mutex<FreeList>,
}

#[derive(Debug, Default)]
struct FreeList {
    /// Slots from here on have never been used.
    fresh: usize,
    /// Slots that came back; they are zero.
    back: Vec<u32>,
    /// Slots that came back as they were.
    warm: Vec<u32>,
}

/// A slot: class and index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    class: usize,
    index: usize,
}

impl Slots {
    /// A mapping of `bytes` of address space, or of the largest half, quarter … of it that there is.
    pub(crate) fn new(bytes: usize) -> Result<Arc<Self>, std::io::Error> {
        let mut bytes = bytes.max(MAPPING_BYTES_MIN).next_power_of_two();
        let base = loop {
            // SAFETY: a fresh anonymous mapping at an address of the kernel's choice.
            let base = unsafe {
                libc::mmap(
                    std::ptr::null_mut(),
                    bytes,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                    -1,
                    0,
                )
            };
            if base != libc::MAP_FAILED {
                break base;
            }
            if bytes <= MAPPING_BYTES_MIN {
                return Err(std::io::Error::last_os_error());
            }
            bytes /= 2;
        };
        // Huge pages would make each guest resident with 2 MiB. Where the kernel has none the call
        // fails, which is as good.
        // SAFETY: the mapping is ours and not in use yet.
        unsafe { libc::madvise(base, bytes, libc::MADV_NOHUGEPAGE) };
        let region_bytes = bytes / REGIONS;
        let sizes = region_bytes / size_of::<AtomicUsize>() / CLASSES.len();
        let classes = CLASSES.map(|class| Class {
            bytes: class,
            count: (region_bytes / class).min(sizes),
            free: Mutex::default(),
        });
        Ok(Arc::new(Self { base: base.cast(), region_bytes, classes, pagemap: PageMap::open() }))
    }

    /// Makes the memory at `base` read as if it had just been made with `bytes` bytes and the given
    /// pages: ascending page numbers with their contents, all within `bytes`.
    ///
    /// The caller tells wasmtime of the new size. False if no slot begins at `base` or `bytes` does
    /// not fit into it; nothing has changed then.
    ///
    /// # Safety
    /// The memory at `base` must be the caller's alone while this runs.
    pub(crate) unsafe fn reset(&self, base: *mut u8, bytes: usize, pages: &[(u32, Box<[u8; PAGE]>)]) -> bool {
        let Some(slot) = self.slot_at(base) else { return false };
        if bytes > self.classes[slot.class].bytes || pages.last().is_some_and(|(n, _)| (*n as usize + 1) * PAGE > bytes)
        {
            return false;
        }
        self.wipe(slot, pages);
        self.size(slot).store(bytes, Ordering::Relaxed);
        true
    }

    /// Makes a slot zero except for the given pages.
    fn wipe(&self, slot: Slot, pages: &[(u32, Box<[u8; PAGE]>)]) {
        let base = self.address(slot);
        let start = base as usize;
        let used = self.size(slot).load(Ordering::Relaxed);
        let mut touched = TouchedPages::default();
        self.pagemap.touched(start..start + used.next_multiple_of(PAGE), |run| touched.add(run));
        let copy = |page: u32, content: &[u8; PAGE]| {
            // SAFETY: the callers give pages within the slot, which is theirs.
            unsafe { std::ptr::copy_nonoverlapping(content.as_ptr(), base.add(page as usize * PAGE), PAGE) };
        };
        let Some(runs) = touched.runs() else {
            self.discard(slot);
            return pages.iter().for_each(|(page, content)| copy(*page, content));
        };
        let mut pages = pages.iter().peekable();
        for run in runs {
            let run = ((run.start - start) / PAGE) as u32..((run.end - start) / PAGE) as u32;
            for page in run {
                while let Some((n, content)) = pages.next_if(|(n, _)| *n < page) {
                    copy(*n, content);
                }
                match pages.next_if(|(n, _)| *n == page) {
                    Some((_, content)) => copy(page, content),
                    // SAFETY: the page is in the reported range, which lies in the slot.
                    None => unsafe { std::ptr::write_bytes(base.add(page as usize * PAGE), 0, PAGE) },
                }
            }
        }
        pages.for_each(|(page, content)| copy(*page, content));
    }

    /// Calls `found` with each run of pages (numbers) of the memory at `base` that may differ from zero.
    pub(crate) fn touched(&self, base: *const u8, bytes: usize, mut found: impl FnMut(Range<usize>)) {
        let start = base as usize;
        self.pagemap.touched(start..start + bytes.next_multiple_of(PAGE), |run| {
            found((run.start - start) / PAGE..(run.end - start) / PAGE);
        });
    }

    /// Whether the kernel says which pages are resident.
    pub(crate) fn sees_pages(&self) -> bool {
        self.pagemap.sees()
    }

    /// Slots that are handed out at present.
    pub(crate) fn in_use(&self) -> usize {
        let used = |class: &Class| {
            let free = lock(&class.free);
            free.fresh - free.back.len() - free.warm.len()
        };
        self.classes.iter().map(used).sum()
    }

    fn take(&self, bytes: usize) -> Option<Slot> {
        let fits = self.classes.iter().enumerate().filter(|(_, class)| class.bytes >= bytes);
        for (class, of) in fits {
            let mut free = lock(&of.free);
            let warm = free.warm.pop();
            let index = match warm.or_else(|| free.back.pop()) {
                Some(index) => index as usize,
                None if free.fresh < of.count => {
                    free.fresh += 1;
                    free.fresh - 1
                }
                None => continue,
            };
            drop(free);
            let slot = Slot { class, index };
            if warm.is_some() {
                self.wipe(slot, &[]);
            }
            self.size(slot).store(bytes, Ordering::Relaxed);
            return Some(slot);
        }
        None
    }

    fn give_back(&self, slot: Slot) {
        if slot.class == 0 && self.pagemap.sees() {
            let mut free = lock(&self.classes[0].free);
            if free.warm.len() < WARM_MAX {
                free.warm.push(slot.index as u32);
                return;
            }
        }
        self.discard(slot);
        lock(&self.classes[slot.class].free).back.push(slot.index as u32);
    }

    /// Makes a slot zero and not resident.
    fn discard(&self, slot: Slot) {
        let base = self.address(slot);
        // SAFETY: the slot belongs to the caller.
        let done = unsafe { libc::madvise(base.cast(), self.classes[slot.class].bytes, libc::MADV_DONTNEED) };
        if done != 0 {
            let used = self.size(slot).load(Ordering::Relaxed);
            // SAFETY: as above; beyond its size a memory is zero.
            unsafe { std::ptr::write_bytes(base, 0, used) };
        }
    }

    fn address(&self, slot: Slot) -> *mut u8 {
        let offset = slot.class * self.region_bytes + slot.index * self.classes[slot.class].bytes;
        // SAFETY: class and index are in range, so the offset is inside the mapping.
        unsafe { self.base.add(offset) }
    }

    fn slot_at(&self, address: *const u8) -> Option<Slot> {
        let offset = (address as usize).checked_sub(self.base as usize)?;
        let class = offset / self.region_bytes;
        let of = self.classes.get(class)?;
        let within = offset % self.region_bytes;
        let index = within / of.bytes;
        (within.is_multiple_of(of.bytes) && index < of.count).then_some(Slot { class, index })
    }

    /// The length of the memory in a slot: kept here, so that whoever knows its address can change it.
    fn size(&self, slot: Slot) -> &AtomicUsize {
        let table = self.region_bytes / CLASSES.len() / size_of::<AtomicUsize>() * slot.class + slot.index;
        // SAFETY: `count` of each class is at most the length of its part of the table, which lies in
        // a region of its own; the mapping began as zeros and is aligned to pages.
        unsafe { &*self.base.add(SIZES_REGION * self.region_bytes).cast::<AtomicUsize>().add(table) }
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        // SAFETY: every memory holds the slots, so none is left.
        unsafe { libc::munmap(self.base.cast(), self.region_bytes * REGIONS) };
    }
}

/// The runs of pages that a guest touched, as long as they are few.
#[derive(Default)]
struct TouchedPages {
    runs: [Range<usize>; Self::RUNS_MAX],
    count: usize,
    pages: usize,
}

impl TouchedPages {
    const RUNS_MAX: usize = 16;
    /// Above this, giving the pages back to the kernel is cheaper than writing them.
    const PAGES_MAX: usize = 64;

    fn add(&mut self, run: Range<usize>) {
        self.pages += run.len() / PAGE;
        if let Some(slot) = self.runs.get_mut(self.count) {
            *slot = run;
        }
        self.count += 1;
    }

    fn runs(&self) -> Option<&[Range<usize>]> {
        if self.pages > Self::PAGES_MAX { None } else { self.runs.get(..self.count) }.map(|runs| runs as _)
    }
}

/// The slots as wasmtime's source of memories.
#[derive(Debug)]
pub(crate) struct SlotMemories(pub(crate) Arc<Slots>);

/// A linear memory in a slot.
struct SlotMemory {
    slots: Arc<Slots>,
    slot: Slot,
}

// SAFETY: memories are zero when made, at least as large as asked for, and the engine's configuration
// asks neither for guards nor for a reservation, so that compiled code checks every access.
unsafe impl MemoryCreator for SlotMemories {
    fn new_memory(
        &self,
        _ty: MemoryType,
        minimum: usize,
        _maximum: Option<usize>,
        reserved_bytes: Option<usize>,
        guard_bytes: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        if reserved_bytes.unwrap_or(0) != 0 || guard_bytes != 0 {
            return Err("slots have no guards; this is a bug in the engine's configuration".into());
        }
        let slot = self.0.take(minimum).ok_or_else(|| no_slot(minimum))?;
        Ok(Box::new(SlotMemory { slots: Arc::clone(&self.0), slot }))
    }
}

// SAFETY: `as_ptr` is valid for `byte_capacity` bytes for as long as the slot is owned, and moves only
// in `grow_to` beyond the capacity.
unsafe impl LinearMemory for SlotMemory {
    fn byte_size(&self) -> usize {
        self.slots.size(self.slot).load(Ordering::Relaxed)
    }

    fn byte_capacity(&self) -> usize {
        self.slots.classes[self.slot.class].bytes
    }

    fn grow_to(&mut self, new_size: usize) -> wasmtime::Result<()> {
        if new_size > self.byte_capacity() {
            let larger = self.slots.take(new_size).ok_or_else(|| wasmtime::Error::msg(no_slot(new_size)))?;
            let (from, to) = (self.as_ptr(), self.slots.address(larger));
            self.slots.touched(from, self.byte_size(), |run| {
                // SAFETY: both slots are ours, do not overlap, and the smaller one holds the run.
                unsafe {
                    std::ptr::copy_nonoverlapping(
                        from.add(run.start * PAGE),
                        to.add(run.start * PAGE),
                        run.len() * PAGE,
                    )
                };
            });
            self.slots.give_back(std::mem::replace(&mut self.slot, larger));
        }
        self.slots.size(self.slot).store(new_size, Ordering::Relaxed);
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.slots.address(self.slot)
    }
}

impl Drop for SlotMemory {
    fn drop(&mut self) {
        self.slots.give_back(self.slot);
    }
}

fn no_slot(bytes: usize) -> String {
    format!("no slot for a memory of {bytes} bytes is left in the engine's mapping; stop some processes")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(blind: bool) -> Arc<Slots> {
        let mut slots = Slots::new(1 << 36).expect("64 GiB of address space");
        if blind {
            Arc::get_mut(&mut slots).expect("nobody else has it").pagemap = PageMap::blind();
        }
        slots
    }

    fn memory(slots: &Arc<Slots>, bytes: usize) -> SlotMemory {
        SlotMemory { slots: Arc::clone(slots), slot: slots.take(bytes).expect("there is room") }
    }

    fn bytes(memory: &mut SlotMemory) -> &mut [u8] {
        // SAFETY: the slot belongs to this memory, which is borrowed.
        unsafe { std::slice::from_raw_parts_mut(memory.as_ptr(), memory.byte_size()) }
    }

    #[test]
    fn a_slot_that_comes_back_is_zero_for_the_next() {
        let slots = slots(false);
        let mut first = memory(&slots, 1 << 16);
        bytes(&mut first).fill(7);
        let address = first.as_ptr();
        drop(first);
        let mut second = memory(&slots, 1 << 16);
        assert_eq!(second.as_ptr(), address);
        assert!(bytes(&mut second).iter().all(|b| *b == 0));
        assert_eq!(slots.in_use(), 1);
    }

    #[test]
    fn growth_keeps_the_bytes_and_moves_up_a_class() {
        for blind in [false, true] {
            let slots = slots(blind);
            let mut memory = memory(&slots, 1 << 16);
            bytes(&mut memory)[60_000] = 9;
            let before = memory.as_ptr();
            memory.grow_to(256 << 10).expect("within the slot");
            assert_eq!(memory.as_ptr(), before);
            memory.grow_to(3 << 20).expect("into a larger class");
            assert_ne!(memory.as_ptr(), before);
            assert_eq!(bytes(&mut memory).iter().filter(|b| **b != 0).count(), 1);
            assert_eq!(bytes(&mut memory)[60_000], 9);
            assert_eq!(slots.in_use(), 1);
        }
    }

    #[test]
    fn reset_gives_exactly_the_image_however_much_was_touched() {
        let pages = vec![(1, Box::new([5; PAGE])), (7, Box::new([6; PAGE]))];
        for blind in [false, true] {
            for touched in [0, 1, 40, 300] {
                let slots = slots(blind);
                let mut memory = memory(&slots, 1 << 16);
                memory.grow_to(2 << 20).expect("room");
                for page in 0..touched {
                    bytes(&mut memory)[page * PAGE + 17] = 1;
                }
                // SAFETY: the memory is ours.
                assert!(unsafe { slots.reset(memory.as_ptr(), 1 << 16, &pages) });
                assert_eq!(memory.byte_size(), 1 << 16);
                memory.grow_to(2 << 20).expect("room");
                for (page, content) in bytes(&mut memory).chunks(PAGE).enumerate() {
                    let expected = if page == 1 {
                        5
                    } else if page == 7 {
                        6
                    } else {
                        0
                    };
                    assert!(content.iter().all(|b| *b == expected), "page {page}, {touched} touched, blind {blind}");
                }
            }
        }
    }

    #[test]
    fn a_full_region_overflows_into_the_next_class_and_then_refuses() {
        let slots = Slots::new(1 << 30).expect("1 GiB of address space");
        let mut memories = Vec::new();
        while let Some(slot) = slots.take(100 << 20) {
            memories.push(SlotMemory { slots: Arc::clone(&slots), slot });
        }
        assert_eq!(memories.len(), 1);
        assert!(slots.take(5 << 30).is_none());
    }
}
