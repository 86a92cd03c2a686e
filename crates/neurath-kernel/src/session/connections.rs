//! Connections: hello and welcome, which of several lives, reading and writing on the live one, its silence.
//!
//! Invariant: there is at most one live connection, and it carries the open association; all others are on their way
//! to become it, for a bounded time and in a bounded number.

use alloc::vec::Vec;
use core::mem;

use neurath_proto::frame::{self, Association, Frame, FrameNumber, Generation, Hello, Limits, PART_BYTES_MAX};
use neurath_proto::id::Incarnation;

use super::{CloseReason, ConnectionId, EndReason, Origin, Session, SessionConfig, SessionEffect, Violation};

/// One connection.
pub(super) struct Connection {
    origin: Origin,
    pub(super) stage: Stage,
    since: u64,
    /// What was read and is no whole frame yet.
    unread: Vec<u8>,
    /// Hello or welcome, to be written before anything else.
    first: Vec<u8>,
    /// The driver is writing.
    pub(super) writing: bool,
    heard_at: u64,
    pinged_at: u64,
    owes_ping: bool,
    owes_pong: bool,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The peer's hello has not come.
    Hello,
    /// It has, and the leading node is to say whether this is the live connection.
    Welcome(Greeted),
    /// It is.
    Live,
}

/// What the peer's hello said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Greeted {
    incarnation: Incarnation,
    limits: Limits,
}

impl Connection {
    /// When something is due on it.
    pub(super) fn deadline(&self, config: &SessionConfig) -> u64 {
        if self.stage != Stage::Live {
            return self.since.saturating_add(config.handshake_ns);
        }
        let silent = self.heard_at.saturating_add(config.silence_max_ns);
        let ping = self.heard_at.max(self.pinged_at).saturating_add(config.ping_after_ns);
        silent.min(ping)
    }
}

impl Session {
    pub(super) fn begin_handshake(&mut self, id: ConnectionId, origin: Origin) {
        // Counted for each origin: what the peer makes must not displace what this node has dialed, for if both did so
        // with connections that cross, none would be left.
        let waiting = self.connections.iter().filter(|(id, c)| Some(**id) != self.live && c.origin == origin);
        if waiting.clone().count() >= self.config.handshakes_max
            && let Some((oldest, _)) = waiting.min_by_key(|(id, connection)| (connection.since, **id))
        {
            self.close(*oldest, CloseReason::TooMany);
        }
        let mut first = Vec::with_capacity(Hello::BYTES);
        self.hello().encode(&mut first);
        let connection = Connection {
            origin,
            stage: Stage::Hello,
            since: self.now,
            unread: Vec::new(),
            first,
            writing: false,
            heard_at: self.now,
            pinged_at: self.now,
            owes_ping: false,
            owes_pong: false,
        };
        self.connections.insert(id, connection);
    }

    // ---- ends of connections ----

    pub(super) fn close(&mut self, connection: ConnectionId, reason: CloseReason) {
        let mut last = Vec::new();
        if self.live == Some(connection) && self.open.is_none() {
            Frame::End.encode(&mut last);
        }
        self.effects.push_back(SessionEffect::Close { connection, reason, last });
        self.lose(connection);
    }

    /// A connection is no more.
    pub(super) fn lose(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.remove(&id) else { return };
        let was_live = self.live == Some(id);
        if was_live {
            self.live = None;
            if let Some(open) = &mut self.open {
                open.grace_until = Some(self.now.saturating_add(self.config.grace_ns));
            }
        }
        if self.live.is_some() {
            return;
        }
        if was_live && self.now - connection.since > self.config.backoff_max_ns {
            self.dial.backoff_ns = self.config.backoff_min_ns;
            // Who had dialed dials again at once; the other leaves it the time to, so that they seldom cross.
            self.dial.not_before = match connection.origin {
                Origin::Dialed => self.now,
                Origin::Accepted => self.now.saturating_add(self.config.backoff_min_ns),
            };
        } else {
            self.back_off();
        }
    }

    pub(super) fn drop_overdue_connections(&mut self) {
        let (now, config) = (self.now, self.config);
        let ids: Vec<_> =
            self.connections.iter().filter(|(_, c)| c.deadline(&config) <= now).map(|(id, _)| *id).collect();
        for id in ids {
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            if connection.stage != Stage::Live {
                self.close(id, CloseReason::HandshakeTimeout);
            } else if connection.heard_at.saturating_add(config.silence_max_ns) <= now {
                self.close(id, CloseReason::Silent);
            } else {
                connection.owes_ping = true;
                connection.pinged_at = now;
            }
        }
    }

    // ---- reading ----

