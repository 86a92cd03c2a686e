//! What is promised of sessions, checked message by message.
//!
//! It sees what was given to sessions and what they gave, and nothing of how. Invariants that it checks: G1 (from one
//! process to another in order, without gaps within an association), G2 (once at most; once for sure or reported
//! unconfirmed), each association ended once, windows and buffers within their bounds.

use std::collections::{BTreeMap, BTreeSet};

use neurath_kernel::SessionConfig;
use neurath_kernel::session::{EndCause, EndReason, SessionInfo, Unconfirmed};
use neurath_proto::frame::Association;

pub mod members;
pub mod processes;

/// A node, the number of its life, and the node that it talks with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Side {
    /// The node.
    pub node: usize,
    /// Its life.
    pub life: u32,
    /// The other node.
    pub peer: usize,
}

/// Names a message: its place in the order of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MessageId(pub u64);

/// What a message says beside its number.
#[derive(Clone, Copy, Debug)]
pub struct Letter {
    /// Where it was sent.
    pub side: Side,
    /// By which process.
    pub sender: u32,
    /// To which process.
    pub receiver: u32,
    /// Its length.
    pub length: usize,
    /// When.
    pub sent_at: u64,
}

struct Fate {
    letter: Letter,
    /// Which of the associations of its side it was sent in, and its place there among those of its pair.
    epoch: u64,
    place: u64,
    delivered: bool,
    unconfirmed: bool,
    /// It was said that it cannot have arrived.
    surely_not: bool,
}

#[derive(Default)]
struct SideState {
    open: Option<Association>,
    last: Association,
    peer_life: u32,
    epoch: u64,
    /// Sent in this epoch and not delivered.
    outstanding: BTreeSet<u64>,
    places: BTreeMap<(u32, u32), u64>,
    full: bool,
}

/// See the module. An error says what was promised and not kept.
#[derive(Default)]
pub struct Checker {
    fates: Vec<Fate>,
    sides: BTreeMap<Side, SideState>,
    /// For each pair of processes, the epoch and place that was delivered last.
    order: BTreeMap<(Side, u32, u32), (u64, u64)>,
    /// What came of it all.
    pub counts: Counts,
}

/// What came of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages that sessions accepted.
    pub sent: u64,
    /// That arrived.
    pub delivered: u64,
    /// That were given back.
    pub unconfirmed: u64,
    /// That were given back and had arrived.
    pub unconfirmed_delivered: u64,
    /// Associations that were opened, counted on each side.
    pub opened: u64,
    /// Ended for lack of a connection.
    pub grace_over: u64,
    /// Ended because the peer had restarted.
    pub restarted: u64,
    /// Ended because the peer had ended it.
    pub peer_ended: u64,
    /// That never came about.
    pub unreachable: u64,
    /// Times that senders were to be held.
    pub full: u64,
    /// Ended because the peer broke the protocol of frames, which a hostile one did.
    pub violations: u64,
    /// Ended because the peer said what it may not, within messages or in gossip.
    pub breaches: u64,
}

impl Counts {
    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        let Self {
            sent,
            delivered,
            unconfirmed,
            unconfirmed_delivered,
            opened,
            grace_over,
            restarted,
            peer_ended,
            unreachable,
            full,
            violations,
            breaches,
        } = *other;
        self.sent += sent;
        self.delivered += delivered;
        self.unconfirmed += unconfirmed;
        self.unconfirmed_delivered += unconfirmed_delivered;
        self.opened += opened;
        self.grace_over += grace_over;
        self.restarted += restarted;
        self.peer_ended += peer_ended;
        self.unreachable += unreachable;
        self.full += full;
        self.violations += violations;
        self.breaches += breaches;
    }
}

/// The bytes of a message: its number, then bytes that follow from it.
pub fn write(id: MessageId, length: usize) -> Vec<u8> {
    let length = length.max(8);
    let mut bytes: Vec<u8> = words(id).take(length.div_ceil(8)).flatten().collect();
    bytes.truncate(length);
    bytes
}

fn read(bytes: &[u8]) -> Result<MessageId, String> {
    let head = bytes.first_chunk().ok_or("a message arrived that is shorter than any that was sent")?;
    let id = MessageId(u64::from_le_bytes(*head));
    let same = bytes.chunks(8).zip(words(id)).all(|(found, word)| *found == word[..found.len()]);
    if same { Ok(id) } else { Err(format!("message {} arrived with other bytes than were sent", id.0)) }
}

