//! Who belongs to the cluster, as this node sees it: found by gossip, probed in turns, declared down by suspicion.
//!
//! The protocol is SWIM (Das, Gupta and Motivala, 2002), by the crate foca, whose packets travel inside authenticated
//! sessions. It knows neither sockets nor clocks nor processes: inputs and a time come in, [`Membership::poll_effect`] says
//! what is to be done.
//!
//! **One authority for "down".** A peer is down for this node when the association with it has ended. Membership never says
//! so itself: when it holds a peer to be down with which there is an association, it asks for its end
//! ([`MembershipEffect::EndAssociation`]), and only the session's `Ended` fires monitors and links. So they fire once, by one
//! path, whoever noticed first.
//!
//! **What a node sees itself goes before what others say.** Of a peer with which there is an association, only the peer
//! itself says who it is, and others can at most make it suspect: it has [`MembershipConfig::suspect_to_down_ns`] to refute
//! that, as it has with this node's own probes. So a node that was alone, and held all others to be down, ends no
//! association between those when it comes back. With peers to which there is no association nothing can be ended, and what
//! others say is believed.
//!
//! **Lives.** A higher [`Incarnation`] supersedes a lower one. A life that was falsely declared down says who it is with a
//! higher *generation*, which supersedes too, and is up again.
//!
//! **Time that this node did not run does not count.** After a stop its timers are as far away as before it, so that it does
//! not hold others to be down for its own silence.
//!
//! Invariants: all that is kept is bounded by [`MembershipConfig::members_max`]; a packet says nothing for its sender that
//! the sender's session has not proved.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::num::{NonZeroU8, NonZeroUsize};
use core::time::Duration;

use foca::{Foca, Message, NoCustomBroadcast, Notification, PeriodicParams, PostcardCodec, State, Timer};
use neurath_proto::id::{Incarnation, NodeId};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng;

use packet::{Identity, Packet};

pub use types::{DownReason, Member, MemberInfo, MemberState, MembershipConfig, MembershipEffect, PacketError};

mod packet;
#[cfg(test)]
mod tests;
mod types;

/// See the module.
pub struct Membership {
    foca: Foca<Identity, PostcardCodec, Xoshiro256PlusPlus, NoCustomBroadcast>,
    config: MembershipConfig,
    now: u64,
    /// For how long this node did not run: its own clock is so far behind `now`.
    behind: u64,
    /// By this node's own clock. One of each kind: a later one makes the earlier one stale.
    timers: BTreeMap<TimerKey, (u64, Timer<Identity>)>,
    /// What foca marks its present timers with.
    token: foca::TimerToken,
    /// When one that is down is tried again, by this node's own clock, and who was tried last.
    retry_at: u64,
    retried: NodeId,
    /// The others, as they were last reported.
    records: BTreeMap<NodeId, Record>,
    /// The lives with which there are associations.
    associations: BTreeMap<NodeId, Incarnation>,
    left: bool,
    effects: VecDeque<MembershipEffect>,
}

struct Record {
    identity: Identity,
    state: MemberState,
    since: u64,
}

/// Of two that are due at once the first in this order goes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum TimerKey {
    Indirect,
    Probe,
    Announce,
    Gossip,
    Suspect(NodeId),
}

impl Membership {
    /// The membership of a node that knows no other. Its texts are cut to their limits. `seed` decides whom it asks first,
    /// and is no secret.
    pub fn new(own: Member, config: MembershipConfig, seed: u64) -> Self {
        let rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        Self {
            foca: Foca::new(Identity::new(bounded(own), 0), foca_config(&config), rng, PostcardCodec),
            config,
            now: 0,
            behind: 0,
            timers: BTreeMap::new(),
            token: 0,
            retry_at: config.announce_down_ns,
            retried: NodeId(0),
            records: BTreeMap::new(),
            associations: BTreeMap::new(),
            left: false,
            effects: VecDeque::new(),
        }
    }

    // ---- inputs ----

    /// Asks a node for the members that it knows, and makes this one known to it.
    pub fn announce(&mut self, now: u64, to: NodeId) {
        self.tick(now);
        self.ask(to);
    }

