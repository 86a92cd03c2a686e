//! Packets of membership as bytes: what foca writes and reads, checked before it sees it.
//!
//! It knows the wire form and its bounds, and not what is believed. Invariant: nothing is allocated for a packet that is
//! not there in its bytes.

use alloc::string::String;
use alloc::vec::Vec;

use foca::{Codec, Header, Message, PostcardCodec};
use neurath_proto::id::{Incarnation, NodeId};
use serde::{Deserialize, Serialize};

use super::types::{Member, PacketError};

/// A node as foca knows it. The order says which of two for one node is the later.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) node: u64,
    pub(super) incarnation: u32,
    /// Counts what a node has said about itself in one life: it says something new, or that it is not down.
    pub(super) generation: u32,
    /// It is the last one of this life.
    pub(super) left: bool,
    name: String,
    address: String,
    version: String,
}

impl Identity {
    pub(super) fn new(member: Member, generation: u32) -> Self {
        let Member { node, incarnation, name, address, version } = member;
        Self { node: node.0, incarnation: incarnation.0, generation, left: false, name, address, version }
    }

    /// Stands for a node of which nothing is known, to ask it who it is.
    pub(super) fn unknown(node: NodeId) -> Self {
        let text = String::new;
        Self {
            node: node.0,
            incarnation: 0,
            generation: 0,
            left: false,
            name: text(),
            address: text(),
            version: text(),
        }
    }

    pub(super) fn node(&self) -> NodeId {
        NodeId(self.node)
    }

    pub(super) fn member(&self) -> Member {
        Member {
            node: self.node(),
            incarnation: Incarnation(self.incarnation),
            name: self.name.clone(),
            address: self.address.clone(),
            version: self.version.clone(),
        }
    }

    /// The last of this life.
    pub(super) fn into_last(self) -> Self {
        Self { left: true, generation: self.generation.saturating_add(1), ..self }
    }

    fn is_bounded(&self) -> bool {
        self.name.len() <= Member::NAME_BYTES_MAX
            && self.address.len() <= Member::ADDRESS_BYTES_MAX
            && self.version.len() <= Member::VERSION_BYTES_MAX
    }
}

impl foca::Identity for Identity {
    type Addr = u64;

    fn renew(&self) -> Option<Self> {
        let generation = self.generation.checked_add(1).filter(|_| !self.left)?;
        Some(Self { generation, ..self.clone() })
    }

    fn addr(&self) -> u64 {
        self.node
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self > adversary
    }
}

/// A packet that foca writes: who speaks to whom and what, and news of members.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) header: Header<Identity>,
    /// `None` where the message has no place for news.
    pub(super) news: Option<Vec<foca::Member<Identity>>>,
}

impl Packet {
    pub(super) fn decode(mut bytes: &[u8], bytes_max: usize) -> Result<Self, PacketError> {
        if bytes.len() > bytes_max {
            return Err(PacketError::TooLong { bytes: bytes.len() });
        }
        let header: Header<Identity> = PostcardCodec.decode_header(&mut bytes).map_err(|_| PacketError::Malformed)?;
        let bare = matches!(header.message, Message::Announce | Message::TurnUndead);
        let news = match (bytes.split_first_chunk(), bare) {
            (None, _) if bytes.is_empty() => None,
            (Some((count, rest)), false) if header.message != Message::Broadcast => {
                bytes = rest;
                let mut news = Vec::new();
                for _ in 0..u16::from_be_bytes(*count) {
                    news.push(PostcardCodec.decode_member(&mut bytes).map_err(|_| PacketError::Malformed)?);
                }
                Some(news)
            }
            _ => return Err(PacketError::Malformed),
        };
        if !bytes.is_empty() {
            return Err(PacketError::Malformed);
        }
        let packet = Self { header, news };
        if packet.identities().all(Identity::is_bounded) { Ok(packet) } else { Err(PacketError::TextTooLong) }
    }

    /// Its bytes, or `None` if it is too long or does not fit its own form.
    pub(super) fn encode(&self, bytes_max: usize) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        PostcardCodec.encode_header(&self.header, &mut bytes).ok()?;
        if let Some(news) = &self.news {
            bytes.extend_from_slice(&u16::try_from(news.len()).ok()?.to_be_bytes());
            for member in news {
                PostcardCodec.encode_member(member, &mut bytes).ok()?;
            }
        }
        (bytes.len() <= bytes_max).then_some(bytes)
    }

    fn identities(&self) -> impl Iterator<Item = &Identity> {
        let named = match &self.header.message {
            Message::PingReq { target, .. } | Message::IndirectAck { target, .. } => Some(target),
            Message::IndirectPing { origin, .. } | Message::ForwardedAck { origin, .. } => Some(origin),
            _ => None,
        };
        let news = self.news.iter().flatten().map(foca::Member::id);
        [&self.header.src, &self.header.dst].into_iter().chain(named).chain(news)
    }
}
