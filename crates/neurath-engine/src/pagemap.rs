//! [`PageMap`]: which pages of a range of our own memory have ever been touched.
//!
//! It asks Linux (`PAGEMAP_SCAN`, since 6.7) and knows nothing of guests. Invariant: a page that is
//! not reported reads as zero; where the kernel cannot say, every page is reported.

use std::fs::File;
use std::ops::Range;
use std::os::fd::AsRawFd;

/// Bytes of a page. [`PageMap::open`] gives up the kernel's help where pages are larger.
pub(crate) const PAGE: usize = 4096;

/// Asks the kernel which pages are there.
#[derive(Debug)]
pub(crate) struct PageMap(Option<File>);

/// `struct pm_scan_arg` of `linux/fs.h`.
#[repr(C)]
struct ScanArguments {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    regions: u64,
    regions_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// `struct page_region` of `linux/fs.h`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

/// `_IOWR('f', 16, struct pm_scan_arg)`
const PAGEMAP_SCAN: u64 = 0xc060_6610;
const PAGE_IS_PRESENT: u64 = 1 << 3;
const PAGE_IS_SWAPPED: u64 = 1 << 4;
const REGIONS: usize = 64;

impl PageMap {
    /// Tries the kernel on a page that is there; without its help everything counts as touched.
    pub(crate) fn open() -> Self {
        let probe = Box::new([1_u8; 2 * PAGE]);
        let start = (probe.as_ptr() as usize).next_multiple_of(PAGE);
        // SAFETY: sysconf only reads a constant of the system.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let Ok(file) = File::open("/proc/self/pagemap") else { return Self(None) };
        let map = Self(Some(file));
        let mut found = false;
        let answered = map.scan(start..start + PAGE, |_| found = true);
        if page == PAGE as i64 && answered && found { map } else { Self(None) }
    }

    /// Without the kernel's help.
    #[cfg(test)]
    pub(crate) fn blind() -> Self {
        Self(None)
    }

    /// Whether the kernel helps.
    pub(crate) fn sees(&self) -> bool {
        self.0.is_some()
    }

    /// Calls `found` with each run of pages in `range` (addresses, whole pages) that may differ from
    /// zero, in ascending order.
    pub(crate) fn touched(&self, range: Range<usize>, mut found: impl FnMut(Range<usize>)) {
        let mut reported = range.start;
        let complete = self.scan(range.clone(), |run| {
            reported = run.end;
            found(run);
        });
        if !complete && reported < range.end {
            found(reported..range.end);
        }
    }

    /// Whether the kernel answered for the whole range.
    fn scan(&self, range: Range<usize>, mut found: impl FnMut(Range<usize>)) -> bool {
        let Some(file) = &self.0 else { return false };
        let mut regions = [Region { start: 0, end: 0, categories: 0 }; REGIONS];
        let mut start = range.start as u64;
        let end = range.end as u64;
        while start < end {
            let mut arguments = ScanArguments {
                size: size_of::<ScanArguments>() as u64,
                flags: 0,
                start,
                end,
                walk_end: 0,
                regions: regions.as_mut_ptr() as u64,
                regions_len: REGIONS as u64,
                max_pages: 0,
                category_inverted: 0,
                category_mask: 0,
                category_anyof_mask: PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
                return_mask: PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
            };
            // SAFETY: the arguments and the regions they point to live through the call, and
            // `regions_len` is the number of regions there is room for.
            let count = unsafe { libc::ioctl(file.as_raw_fd(), PAGEMAP_SCAN as _, &mut arguments) };
            let Ok(count) = usize::try_from(count) else { return false };
            for region in regions.iter().take(count) {
                found(region.start as usize..region.end as usize);
            }
            if arguments.walk_end <= start {
                return false;
            }
            start = arguments.walk_end;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_pages_that_were_written_are_reported_or_all() {
        let bytes = 64 * PAGE;
        // SAFETY: a fresh anonymous mapping; its result is checked below.
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
        assert_ne!(base, libc::MAP_FAILED);
        // SAFETY: the mapping is ours alone.
        unsafe { libc::madvise(base, bytes, libc::MADV_NOHUGEPAGE) };
        let start = base as usize;
        for page in [3, 4, 60] {
            // SAFETY: the page is inside the mapping.
            unsafe { (base as *mut u8).add(page * PAGE).write(1) };
        }
        let runs = |map: &PageMap| {
            let mut runs = Vec::new();
            map.touched(start..start + bytes, |run| runs.push((run.start - start) / PAGE..(run.end - start) / PAGE));
            runs
        };
        let map = PageMap::open();
        if map.sees() {
            assert_eq!(runs(&map), [3..5, 60..61]);
        }
        assert_eq!(runs(&PageMap::blind()).as_slice(), std::slice::from_ref(&(0..64)));
        // SAFETY: nothing refers to the mapping any more.
        unsafe { libc::munmap(base, bytes) };
    }
}