    /// A packet has come from a node, whom the session has authenticated.
    ///
    /// # Errors
    /// It is no packet, or says what its sender cannot say. Nothing has changed.
    pub fn received(&mut self, now: u64, from: NodeId, bytes: &[u8]) -> Result<(), PacketError> {
        self.tick(now);
        if self.left {
            return Ok(());
        }
        let packet = self.admit(from, Packet::decode(bytes, self.config.packet_bytes_max)?)?;
        let bytes = packet.encode(self.config.packet_bytes_max).ok_or(PacketError::Malformed)?;
        let (src, incarnation) = (packet.header.src, packet.header.src_incarnation);
        let known = self.records.get(&from).map(|record| record.identity.clone());
        let forgets = known.filter(|known| *known > src);
        self.run(|foca, out| {
            // It said of itself less than others said of it: they were wrong.
            if let Some(known) = forgets {
                foca.apply_many([foca::Member::down(known.clone())].into_iter(), false, &mut *out)?;
                foca.handle_timer(Timer::RemoveDown(known), &mut *out)?;
                let itself = foca::Member::new(src, incarnation, State::Alive);
                foca.apply_many(core::iter::once(itself), true, &mut *out)?;
            }
            foca.handle_data(&bytes, out)
        })
        .map_err(|_| PacketError::Malformed)
    }

    /// There is an association with this life of a node.
    pub fn association_up(&mut self, now: u64, node: NodeId, incarnation: Incarnation) {
        self.tick(now);
        self.associations.insert(node, incarnation);
        let knows = |record: &Record| record.state.is_active() && record.identity.incarnation == incarnation.0;
        if !self.records.get(&node).is_some_and(knows) {
            self.ask(node);
        }
    }

    /// An association that was up has ended.
    pub fn association_ended(&mut self, now: u64, node: NodeId) {
        self.associations.remove(&node);
        self.tick(now);
    }

    /// This node has something new to say about itself; its identity and life stay.
    pub fn set_own(&mut self, now: u64, own: Member) {
        self.tick(now);
        let old = self.foca.identity();
        let own = Member { node: old.node(), incarnation: Incarnation(old.incarnation), ..bounded(own) };
        if let Some(generation) = old.generation.checked_add(1).filter(|_| !self.left && own != old.member()) {
            let _ = self.run(|foca, out| foca.change_identity(Identity::new(own, generation), out));
        }
    }

    /// This node leaves: all active members are told. From now on it hears and says nothing. Their sessions end when that
    /// is delivered: an earlier end would take it back.
    pub fn leave(&mut self, now: u64) {
        self.tick(now);
        if self.left {
            return;
        }
        let last = self.foca.identity().clone().into_last();
        let everyone = self.config.members_max;
        let config =
            foca_config(&MembershipConfig { indirect_probes: everyone, transmissions_max: u8::MAX, ..self.config });
        let _ = self.run(|foca, out| {
            foca.set_config(config)?;
            foca.change_identity(last, &mut *out)?;
            foca.leave_cluster(out)
        });
        self.left = true;
        self.timers.clear();
    }

    /// Moves the clock; what was due happens.
    pub fn advance(&mut self, now: u64) {
        self.tick(now);
    }

    // ---- outputs ----

    /// When [`Membership::advance`] has something to do next.
    pub fn next_deadline(&self) -> Option<u64> {
        if self.left { None } else { Some(self.next_due().saturating_add(self.behind)) }
    }

    /// The next thing to be done, in order.
    pub fn poll_effect(&mut self) -> Option<MembershipEffect> {
        self.effects.pop_front()
    }

    /// What this node says about itself.
    pub fn own(&self) -> Member {
        self.foca.identity().member()
    }

    /// The others that are known, by identity.
    pub fn members(&self) -> impl Iterator<Item = MemberInfo> {
        self.records.values().map(|record| MemberInfo {
            member: record.identity.member(),
            state: record.state,
            since: record.since,
        })
    }

    // ---- time ----

    fn own_clock(&self) -> u64 {
        self.now - self.behind
    }

    fn next_due(&self) -> u64 {
        self.timers.values().map(|(at, _)| *at).fold(self.retry_at, u64::min)
    }

