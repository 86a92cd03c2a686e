//! What a message of a session holds: something for processes, or something that the nodes themselves say.
//!
//! It knows bytes, not what becomes of them. Invariant: decoding allocates nothing and never panics.
//!
//! # Format
//!
//! One byte of kind, then:
//!
//! | kind | body |
//! |---|---|
//! | 0 signal | see [`super::wire`] |
//! | 1 schema | 1 whether more follows, then a piece of an encoded schema; it stands for its hash in what follows |
//! | 2 gossip | a packet of membership |
//! | 3 fetch | 32 BLAKE3 of a module, 8 offset: send me of this module from there |
//! | 4 piece | 32 BLAKE3 of a module, 8 offset, 8 length of the whole, then bytes from there |
//! | 5 absent | 32 BLAKE3 of a module that the speaker does not have |

use alloc::vec::Vec;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// For processes, or for the registrar.
    Signal(&'a [u8]),
    /// A piece of a schema.
    Schema {
        /// Whether more follows.
        more: bool,
        /// The piece.
        bytes: &'a [u8],
    },
    /// For membership.
    Gossip(&'a [u8]),
    /// The speaker wants a module.
    Fetch {
        /// BLAKE3 of it.
        artifact: [u8; 32],
        /// From here on.
        offset: u64,
    },
    /// A piece of a module.
    Piece {
        /// BLAKE3 of the whole.
        artifact: [u8; 32],
        /// Where in it the piece begins.
        offset: u64,
        /// Bytes of the whole.
        length: u64,
        /// The piece.
        bytes: &'a [u8],
    },
    /// The speaker does not have the module.
    Absent {
        /// BLAKE3 of it.
        artifact: [u8; 32],
    },
}

impl<'a> Message<'a> {
    /// The kind of a signal; its body is written behind it by [`super::wire::encode`].
    pub const SIGNAL: u8 = 0;
    /// Where its body begins.
    pub const SIGNAL_AT: usize = 1;

    /// The encoded message.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match *self {
            Self::Signal(bytes) => {
                out.push(Self::SIGNAL);
                out.extend_from_slice(bytes);
            }
            Self::Schema { more, bytes } => {
                out.extend_from_slice(&[1, u8::from(more)]);
                out.extend_from_slice(bytes);
            }
            Self::Gossip(bytes) => {
                out.push(2);
                out.extend_from_slice(bytes);
            }
            Self::Fetch { artifact, offset } => {
                out.push(3);
                out.extend_from_slice(&artifact);
                out.extend_from_slice(&offset.to_le_bytes());
            }
            Self::Piece { artifact, offset, length, bytes } => {
                out.push(4);
                out.extend_from_slice(&artifact);
                out.extend_from_slice(&offset.to_le_bytes());
                out.extend_from_slice(&length.to_le_bytes());
                out.extend_from_slice(bytes);
            }
            Self::Absent { artifact } => {
                out.push(5);
                out.extend_from_slice(&artifact);
            }
        }
        out
    }

    /// The message that `bytes` are, if they are one.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        Some(match kind {
            0 => Self::Signal(rest),
            1 => match rest.split_first()? {
                (more @ 0..=1, bytes) => Self::Schema { more: *more == 1, bytes },
                _ => return None,
            },
            2 => Self::Gossip(rest),
            3 => {
                let (artifact, rest) = rest.split_first_chunk()?;
                let offset = u64::from_le_bytes(rest.try_into().ok()?);
                Self::Fetch { artifact: *artifact, offset }
            }
            4 => {
                let (artifact, rest) = rest.split_first_chunk()?;
                let (offset, rest) = rest.split_first_chunk()?;
                let (length, bytes) = rest.split_first_chunk()?;
                let (offset, length) = (u64::from_le_bytes(*offset), u64::from_le_bytes(*length));
                Self::Piece { artifact: *artifact, offset, length, bytes }
            }
            5 => Self::Absent { artifact: rest.try_into().ok()? },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::Message;

    #[test]
    fn what_was_written_is_read_and_what_is_cut_is_none_or_shorter() {
        let artifact = [9; 32];
        let messages = [
            Message::Signal(&[1, 2]),
            Message::Schema { more: true, bytes: &[3] },
            Message::Gossip(&[4]),
            Message::Fetch { artifact, offset: 5 },
            Message::Piece { artifact, offset: 5, length: 7, bytes: &[6, 7] },
            Message::Absent { artifact },
        ];
        for message in messages {
            let bytes = message.encode();
            assert_eq!(Message::decode(&bytes), Some(message));
            for cut in 0..bytes.len() {
                assert_ne!(Message::decode(&bytes[..cut]), Some(message));
            }
        }
        assert_eq!(Message::decode(&[6]), None);
        assert_eq!(Message::decode(&[1, 2, 0]), None);
        assert_eq!(Message::decode(&[]), None);
    }

    #[test]
    fn the_bytes_of_a_piece_are_those_of_version_1() {
        let bytes = Message::Piece { artifact: [1; 32], offset: 2, length: 3, bytes: &[4] }.encode();
        let mut golden: Vec<u8> = [4].into();
        golden.extend([1; 32]);
        golden.extend([2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4]);
        assert_eq!(bytes, golden);
    }
}
