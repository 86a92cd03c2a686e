//! What both sides of a connection for sessions say first: who they are and whom they mean.
//!
//! It refuses to know who is right; with TLS, the certificate decides. Invariant: nothing longer than
//! [`Preamble::BYTES`] is waited for, and the magic and the version are judged before the rest.
//!
//! # Format
//!
//! Integers are little-endian. The side that dialed speaks first; the other answers with its own when it lets the
//! dialer in, so that whoever has dialed knows that it was let in. With TLS it is the first thing that is encrypted.
//!
//! | bytes | meaning |
//! |---|---|
//! | 4 | magic `NRNT` |
//! | 4 | version, 1 |
//! | 8 | the node that speaks |
//! | 8 | the node that is meant |
//!
//! Version 1 is the first.

use neurath_proto::NodeId;

/// The first bytes of a connection.
const MAGIC: [u8; 4] = *b"NRNT";
/// The version of this format.
const VERSION: u32 = 1;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Preamble {
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
}

impl Preamble {
    pub(crate) const BYTES: usize = 24;

    pub(crate) fn encode(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[0..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&VERSION.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.from.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.to.0.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; Self::BYTES]) -> Result<Self, PreambleError> {
        if bytes[0..4] != MAGIC {
            return Err(PreambleError::Magic);
        }
        let found = u32::from_le_bytes(std::array::from_fn(|i| bytes[4 + i]));
        if found != VERSION {
            return Err(PreambleError::Version { found });
        }
        let word = |at: usize| NodeId(u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i])));
        Ok(Self { from: word(8), to: word(16) })
    }
}

/// Why the first bytes are none of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PreambleError {
    /// Whoever is there is no node, or secures its connections otherwise.
    #[error("whoever is there does not speak as a node does")]
    Magic,
    /// It speaks another version.
    #[error("it speaks version {found} of the preamble, and this node version {VERSION}; update the older node")]
    Version {
        /// That version.
        found: u32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preamble_has_golden_bytes_and_is_read_back() {
        let preamble = Preamble { from: NodeId(0x0102_0304_0506_0708), to: NodeId(9) };
        let bytes = *b"NRNT\x01\0\0\0\x08\x07\x06\x05\x04\x03\x02\x01\x09\0\0\0\0\0\0\0";
        assert_eq!(preamble.encode(), bytes);
        assert_eq!(Preamble::decode(&bytes), Ok(preamble));
    }

    #[test]
    fn strangers_and_other_versions_are_told_apart() {
        let mut bytes = Preamble { from: NodeId(1), to: NodeId(2) }.encode();
        bytes[4] = 2;
        assert_eq!(Preamble::decode(&bytes), Err(PreambleError::Version { found: 2 }));
        bytes[0] = b'G';
        assert_eq!(Preamble::decode(&bytes), Err(PreambleError::Magic));
    }
}