    /// Lets happen what is due.
    fn tick(&mut self, now: u64) {
        self.now = self.now.max(now);
        if self.left {
            return;
        }
        let late = self.own_clock().saturating_sub(self.next_due());
        if late > self.config.probe_period_ns {
            self.behind += late;
        }
        let first = |timers: &BTreeMap<_, (u64, _)>| timers.iter().map(|(key, (at, _))| (*at, *key)).min();
        while let Some((at, key)) = first(&self.timers)
            && at <= self.own_clock()
        {
            if let Some((_, timer)) = self.timers.remove(&key)
                && let Some(timer) = self.renew(timer)
            {
                // Foca goes on by itself after each error that this can give.
                let _ = self.run(|foca, out| foca.handle_timer(timer, out));
            }
        }
        if self.retry_at <= self.own_clock() {
            self.retry_at = self.own_clock().saturating_add(self.config.announce_down_ns);
            self.retry_one();
            self.forget();
        }
    }

    /// What a timer means now, if anything. With a new identity foca forgets its suspicions' time, and it tells a member that
    /// it is down when that is over, also if the member has refuted it: here a suspicion stands until it is refuted.
    fn renew(&self, timer: Timer<Identity>) -> Option<Timer<Identity>> {
        let Timer::ChangeSuspectToDown { member_id, incarnation, .. } = timer else { return Some(timer) };
        let is_suspect = |member: &foca::Member<_>| {
            *member.id() == member_id && member.incarnation() == incarnation && member.state() == State::Suspect
        };
        let stands = self.foca.iter_members().any(is_suspect);
        stands.then_some(Timer::ChangeSuspectToDown { member_id, incarnation, token: self.token })
    }

    /// Tries one that is down, each in its turn. Foca does not while it knows of no active member.
    fn retry_one(&mut self) {
        let is_down = |(_, record): &(&NodeId, &Record)| record.state == MemberState::Down;
        let after = self.records.range((core::ops::Bound::Excluded(self.retried), core::ops::Bound::Unbounded));
        let next = after.chain(self.records.range(..=self.retried)).find(is_down).map(|(node, _)| *node);
        if let Some(node) = next {
            self.retried = node;
            self.ask(node);
        }
    }

    fn forget(&mut self) {
        let is_over =
            |record: &&Record| !record.state.is_active() && self.now - record.since >= self.config.forget_down_ns;
        let over: Vec<_> = self.records.values().filter(is_over).map(|record| record.identity.clone()).collect();
        for identity in over {
            let _ = self.run(|foca, out| foca.handle_timer(Timer::RemoveDown(identity), out));
        }
    }

    // ---- packets ----

    fn ask(&mut self, node: NodeId) {
        if !self.left && node.0 != self.foca.identity().node {
            let _ = self.run(|foca, out| foca.announce(Identity::unknown(node), out));
        }
    }

    /// Takes from a packet what its sender can say.
    fn admit(&self, from: NodeId, mut packet: Packet) -> Result<Packet, PacketError> {
        let own = self.foca.identity();
        let src = &packet.header.src;
        let Some(life) = self.associations.get(&from) else { return Err(PacketError::NoAssociation) };
        if src.node() != from || src.incarnation != life.0 || src.node == own.node {
            return Err(PacketError::NotTheSender { found: src.node(), incarnation: Incarnation(src.incarnation) });
        }
        let is_new = !self.records.contains_key(&from);
        if is_new && self.records.len() >= self.config.members_max {
            return Err(PacketError::TooManyMembers);
        }
        // The session has brought it here, so it is meant for this node, also if the sender does not know yet that this
        // node has said something new about itself. Only the word that it is down concerns what it said before.
        if packet.header.dst.node == own.node && packet.header.message != Message::TurnUndead {
            packet.header.dst = own.clone();
        }
        let Some(news) = packet.news.take() else { return Ok(packet) };
        if news.iter().any(|update| update.id().node == own.node && update.id() > own) {
            return Err(PacketError::ClaimsOurs);
        }
        let mut room = self.config.members_max.saturating_sub(self.records.len() + usize::from(is_new));
        let admitted = news.into_iter().filter_map(|update| {
            let node = update.id().node();
            if node.0 == own.node || node == from {
                return Some(update);
            }
            let record = self.records.get(&node);
            let Some(life) = self.associations.get(&node) else {
                if record.is_none() {
                    room = room.checked_sub(1)?;
                }
                return Some(update);
            };
            let is_known = match record {
                Some(record) => record.identity == *update.id(),
                None => life.0 == update.id().incarnation && !update.id().left,
            };
            let state = if update.state() == State::Down { State::Suspect } else { update.state() };
            is_known.then(|| foca::Member::new(update.id().clone(), update.incarnation(), state))
        });
        packet.news = Some(admitted.collect());
        Ok(packet)
    }

