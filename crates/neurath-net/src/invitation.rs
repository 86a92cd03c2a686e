//! The text that lets one node into a cluster.
//!
//! It refuses to know who has used it. Invariant: a text that was cut or mistyped is told from one that is not valid.
//!
//! # Format
//!
//! `neurath1.` and, in base 64 (RFC 4648, section 5, without padding), these bytes; integers are little-endian:
//!
//! | bytes | meaning |
//! |---|---|
//! | 16 | secret |
//! | 32 | BLAKE3 of the authority's certificate (DER) |
//! | 8 | the node that answers |
//! | 8 | valid until, in seconds since the Unix epoch |
//! | 1 to 255 | the address of that node |
//! | 4 | the beginning of BLAKE3 of everything before |
//!
//! The prefix is the version. Version 1 is the first.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::BASE64URL_NOPAD;
use neurath_proto::NodeId;

const PREFIX: &str = "neurath1.";
const FIXED_BYTES: usize = 16 + 32 + 8 + 8;
const SUM_BYTES: usize = 4;
/// An address in an invitation has at most this many bytes.
pub(crate) const ADDRESS_BYTES_MAX: usize = 255;
/// The longest text that is looked at.
const TEXT_BYTES_MAX: usize = 1024;

/// See the module.
#[derive(Clone, PartialEq, Eq)]
pub struct Invitation {
    pub(crate) secret: [u8; 16],
    pub(crate) ca_hash: [u8; 32],
    pub(crate) node: NodeId,
    pub(crate) until: SystemTime,
    pub(crate) address: String,
}

impl Invitation {
    /// Where the node that answers is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The node that answers.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Until when it is valid, by the clock of the authority's node.
    pub fn valid_until(&self) -> SystemTime {
        self.until
    }
}

/// Without the secret, so that it can stand in a log.
impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Invitation({} at {})", self.node, self.address)
    }
}

impl fmt::Display for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(FIXED_BYTES + self.address.len() + SUM_BYTES);
        bytes.extend_from_slice(&self.secret);
        bytes.extend_from_slice(&self.ca_hash);
        bytes.extend_from_slice(&self.node.0.to_le_bytes());
        let until = self.until.duration_since(UNIX_EPOCH).unwrap_or_default();
        bytes.extend_from_slice(&until.as_secs().to_le_bytes());
        bytes.extend_from_slice(self.address.as_bytes());
        let sum = sum(&bytes);
        bytes.extend_from_slice(&sum);
        write!(f, "{PREFIX}{}", BASE64URL_NOPAD.encode(&bytes))
    }
}

fn sum(bytes: &[u8]) -> [u8; SUM_BYTES] {
    let hash = blake3::hash(bytes);
    std::array::from_fn(|i| hash.as_bytes()[i])
}

/// Why a text is no invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvitationError {
    /// It is something else.
    #[error("this is no invitation: one begins with `{PREFIX}`; `neurath cluster invite` prints one")]
    Other,
    /// It was damaged on its way.
    #[error("the invitation was cut or mistyped; copy it again, the whole line")]
    Damaged,
}

impl FromStr for Invitation {
    type Err = InvitationError;

    fn from_str(text: &str) -> Result<Self, InvitationError> {
        let text = text.trim();
        let encoded = text.strip_prefix(PREFIX).ok_or(InvitationError::Other)?;
        if encoded.len() > TEXT_BYTES_MAX {
            return Err(InvitationError::Damaged);
        }
        let bytes = BASE64URL_NOPAD.decode(encoded.as_bytes()).map_err(|_| InvitationError::Damaged)?;
        let body = bytes.len().checked_sub(SUM_BYTES).map(|at| bytes.split_at(at));
        let Some((body, _)) = body.filter(|(body, found)| *found == sum(body)) else {
            return Err(InvitationError::Damaged);
        };
        let (Some(fixed), Some(address)) = (body.get(..FIXED_BYTES), body.get(FIXED_BYTES..)) else {
            return Err(InvitationError::Damaged);
        };
        let address = std::str::from_utf8(address).map_err(|_| InvitationError::Damaged)?;
        if address.is_empty() || address.len() > ADDRESS_BYTES_MAX {
            return Err(InvitationError::Damaged);
        }
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| fixed[at + i]));
        Ok(Self {
            secret: std::array::from_fn(|i| fixed[i]),
            ca_hash: std::array::from_fn(|i| fixed[16 + i]),
            node: NodeId(word(48)),
            until: UNIX_EPOCH.checked_add(Duration::from_secs(word(56))).ok_or(InvitationError::Damaged)?,
            address: address.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invitation() -> Invitation {
        Invitation {
            secret: [1; 16],
            ca_hash: [2; 32],
            node: NodeId(3),
            until: UNIX_EPOCH + Duration::from_secs(4),
            address: "127.0.0.1:7700".into(),
        }
    }

    const GOLDEN: &str = concat!(
        "neurath1.AQEBAQEBAQEBAQEBAQEBAQICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAwAAAAAAAAAEAAAAAAAAADEy",
        "Ny4wLjAuMTo3NzAwZC5UyA"
    );

    #[test]
    fn an_invitation_has_a_golden_text_and_is_read_back() {
        let text = invitation().to_string();
        assert_eq!(text, GOLDEN);
        assert_eq!(text.parse(), Ok(invitation()));
        assert_eq!(format!("  {text}\n").parse(), Ok(invitation()));
    }

    #[test]
    fn a_mistyped_invitation_is_told_from_something_else() {
        let text = invitation().to_string();
        assert_eq!("hello".parse::<Invitation>(), Err(InvitationError::Other));
        for at in PREFIX.len()..text.len() {
            let mut wrong = text.clone().into_bytes();
            wrong[at] = if wrong[at] == b'A' { b'B' } else { b'A' };
            let wrong = String::from_utf8(wrong).unwrap();
            assert_eq!(wrong.parse::<Invitation>(), Err(InvitationError::Damaged), "at {at}");
            assert_eq!(text[..at].parse::<Invitation>(), Err(InvitationError::Damaged), "cut at {at}");
        }
    }

    #[test]
    fn a_debugged_invitation_keeps_its_secret() {
        assert_eq!(format!("{:?}", invitation()), "Invitation(0000000000000003 at 127.0.0.1:7700)");
    }
}
