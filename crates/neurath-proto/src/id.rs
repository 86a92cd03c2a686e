//! Identifiers. Each is a newtype, on the wire too; identity is never an address.
//!
//! Invariant: a [`Pid`] never changes, whatever becomes of the process: its code, its shard, its node.

use core::fmt;
use core::str::FromStr;

/// The identity of a node: the first eight bytes of the BLAKE3 hash of its public key.
///
/// A cluster's authority refuses a key whose identity is taken.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct NodeId(pub u64);

/// Counts a node's lives: it is larger after each start on the same data directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Incarnation(pub u32);

/// Numbers the processes that one incarnation of a node has started.
///
/// `serial % shards` is the shard on which the process was born; that shard knows where it lives now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Serial(pub u64);

/// The name of a process: its home node, that node's incarnation, and a serial.
///
/// The layout is part of the guest ABI: 24 bytes, little-endian, the last four zero.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct Pid {
    /// The node that started the process.
    pub node: NodeId,
    /// Its number among the processes of that incarnation.
    pub serial: Serial,
    /// The life of the node in which it was started.
    pub incarnation: Incarnation,
    #[doc(hidden)]
    pub reserved: u32,
}

impl Pid {
    /// Bytes of a pid in guest memory.
    pub const SIZE: usize = 24;

    /// The pid of process `serial` of the given life of `node`.
    pub const fn new(node: NodeId, incarnation: Incarnation, serial: Serial) -> Self {
        Self { node, serial, incarnation, reserved: 0 }
    }

    /// The bytes that the guest ABI uses.
    #[inline]
    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[0..8].copy_from_slice(&self.node.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.serial.0.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.incarnation.0.to_le_bytes());
        bytes
    }

    /// The pid in `bytes`; the reserved part is ignored.
    #[inline]
    pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        let word = |at: usize| u64::from_le_bytes(core::array::from_fn(|i| bytes[at + i]));
        let half = u32::from_le_bytes(core::array::from_fn(|i| bytes[16 + i]));
        Self::new(NodeId(word(0)), Incarnation(half), Serial(word(8)))
    }
}

/// Names something that one process waits for: a reply, a monitor, a timer.
///
/// Twenty bits hold the epoch of the process's owner when it was made, forty-four a counter, so refs
/// made by a stale owner are never mistaken for those of the present one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Ref(pub u64);

impl Ref {
    /// The absence of a ref.
    pub const NONE: Ref = Ref(0);
    const COUNTER_BITS: u32 = 44;

    /// The ref with this counter under this owner epoch; both are cut to their width.
    pub const fn new(epoch: u32, counter: u64) -> Self {
        let mask = (1 << Self::COUNTER_BITS) - 1;
        Self(((epoch as u64 & 0xf_ffff) << Self::COUNTER_BITS) | (counter & mask))
    }

    /// The owner epoch under which it was made.
    pub const fn epoch(self) -> u32 {
        (self.0 >> Self::COUNTER_BITS) as u32
    }

    /// Its place in the count of its process.
    pub const fn counter(self) -> u64 {
        self.0 & ((1 << Self::COUNTER_BITS) - 1)
    }

    /// Whether it names anything.
    #[inline]
    pub const fn is_some(self) -> bool {
        self.0 != 0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// `serial@node.incarnation`, for example `42@00c3f2e1a5b4d697.1`.
impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}.{}", self.serial.0, self.node, self.incarnation.0)
    }
}

/// As it is displayed: that is how people know it from listings and logs.
impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As it is displayed.
impl fmt::Debug for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What was wrong with the text of a pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParsePidError;

impl fmt::Display for ParsePidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a pid looks like `42@00c3f2e1a5b4d697.1`: serial, node and incarnation")
    }
}

impl core::error::Error for ParsePidError {}

impl FromStr for Pid {
    type Err = ParsePidError;

    fn from_str(text: &str) -> Result<Self, ParsePidError> {
        let (serial, rest) = text.split_once('@').ok_or(ParsePidError)?;
        let (node, incarnation) = rest.split_once('.').ok_or(ParsePidError)?;
        if node.len() != 16 {
            return Err(ParsePidError);
        }
        Ok(Pid::new(
            NodeId(u64::from_str_radix(node, 16).map_err(|_| ParsePidError)?),
            Incarnation(incarnation.parse().map_err(|_| ParsePidError)?),
            Serial(serial.parse().map_err(|_| ParsePidError)?),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_pid_survives_text_and_bytes() {
        let pid = Pid::new(NodeId(0x00c3_f2e1_a5b4_d697), Incarnation(7), Serial(42));
        assert_eq!(pid.to_string(), "42@00c3f2e1a5b4d697.7");
        assert_eq!(pid.to_string().parse(), Ok(pid));
        assert_eq!(Pid::from_bytes(&pid.to_bytes()), pid);
        assert_eq!(core::mem::size_of::<Pid>(), Pid::SIZE);
    }

    #[test]
    fn a_pid_and_a_node_look_the_same_wherever_they_are_printed() {
        let pid = Pid::new(NodeId(0xc3), Incarnation(7), Serial(42));
        assert_eq!(alloc::format!("{:?}", Some(pid)), "Some(42@00000000000000c3.7)");
        assert_eq!(alloc::format!("{:?}", pid.node), "00000000000000c3");
    }

    #[test]
    fn text_that_is_no_pid_is_refused() {
        for text in ["", "42", "42@", "42@1.1", "x@00c3f2e1a5b4d697.1", "1@00c3f2e1a5b4d697.-1"] {
            assert_eq!(text.parse::<Pid>(), Err(ParsePidError), "{text}");
        }
    }

    #[test]
    fn a_ref_keeps_epoch_and_counter_apart() {
        let r = Ref::new(3, 1 << 43);
        assert_eq!((r.epoch(), r.counter()), (3, 1 << 43));
        assert_ne!(Ref::new(1, 5), Ref::new(2, 5));
    }
}