    // ---- foca ----

    /// Gives foca an input, and does what it then wants.
    fn run<T>(
        &mut self,
        input: impl FnOnce(
            &mut Foca<Identity, PostcardCodec, Xoshiro256PlusPlus, NoCustomBroadcast>,
            &mut Out,
        ) -> Result<T, foca::Error>,
    ) -> Result<T, foca::Error> {
        let mut out = Out::default();
        let result = input(&mut self.foca, &mut out).and_then(|value| {
            // After a change of identity foca waits for a word from outside before it probes again.
            self.foca.apply_many(core::iter::empty(), false, &mut out)?;
            Ok(value)
        });
        for (timer, after) in out.timers {
            self.schedule(timer, after);
        }
        // What has become of others comes first: what ends an association goes before what opens the next one.
        self.compare();
        if out.rejoined {
            self.effects.push_back(MembershipEffect::Rejoined);
        }
        for (to, bytes) in out.packets {
            if to != self.foca.identity().node() {
                let bytes = self.tell_suspect(to, bytes);
                self.effects.push_back(MembershipEffect::Send { to, bytes });
            }
        }
        result
    }

    fn schedule(&mut self, timer: Timer<Identity>, after: u64) {
        let key = match &timer {
            Timer::SendIndirectProbe { .. } => TimerKey::Indirect,
            Timer::ProbeRandomMember(token) => {
                self.token = *token;
                TimerKey::Probe
            }
            Timer::PeriodicAnnounce(_) => TimerKey::Announce,
            Timer::PeriodicGossip(_) => TimerKey::Gossip,
            Timer::ChangeSuspectToDown { member_id, .. } => TimerKey::Suspect(member_id.node()),
            // Not asked for in its configuration: `retry_one` and `forget` do it.
            Timer::PeriodicAnnounceDown(_) | Timer::RemoveDown(_) => return,
        };
        // A member that fails probe after probe is down when the first suspicion says so.
        let says_the_same = |former: &Timer<_>| match (former, &timer) {
            (
                Timer::ChangeSuspectToDown { member_id: a, incarnation: b, .. },
                Timer::ChangeSuspectToDown { member_id: c, incarnation: d, .. },
            ) => (a, b) == (c, d),
            _ => false,
        };
        if !self.timers.get(&key).is_some_and(|(_, former)| says_the_same(former)) {
            self.timers.insert(key, (self.own_clock().saturating_add(after), timer));
        }
    }

    /// A suspect hears of it with whatever it is sent, so that it can refute it (the "buddy system" of Dadgar, Phillips and
    /// Currey, "Lifeguard", 2018).
    fn tell_suspect(&self, to: NodeId, bytes: Vec<u8>) -> Vec<u8> {
        let Some(suspect) =
            self.foca.iter_members().find(|member| member.id().node() == to && member.state() == State::Suspect)
        else {
            return bytes;
        };
        let told = || {
            let mut packet = Packet::decode(&bytes, self.config.packet_bytes_max).ok()?;
            if !matches!(packet.header.message, Message::Announce | Message::TurnUndead) {
                let news = packet.news.get_or_insert_default();
                news.retain(|update| update.id().node() != to);
                news.insert(0, suspect.clone());
            }
            packet.encode(self.config.packet_bytes_max)
        };
        told().unwrap_or(bytes)
    }