fn words(id: MessageId) -> impl Iterator<Item = [u8; 8]> {
    (0..).map(move |at: u64| id.0.wrapping_add(at.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_le_bytes())
}

impl Checker {
    /// The number of the message that will be sent next.
    pub fn next(&self) -> MessageId {
        MessageId(self.fates.len() as u64)
    }

    /// A session has accepted it.
    pub fn sent(&mut self, letter: Letter) {
        let id = self.fates.len() as u64;
        let state = self.sides.entry(letter.side).or_default();
        let place = state.places.entry((letter.sender, letter.receiver)).or_default();
        *place += 1;
        let fate =
            Fate { letter, epoch: state.epoch, place: *place, delivered: false, unconfirmed: false, surely_not: false };
        state.outstanding.insert(id);
        self.fates.push(fate);
        self.counts.sent += 1;
    }

    /// A session has delivered it; what it was.
    ///
    /// # Errors
    /// It should not have.
    pub fn delivered(&mut self, at: Side, bytes: &[u8]) -> Result<Letter, String> {
        let MessageId(id) = read(bytes)?;
        let fate = self.fates.get_mut(id as usize).ok_or_else(|| format!("message {id} arrived and was never sent"))?;
        let letter = fate.letter;
        let (from, to) = (letter.side, at);
        let name = format!("message {id} from {from:?} to {to:?}");
        if from.peer != to.node || from.node != to.peer || letter.length != bytes.len() {
            return Err(format!("{name} arrived where it was not sent, or not whole"));
        }
        if fate.delivered {
            return Err(format!("G2: {name} arrived twice"));
        }
        if fate.surely_not {
            return Err(format!("G2: {name} arrived, and its sender was told that it had not"));
        }
        let known = self.sides.get(&to).map_or(0, |state| state.peer_life);
        if known != from.life {
            return Err(format!("{name} comes from life {}, and the association is with life {known}", from.life));
        }
        let last = self.order.entry((from, letter.sender, letter.receiver)).or_default();
        let expected = if last.0 == fate.epoch { last.1 + 1 } else { 1 };
        if fate.epoch < last.0 || fate.place != expected {
            return Err(format!(
                "G1: {name} is number {} of its association {} and came after number {} of {}",
                fate.place, fate.epoch, last.1, last.0
            ));
        }
        *last = (fate.epoch, fate.place);
        fate.delivered = true;
        self.counts.delivered += 1;
        self.counts.unconfirmed_delivered += u64::from(fate.unconfirmed);
        if let Some(state) = self.sides.get_mut(&from) {
            state.outstanding.remove(&id);
        }
        Ok(letter)
    }

    /// An association is up.
    ///
    /// # Errors
    /// It should not be.
    pub fn up(&mut self, side: Side, association: Association, peer_life: u32) -> Result<(), String> {
        let state = self.sides.entry(side).or_default();
        if let Some(open) = state.open {
            return Err(format!("{side:?}: {association:?} is up and {open:?} has not ended"));
        }
        if association <= state.last || peer_life < state.peer_life {
            return Err(format!("{side:?}: {association:?} with life {peer_life} follows {:?}", state.last));
        }
        state.open = Some(association);
        state.last = association;
        state.peer_life = peer_life;
        self.counts.opened += 1;
        Ok(())
    }

    /// An association has ended.
    ///
    /// # Errors
    /// It was not up, or what it gives back is not what it should be.
    pub fn ended(
        &mut self,
        side: Side,
        association: Option<Association>,
        reason: &EndReason,
        unconfirmed: &[Unconfirmed],
        honest_peer: bool,
    ) -> Result<(), String> {
        let state = self.sides.entry(side).or_default();
        if state.open != association {
            return Err(format!("{side:?}: {association:?} has ended and {:?} was up", state.open));
        }
        match reason {
            EndReason::GraceOver => self.counts.grace_over += 1,
            EndReason::PeerRestarted { .. } => self.counts.restarted += 1,
            EndReason::PeerEnded => self.counts.peer_ended += 1,
            EndReason::Unreachable => self.counts.unreachable += 1,
            EndReason::EndedHere(EndCause::PeerMisbehaved) => self.counts.breaches += 1,
            EndReason::EndedHere(_) => {}
            EndReason::Violation(violation) => {
                if honest_peer {
                    return Err(format!("{side:?}: an honest peer was found to break the protocol: {violation}"));
                }
                self.counts.violations += 1;
            }
        }
        let (peer, life) = (side.peer, state.peer_life);
        let theirs = self.sides.get(&Side { node: peer, life, peer: side.node });
        if honest_peer && *reason == EndReason::PeerEnded && theirs.is_some_and(|theirs| theirs.open == association) {
            return Err(format!("{side:?}: {association:?} has ended because the peer had ended it, and it had not"));
        }
        let state = self.sides.entry(side).or_default();
        let epoch = state.epoch;
        state.open = None;
        state.epoch += 1;
        state.places.clear();
        let mut missing = std::mem::take(&mut state.outstanding);
        let mut last = None;
        for given_back in unconfirmed {
            let MessageId(id) = read(&given_back.bytes)?;
            let fate = self.fates.get_mut(id as usize).ok_or("what was never sent is given back")?;
            if given_back.from.map(|from| from.serial.0) != Some(u64::from(fate.letter.sender)) {
                return Err(format!("{side:?}: message {id} is given back to another than its sender"));
            }
            if fate.letter.side != side || fate.epoch != epoch {
                return Err(format!("{side:?}: message {id} of another association is given back"));
            }
            if last.is_some_and(|last| last >= id) {
                return Err(format!("{side:?}: message {id} is given back out of order, or twice"));
            }
            last = Some(id);
            if fate.delivered && !given_back.maybe_delivered {
                return Err(format!("G2: message {id} has arrived, and its sender is told that it cannot have"));
            }
            fate.unconfirmed = true;
            fate.surely_not = !given_back.maybe_delivered;
            self.counts.unconfirmed += 1;
            self.counts.unconfirmed_delivered += u64::from(fate.delivered);
            missing.remove(&id);
        }
        match missing.first() {
            Some(id) => Err(format!("G2: message {id} of {side:?} has neither arrived nor been given back ({reason})")),
            None => Ok(()),
        }
    }

    /// Senders are to be held, or to go on.
    ///
    /// # Errors
    /// They are already.
    pub fn pressure(&mut self, side: Side, full: bool) -> Result<(), String> {
        let state = self.sides.entry(side).or_default();
        if std::mem::replace(&mut state.full, full) == full {
            return Err(format!("{side:?}: senders are told twice that full is {full}"));
        }
        self.counts.full += u64::from(full);
        Ok(())
    }

    /// The association that is open, as this side was told, and the life that it is with.
    pub fn open(&self, side: Side) -> Option<(Association, u32)> {
        self.sides.get(&side).and_then(|state| Some((state.open?, state.peer_life)))
    }

    /// Whether senders are to be held.
    pub fn is_full(&self, side: Side) -> bool {
        self.sides.get(&side).is_some_and(|state| state.full)
    }

    /// Whether a session keeps its bounds.
    ///
    /// # Errors
    /// It does not.
    pub fn bounds(&self, side: Side, info: &SessionInfo, config: &SessionConfig) -> Result<(), String> {
        let windows = u64::from(config.limits.small_window_bytes) + u64::from(config.limits.large_window_bytes);
        let kept = info.held_bytes <= config.held_bytes_limit()
            && info.sent_frames <= config.sent_frames_max
            && info.sent_bytes <= config.sent_bytes_max
            && info.unconsumed_bytes <= windows
            && info.handshakes <= 2 * config.handshakes_max;
        if kept { Ok(()) } else { Err(format!("G10: {side:?} is beyond its bounds: {info:?}")) }
    }

    /// When all is quiet: everything that living nodes sent has arrived or was given back.
    ///
    /// # Errors
    /// Something is neither.
    pub fn quiet(&self, is_alive: impl Fn(Side) -> bool) -> Result<(), String> {
        for (side, state) in self.sides.iter().filter(|(side, _)| is_alive(**side)) {
            if let Some(id) = state.outstanding.first() {
                return Err(format!("G2: message {id} of {side:?} has neither arrived nor been given back"));
            }
        }
        Ok(())
    }
}
