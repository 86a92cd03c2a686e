//! The buffer that the host writes messages, arguments and states into.
//!
//! Invariant: what is in it is valid until the next look for a message; nobody awaits while reading it.

use neurath_proto::abi::MessageHead;

/// Small messages need no allocation: head and payload fit in here.
const SMALL: usize = 1024;

/// A larger buffer that was needed once is kept for the next time, up to this size.
const KEPT_MAX: usize = 64 * 1024;

/// See the module.
#[repr(C, align(8))]
pub(crate) struct Inbox {
    small: [u8; SMALL],
    large: Vec<u8>,
}

impl Inbox {
    pub(crate) const fn new() -> Self {
        Self { small: [0; SMALL], large: Vec::new() }
    }

    /// All of the room there is.
    #[inline]
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if self.large.is_empty() { &mut self.small } else { &mut self.large }
    }

    /// Makes room for `len` bytes.
    pub(crate) fn reserve(&mut self, len: usize) -> &mut [u8] {
        if self.large.len() > KEPT_MAX && len <= KEPT_MAX {
            self.large = Vec::new();
        }
        if self.room().len() < len {
            self.large = vec![0; len];
        }
        self.room()
    }

    /// Makes room for a message of `payload_len` bytes.
    #[cold]
    #[inline(never)]
    pub(crate) fn reserve_message(&mut self, payload_len: u32) {
        self.reserve(MessageHead::SIZE + payload_len as usize);
    }

    /// Whether [`Inbox::room`] is where it always is.
    #[inline]
    pub(crate) fn is_small(&self) -> bool {
        self.large.is_empty()
    }

    /// The host has written into the room that is always there.
    #[inline]
    pub(crate) fn use_small(&mut self) {
        if !self.large.is_empty() {
            self.large = Vec::new();
        }
    }

    /// The first `len` bytes.
    #[inline]
    pub(crate) fn bytes(&self, len: usize) -> &[u8] {
        if self.large.is_empty() { &self.small[..len] } else { &self.large[..len] }
    }

    /// The head of the message that the host has written.
    #[inline]
    pub(crate) fn head(&self) -> MessageHead {
        const { assert!(cfg!(target_endian = "little"), "the ABI's integers are little-endian") };
        let bytes = self.bytes(MessageHead::SIZE);
        // SAFETY: there are 56 bytes, a head is as many without padding, and any bytes are one.
        unsafe { bytes.as_ptr().cast::<MessageHead>().read_unaligned() }
    }

    /// The payload of that message.
    #[inline]
    pub(crate) fn payload(&self, len: u32) -> &[u8] {
        &self.bytes(MessageHead::SIZE + len as usize)[MessageHead::SIZE..]
    }
}