    /// Says what is new since the last time, and notes it.
    fn compare(&mut self) {
        let mut gone = self.records.len();
        for found in self.foca.iter_membership_state() {
            let node = found.id().node();
            if node == self.foca.identity().node() {
                continue;
            }
            let state = match found.state() {
                State::Alive => MemberState::Alive,
                State::Suspect => MemberState::Suspect,
                State::Down if found.id().left => MemberState::Left,
                State::Down => MemberState::Down,
            };
            let Some(record) = self.records.get_mut(&node) else {
                let record = Record { identity: found.id().clone(), state, since: self.now };
                self.records.insert(node, record);
                if state.is_active() {
                    self.effects.push_back(MembershipEffect::Up(found.id().member()));
                }
                if state == MemberState::Suspect {
                    self.effects.push_back(MembershipEffect::Suspect(node));
                }
                continue;
            };
            gone -= 1;
            if record.state == state && record.identity == *found.id() {
                continue;
            }
            let (was, before) = (record.state, core::mem::replace(&mut record.identity, found.id().clone()));
            let restarted = before.incarnation != found.id().incarnation;
            if was != state || restarted {
                record.since = self.now;
            }
            record.state = state;
            if was.is_active() && (restarted || !state.is_active()) {
                let reason = match state {
                    _ if restarted => DownReason::Restarted,
                    MemberState::Left => DownReason::Left,
                    _ => DownReason::Unreachable,
                };
                self.effects.push_back(MembershipEffect::Down { member: before.member(), reason });
                if self.associations.get(&node).is_some_and(|life| life.0 == before.incarnation) {
                    self.effects.push_back(MembershipEffect::EndAssociation { node, reason });
                }
            }
            if !state.is_active() {
                continue;
            }
            if restarted || !was.is_active() {
                self.effects.push_back(MembershipEffect::Up(found.id().member()));
            } else if before.member() != found.id().member() {
                self.effects.push_back(MembershipEffect::Changed(found.id().member()));
            }
            match (was, state) {
                (MemberState::Suspect, MemberState::Alive) if !restarted => {
                    self.effects.push_back(MembershipEffect::Refuted(node));
                }
                (before, MemberState::Suspect) if before != MemberState::Suspect || restarted => {
                    self.effects.push_back(MembershipEffect::Suspect(node));
                }
                _ => {}
            }
        }
        if gone > 0 {
            let known: alloc::collections::BTreeSet<_> =
                self.foca.iter_membership_state().map(|member| member.id().node()).collect();
            self.records.retain(|node, _| known.contains(node));
        }
    }
}

/// What foca wants while it has an input.
#[derive(Default)]
struct Out {
    packets: Vec<(NodeId, Vec<u8>)>,
    timers: Vec<(Timer<Identity>, u64)>,
    rejoined: bool,
}

impl foca::Runtime<Identity> for Out {
    fn notify(&mut self, notification: Notification<'_, Identity>) {
        self.rejoined |= matches!(notification, Notification::Rejoin(_));
    }

    fn send_to(&mut self, to: Identity, data: &[u8]) {
        self.packets.push((to.node(), data.to_vec()));
    }

    fn submit_after(&mut self, event: Timer<Identity>, after: Duration) {
        self.timers.push((event, u64::try_from(after.as_nanos()).unwrap_or(u64::MAX)));
    }
}

fn foca_config(config: &MembershipConfig) -> foca::Config {
    let count = |number: usize| NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN);
    let every = |ns: u64, members: usize| {
        Some(PeriodicParams { frequency: Duration::from_nanos(ns), num_members: count(members) })
    };
    foca::Config {
        probe_period: Duration::from_nanos(config.probe_period_ns),
        probe_rtt: Duration::from_nanos(config.probe_timeout_ns),
        num_indirect_probes: count(config.indirect_probes),
        max_transmissions: NonZeroU8::new(config.transmissions_max).unwrap_or(NonZeroU8::MIN),
        suspect_to_down_after: Duration::from_nanos(config.suspect_to_down_ns),
        remove_down_after: None,
        max_packet_size: count(config.packet_bytes_max),
        notify_down_members: true,
        periodic_announce: every(config.announce_ns, 1),
        periodic_announce_to_down_members: None,
        periodic_gossip: every(config.gossip_ns, config.gossip_members),
    }
}

fn bounded(mut member: Member) -> Member {
    let texts = [
        (&mut member.name, Member::NAME_BYTES_MAX),
        (&mut member.address, Member::ADDRESS_BYTES_MAX),
        (&mut member.version, Member::VERSION_BYTES_MAX),
    ];
    for (text, limit) in texts {
        text.truncate(text.floor_char_boundary(limit));
    }
    member
}