    /// Bytes have come, whatever they are: before it is judged whether the peer was silent.
    pub(super) fn hear(&mut self, id: ConnectionId, now: u64) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.heard_at = connection.heard_at.max(now);
        }
    }

    pub(super) fn read(&mut self, id: ConnectionId, mut bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        // What was begun before is put together first; the rest, which is most, is read where it lies.
        let mut begun = mem::take(&mut connection.unread);
        while !begun.is_empty() {
            let Some(stage) = self.stage_of(id) else { return };
            let wanted = if stage == Stage::Hello { Hello::BYTES } else { frame::wanted(&begun) };
            let (more, rest) = bytes.split_at(bytes.len().min(wanted.saturating_sub(begun.len())));
            begun.extend_from_slice(more);
            bytes = rest;
            let read = self.read_all(id, &begun);
            begun.drain(..read);
            if more.is_empty() {
                break;
            }
        }
        if begun.is_empty() {
            let read = self.read_all(id, bytes);
            begun = bytes[read..].to_vec();
        }
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.unread = begun;
        }
    }

    /// Reads whole hellos and frames; how many bytes they took.
    fn read_all(&mut self, id: ConnectionId, bytes: &[u8]) -> usize {
        let mut at = 0;
        // A frame may close its connection: the rest is then not read.
        while let Some(stage) = self.stage_of(id) {
            match self.read_one(id, stage, &bytes[at..]) {
                Ok(Some(length)) => at += length,
                Ok(None) => break,
                Err(violation) if stage == Stage::Live => self.end_association(EndReason::Violation(violation)),
                Err(violation) => self.close(id, CloseReason::Violation(violation)),
            }
        }
        at
    }

    /// Reads a hello or a frame; its length, or `None` if it is not all there.
    fn read_one(&mut self, id: ConnectionId, stage: Stage, bytes: &[u8]) -> Result<Option<usize>, Violation> {
        if stage == Stage::Hello {
            let Some(hello) = Hello::decode(bytes).map_err(Violation::Frame)? else { return Ok(None) };
            self.read_hello(id, &hello)?;
            return Ok(Some(Hello::BYTES));
        }
        let Some((frame, length)) = Frame::decode(bytes).map_err(Violation::Frame)? else { return Ok(None) };
        match (stage, frame) {
            (Stage::Welcome(greeted), Frame::Welcome { association, generation, received }) => {
                self.read_welcome(id, greeted, association, generation, received)?;
            }
            (Stage::Live, frame) => self.read_live(id, frame)?,
            _ => return Err(Violation::Unexpected),
        }
        Ok(Some(length))
    }

    fn read_hello(&mut self, id: ConnectionId, hello: &Hello) -> Result<(), Violation> {
        if hello.from != self.peer {
            return Err(Violation::WrongNode { found: hello.from });
        }
        if hello.to != self.node {
            return Err(Violation::NotMeant { found: hello.to });
        }
        if hello.incarnation < self.peer_incarnation {
            return Err(Violation::OldIncarnation { found: hello.incarnation });
        }
        if hello.incarnation > self.peer_incarnation {
            self.meet_incarnation(hello.incarnation);
        }
        if self.leads() {
            self.decide(id, hello)
        } else {
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.stage = Stage::Welcome(Greeted { incarnation: hello.incarnation, limits: hello.limits });
            }
            Ok(())
        }
    }

    /// The peer has begun a new life: whatever was agreed with the old one is over.
    fn meet_incarnation(&mut self, incarnation: Incarnation) {
        let of_old = |stage: &Stage| match stage {
            Stage::Hello => false,
            Stage::Welcome(greeted) => greeted.incarnation < incarnation,
            Stage::Live => true,
        };
        if self.open.is_some() {
            self.end_association(EndReason::PeerRestarted { incarnation });
        }
        let old: Vec<_> = self.connections.iter().filter(|(_, c)| of_old(&c.stage)).map(|(id, _)| *id).collect();
        for id in old {
            self.close(id, CloseReason::Superseded);
        }
        self.peer_incarnation = incarnation;
        if !self.leads() {
            self.generation = Generation(0);
        }
    }

    // ---- the leading node ----

    /// Makes this the live connection, with the association that both have open, or a new one.
    ///
    /// The latest one wins: who says hello knows no better connection, or says which.
    fn decide(&mut self, id: ConnectionId, hello: &Hello) -> Result<(), Violation> {
        if self.live.is_some() && hello.live == self.generation {
            self.close(id, CloseReason::Redundant);
            return Ok(());
        }
        let theirs_is_open = hello.open && hello.peer_incarnation == self.incarnation;
        let kept = self.open.is_some()
            && (self.highest > hello.association || (self.highest == hello.association && theirs_is_open));
        let resumes = kept && self.highest == hello.association;
        if !kept {
            if self.open.is_some() {
                self.end_association(EndReason::PeerEnded);
            }
            let association = Association(self.highest.max(hello.association).0 + 1);
            self.open_association(association, hello);
        }
        self.generation.0 += 1;
        let received = if resumes { hello.received } else { FrameNumber(0) };
        self.go_live(id, received)?;
        let welcome = Frame::Welcome {
            association: self.highest,
            generation: self.generation,
            received: self.open.as_ref().map(|open| open.incoming.received()).unwrap_or_default(),
        };
        if let Some(connection) = self.connections.get_mut(&id) {
            welcome.encode(&mut connection.first);
        }
        let others: Vec<_> = self.connections.keys().copied().filter(|other| *other != id).collect();
        for other in others {
            self.close(other, CloseReason::Superseded);
        }
        Ok(())
    }

    // ---- the node that follows ----

    fn read_welcome(
        &mut self,
        id: ConnectionId,
        greeted: Greeted,
        association: Association,
        generation: Generation,
        received: FrameNumber,
    ) -> Result<(), Violation> {
        let is_open = self.open.is_some() && association == self.highest;
        if generation <= self.generation || (!is_open && association <= self.highest) {
            // The leading node has gone on since, or what it resumes has ended here: the next hello will tell it.
            self.close(id, CloseReason::Stale);
            return Ok(());
        }
        if !is_open && received.0 != 0 {
            return Err(Violation::AcknowledgedUnsent { received });
        }
        if !is_open {
            if self.open.is_some() {
                self.end_association(EndReason::PeerEnded);
            }
            let hello = Hello { limits: greeted.limits, ..self.hello() };
            self.open_association(association, &hello);
        }
        self.generation = generation;
        let former = self.live;
        self.go_live(id, received)?;
        if let Some(former) = former {
            self.close(former, CloseReason::Superseded);
        }
        Ok(())
    }

    fn go_live(&mut self, id: ConnectionId, received: FrameNumber) -> Result<(), Violation> {
        self.outgoing.resume(received)?;
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        connection.stage = Stage::Live;
        connection.since = self.now;
        self.live = Some(id);
        if let Some(open) = &mut self.open {
            open.grace_until = None;
            open.incoming.resume(self.now);
        }
        Ok(())
    }

    // ---- the live connection ----

    fn read_live(&mut self, id: ConnectionId, frame: Frame<'_>) -> Result<(), Violation> {
        let Some(open) = &mut self.open else { return Err(Violation::Unexpected) };
        match frame {
            Frame::Part { number, place, bytes } => {
                if let Some((bytes, credit)) = open.incoming.part(self.now, number, place, bytes)? {
                    self.effects.push_back(SessionEffect::Deliver { bytes, credit });
                }
            }
            Frame::Ack(ack) => self.outgoing.ack(ack)?,
            Frame::Ping => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.owes_pong = true;
                }
            }
            Frame::Pong => {}
            Frame::End => self.end_association(EndReason::PeerEnded),
            Frame::Welcome { .. } => return Err(Violation::Unexpected),
        }
        Ok(())
    }

    /// Gives the driver what can be written now: on each connection one write at a time, so that what is sent
    /// meanwhile goes out together.
    pub(super) fn flush(&mut self) {
        for (id, connection) in &mut self.connections {
            if connection.writing {
                continue;
            }
            let mut bytes = mem::take(&mut self.spare);
            bytes.append(&mut connection.first);
            if connection.stage == Stage::Live {
                for (owes, frame) in
                    [(&mut connection.owes_ping, Frame::Ping), (&mut connection.owes_pong, Frame::Pong)]
                {
                    if mem::take(owes) {
                        frame.encode(&mut bytes);
                    }
                }
                if self.outgoing.write_next(&mut bytes) {
                    let rest = self.outgoing.unwritten_bytes();
                    bytes.reserve(rest.min(self.config.write_bytes + PART_BYTES_MAX));
                    while bytes.len() < self.config.write_bytes && self.outgoing.write_next(&mut bytes) {}
                }
                // What is owed later goes along with what goes out now.
                if let Some(open) = &mut self.open
                    && open.incoming.tell_until().is_some_and(|until| until <= self.now || !bytes.is_empty())
                    && let Some(ack) = open.incoming.take_ack()
                {
                    Frame::Ack(ack).encode(&mut bytes);
                }
            }
            if !bytes.is_empty() {
                connection.writing = true;
                self.effects.push_back(SessionEffect::Write { connection: *id, bytes });
            }
        }
    }
}
