//! What comes from the peer: parts in order become messages, and the peer is told what arrived and what it may send.
//!
//! Invariants: a part is taken once and in the order of its number; what lies here unfinished, and what was delivered
//! and not yet consumed, is never more than was granted.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use neurath_proto::frame::{Ack, Association, FrameNumber, Limits, MESSAGE_OVERHEAD, Place};

use super::{Credit, SessionConfig, SessionInfo, Violation};

struct Unfinished {
    bytes: Vec<u8>,
    length: usize,
}

/// One class of messages, and what of the grant is used. All counted from the association's beginning.
#[derive(Clone, Copy)]
struct Grant {
    window_bytes: u64,
    taken: u64,
    delivered: u64,
    consumed: u64,
}

impl Grant {
    fn new(window_bytes: u32) -> Self {
        Self { window_bytes: u64::from(window_bytes), taken: 0, delivered: 0, consumed: 0 }
    }

    fn granted(&self) -> u64 {
        self.consumed + self.window_bytes
    }

    fn take(&mut self, charge: u64) -> Result<(), Violation> {
        if self.taken + charge > self.granted() {
            return Err(Violation::BeyondGrant);
        }
        self.taken += charge;
        Ok(())
    }
}

/// See the module.
pub(super) struct Incoming {
    association: Association,
    limits: Limits,
    ack_bytes: u64,
    ack_frames: u64,
    ack_delay_ns: u64,
    received: u64,
    lanes: BTreeMap<u16, Unfinished>,
    small: Grant,
    large: Grant,
    /// What the peer was told last, on the present connection.
    told: Ack,
    bytes_since_told: u64,
    /// When it is to be told at the latest; `None` if there is nothing to tell.
    tell_until: Option<u64>,
}

impl Incoming {
    pub(super) fn new(association: Association, config: &SessionConfig) -> Self {
        let limits = config.limits;
        Self {
            association,
            limits,
            ack_bytes: config.ack_bytes,
            ack_frames: config.ack_frames,
            ack_delay_ns: config.ack_delay_ns,
            received: 0,
            lanes: BTreeMap::new(),
            small: Grant::new(limits.small_window_bytes),
            large: Grant::new(limits.large_window_bytes),
            told: Ack::default(),
            bytes_since_told: 0,
            tell_until: None,
        }
    }

    pub(super) fn received(&self) -> FrameNumber {
        FrameNumber(self.received)
    }

    /// A new connection carries the association: the peer is told at once how things stand.
    pub(super) fn resume(&mut self, now: u64) {
        self.tell_until = Some(now);
    }

    /// Takes a part; gives the message that it completes.
    pub(super) fn part(
        &mut self,
        now: u64,
        number: FrameNumber,
        place: Place,
        bytes: &[u8],
    ) -> Result<Option<(Vec<u8>, Credit)>, Violation> {
        if number.0 <= self.received {
            // Sent again because the peer could not know that it had arrived.
            self.tell_later(now);
            return Ok(None);
        }
        if number.0 != self.received + 1 {
            return Err(Violation::Gap { expected: FrameNumber(self.received + 1), found: number });
        }
        let message = self.place(place, bytes)?;
        self.received = number.0;
        self.bytes_since_told += bytes.len() as u64;
        self.tell_later(now);
        let large = !matches!(place, Place::Whole);
        Ok(message.map(|bytes| {
            let charge = bytes.len() as u64 + MESSAGE_OVERHEAD;
            self.grant(large).delivered += charge;
            (bytes, Credit { association: self.association, large, charge })
        }))
    }

    fn place(&mut self, place: Place, bytes: &[u8]) -> Result<Option<Vec<u8>>, Violation> {
        match place {
            Place::Whole => {
                if bytes.len() > self.limits.message_bytes_max as usize {
                    return Err(Violation::TooLong);
                }
                self.small.take(bytes.len() as u64 + MESSAGE_OVERHEAD)?;
                Ok(Some(bytes.to_vec()))
            }
            Place::First { lane, length } => {
                if length > self.limits.message_bytes_max {
                    return Err(Violation::TooLong);
                }
                if self.lanes.contains_key(&lane.0) {
                    return Err(Violation::Lane(lane));
                }
                self.large.take(u64::from(length) + MESSAGE_OVERHEAD)?;
                let length = length as usize;
                // The grant was checked, so no peer makes this node set aside more than it granted.
                let mut unfinished = Unfinished { bytes: Vec::with_capacity(length), length };
                unfinished.bytes.extend_from_slice(bytes);
                self.lanes.insert(lane.0, unfinished);
                Ok(None)
            }
            Place::Middle { lane } | Place::Last { lane } => {
                let last = matches!(place, Place::Last { .. });
                let unfinished = self.lanes.get_mut(&lane.0).ok_or(Violation::Lane(lane))?;
                let after = unfinished.bytes.len() + bytes.len();
                if after > unfinished.length || last != (after == unfinished.length) {
                    return Err(Violation::PartLength);
                }
                unfinished.bytes.extend_from_slice(bytes);
                Ok(if last { self.lanes.remove(&lane.0).map(|done| done.bytes) } else { None })
            }
        }
    }

    /// A message that was delivered lies here no more.
    pub(super) fn consumed(&mut self, now: u64, credit: Credit) {
        if credit.association != self.association {
            return;
        }
        let grant = self.grant(credit.large);
        grant.consumed = (grant.consumed + credit.charge).min(grant.delivered);
        self.tell_later(now);
    }

    fn grant(&mut self, large: bool) -> &mut Grant {
        if large { &mut self.large } else { &mut self.small }
    }

    fn state(&self) -> Ack {
        Ack {
            received: self.received(),
            small_granted_bytes: self.small.granted(),
            large_granted_bytes: self.large.granted(),
        }
    }

    /// The peer is to be told: at once if much has changed, else a little later.
    fn tell_later(&mut self, now: u64) {
        let state = self.state();
        let much = |granted: u64, told: u64, window: u64| granted.saturating_sub(told) >= window / 4;
        let at_once = self.bytes_since_told >= self.ack_bytes
            || self.received.saturating_sub(self.told.received.0) >= self.ack_frames
            || much(state.small_granted_bytes, self.told.small_granted_bytes, self.small.window_bytes)
            || much(state.large_granted_bytes, self.told.large_granted_bytes, self.large.window_bytes);
        let until = if at_once { now } else { now.saturating_add(self.ack_delay_ns) };
        self.tell_until = Some(self.tell_until.map_or(until, |earlier| earlier.min(until)));
    }

    /// When the peer is to be told at the latest.
    pub(super) fn tell_until(&self) -> Option<u64> {
        self.tell_until
    }

    /// What to tell the peer in a write that goes out now; `None` if it knows.
    pub(super) fn take_ack(&mut self) -> Option<Ack> {
        self.tell_until.take()?;
        self.told = self.state();
        self.bytes_since_told = 0;
        Some(self.told)
    }

    pub(super) fn report(&self, info: &mut SessionInfo) {
        info.received_frames = self.received;
        info.unconsumed_bytes = (self.small.taken - self.small.consumed) + (self.large.taken - self.large.consumed);
    }
}
