//! Letters: messages of processes that nobody simulates, whose contents the checker follows.
//!
//! They are signals like all others and go through peers as those do. Invariant: the checker sees each that was taken, has
//! arrived or was given back, between honest nodes.

use neurath_kernel::session::Unconfirmed;
use neurath_kernel::session::wire;
use neurath_kernel::{NodeMessage, Signal};
use neurath_proto::envelope::{Class, Envelope, Epoch, Payload, TraceId};
use neurath_proto::id::{Incarnation, Serial};
use neurath_proto::{Pid, Ref};

use super::Cluster;
use crate::check::{self, Letter, Side};
use crate::vocabulary::of_length;

/// A letter that arrived, and when.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// It.
    pub letter: Letter,
    /// When.
    pub at: u64,
}

impl Cluster {
    /// Sends a message of this length, or a little more if that is short; whether it was taken.
    ///
    /// # Errors
    /// A promise was not kept.
    pub fn send(&mut self, side: Side, sender: u32, receiver: u32, length: usize) -> Result<bool, String> {
        let (now, id) = (self.now, self.checker.next());
        let head = self.encoded(&Self::letter_of(side, sender, receiver, vec![0; length])).len() - length;
        let bytes = check::write(id, length.saturating_sub(head));
        let letter = Letter { side, sender, receiver, length: bytes.len(), sent_at: now };
        let signal = Self::letter_of(side, sender, receiver, bytes);
        // What is due by now happens before the message is accepted.
        self.with(side, |session, now| session.advance(now))?;
        let peer = &mut self.member(side).peer;
        let epoch = peer.epoch();
        let taken = peer.send(now, epoch, signal);
        if taken {
            self.checker.sent(letter);
        } else if !self.checker.is_full(side) {
            return Err(format!("{side:?}: a message was refused"));
        }
        self.with(side, |session, now| session.advance(now))?;
        Ok(taken)
    }

    /// A signal with a letter in it.
    pub(super) fn letter_of(side: Side, sender: u32, receiver: u32, bytes: Vec<u8>) -> Signal {
        let pid = |node, life, serial| Pid::new(Self::id(node), Incarnation(life), Serial(u64::from(serial)));
        Signal::Message(Envelope {
            class: Class::Message,
            from: pid(side.node, side.life, sender),
            to: pid(side.peer, 1, receiver),
            epoch: Epoch(0),
            reference: Ref::NONE,
            schema: of_length(bytes.len()),
            trace: TraceId(0),
            payload: Payload::from(bytes),
            attachments: None,
        })
    }

    /// A signal as a node would say it, with all that it knows.
    pub(super) fn encoded(&self, signal: &Signal) -> Vec<u8> {
        let mut bytes = vec![NodeMessage::SIGNAL];
        wire::encode(signal, &*self.vocabulary, &mut bytes);
        bytes
    }

    /// One has arrived.
    pub(super) fn letter(&mut self, side: Side, signal: Signal) -> Result<(), String> {
        if !self.is_between_honest(side) {
            return Ok(());
        }
        let Signal::Message(envelope) = signal else {
            return Err(format!("{side:?}: a signal arrived that nobody sent: {signal:?}"));
        };
        let letter = self.checker.delivered(side, envelope.payload.as_slice())?;
        if let Some(arrivals) = &mut self.arrivals {
            arrivals.push(Arrival { letter, at: self.now });
        }
        Ok(())
    }

    /// One is not known to have arrived.
    pub(super) fn letter_given_back(&mut self, side: Side, signal: Signal, maybe_delivered: bool) {
        if self.is_between_honest(side)
            && let Signal::Message(envelope) = signal
        {
            let (from, bytes) = (Some(envelope.from), envelope.payload.as_slice().to_vec());
            self.member(side).given_back.push(Unconfirmed { from, bytes, maybe_delivered });
        }
    }
}
