//! A simulated process: what it does in one poll, by its own dice.
//!
//! It drives its port as a guest's host does and knows neither kernels nor sessions. What it asked for is a list of
//! [`Deed`]s, which stand only if its poll ends well. Invariant: it takes every answer and every message in the end, and
//! answers every call.

use std::collections::{BTreeMap, BTreeSet};

use neurath_kernel::action::Action;
use neurath_kernel::{Found, Look, Message, Port};
use neurath_proto::abi::{ReceiveId, take_flags};
use neurath_proto::cluster::{Answer, NodeDown};
use neurath_proto::envelope::{Class, Payload, SchemaId};
use neurath_proto::notice::{Down, Exit};
use neurath_proto::reason::{CallError, ExitReason};
use neurath_proto::{Data, NodeId, Pid, Reader, Ref};

use crate::check::processes::{Deed, Ledger};
use crate::network::MS;
use crate::rng::Rng;
use crate::vocabulary::{Alike, KNOWN, READS, TIMED, is_number, of_length};

mod deeds;

/// Messages that one poll sends to one process at most.
pub const BURST: u64 = 4;
/// Bytes of the longest message.
pub const LONGEST: u64 = 8 << 10;

/// What a process sees of the world in a poll.
pub struct Scene<'a> {
    /// The time.
    pub now: u64,
    /// Whom there is to speak to, and who is told what was seen.
    pub ledger: &'a mut Ledger,
    /// All nodes.
    pub nodes: &'a [NodeId],
    /// It still begins things; otherwise it only reads and answers.
    pub active: bool,
    /// Processes that may live at once.
    pub living_max: usize,
}

/// How a poll ends.
pub enum Verdict {
    /// It waits.
    Wait,
    /// It ends.
    Exit(ExitReason),
    /// It fails: nothing of this poll stands.
    Trap(ExitReason),
}

/// What it waits for beside answers.
#[derive(Clone)]
enum Mode {
    /// Any message.
    Reads,
    /// A time: messages pile up.
    Naps,
}

/// See the module.
#[derive(Clone)]
pub struct Guest {
    pid: Pid,
    /// The version of its code.
    version: u8,
    rng: Rng,
    started: bool,
    mode: Mode,
    receive: u64,
    /// Its receive does not give up before.
    due: u64,
    asked: BTreeMap<Ref, Wish>,
    owed: Vec<(Pid, Ref, u64)>,
    monitors: Vec<Ref>,
    linked: Vec<Pid>,
    /// It sends to this one whenever it can.
    pesters: Option<Pid>,
    /// The groups that it is a member of, as it has asked.
    groups: BTreeSet<&'static str>,
    /// Members of a group, who are to hear of it.
    addressees: Vec<Pid>,
    timers: Vec<Timer>,
    /// How many timers it has set.
    timed: u32,
}

/// An answer that it waits for.
#[derive(Clone, Copy)]
struct Wish {
    asked: Asked,
    timeout_ns: u64,
    /// It does not give up before; known from its first look on.
    due: Option<u64>,
}

#[derive(Clone, Copy)]
enum Asked {
    Call(u64),
    Question,
    /// The members of a group, of which it is one or not.
    Members(&'static str, bool),
}

/// A timer that it has not cancelled.
#[derive(Clone)]
struct Timer {
    reference: Ref,
    number: u32,
    due: u64,
}

impl Guest {
    /// A process that has not run yet.
    pub fn new(pid: Pid, version: u8, rng: Rng) -> Self {
        Self {
            pid,
            version,
            rng,
            started: false,
            mode: Mode::Reads,
            receive: 0,
            due: 0,
            asked: BTreeMap::new(),
            owed: Vec::new(),
            monitors: Vec::new(),
            linked: Vec::new(),
            pesters: None,
            groups: BTreeSet::new(),
            addressees: Vec::new(),
            timers: Vec::new(),
            timed: 0,
        }
    }

    /// Who it is.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// The version of its code.
    pub fn version(&self) -> u8 {
        self.version
    }

    /// It has this version from now on: its state is kept, and what it waited for is not.
    pub fn change(&mut self, version: u8) {
        self.version = version;
        self.mode = Mode::Reads;
        self.next_receive();
    }

    /// Its turn. What it did, and how that ends.
    ///
    /// # Errors
    /// It saw that a promise was not kept.
    pub fn poll(&mut self, port: &mut Port, scene: &mut Scene<'_>) -> Result<(Verdict, Vec<Deed>), String> {
        let mut deeds = Vec::new();
        if !std::mem::replace(&mut self.started, true) && self.rng.chance(60) {
            port.request(Action::TrapExit(true));
            deeds.push(Deed::Trap);
        }
        self.take_answers(port, scene)?;
        let is_done = self.read(port, scene)?;
        self.answer(port, scene.active);
        let mut verdict = Verdict::Wait;
        if scene.active {
            for to in std::mem::take(&mut self.addressees) {
                self.send(port, scene, to, &mut deeds);
            }
            for _ in 0..self.rng.within(0..=3) {
                if !port.has_room() {
                    break;
                }
                self.deed(port, scene, &mut deeds)?;
            }
            if let Some(to) = self.pesters {
                self.send(port, scene, to, &mut deeds);
            }
            let reason = ExitReason::Trap { message: format!("{} had enough", self.rng.number()) };
            verdict = match self.rng.within(0..=399) {
                0 => Verdict::Exit(ExitReason::Normal),
                1 => Verdict::Exit(reason),
                2 => Verdict::Trap(reason),
                _ => Verdict::Wait,
            };
        }
        self.wait(port, scene, is_done)?;
        Ok((verdict, deeds))
    }

    // ---- reading ----

    fn take_answers(&mut self, port: &mut Port, scene: &mut Scene<'_>) -> Result<(), String> {
        let asked: Vec<Ref> = self.asked.keys().copied().collect();
        for reference in asked {
            let Some(wish) = self.asked.get_mut(&reference) else { continue };
            let due = *wish.due.get_or_insert(scene.now.saturating_add(wish.timeout_ns));
            let Wish { asked, timeout_ns, .. } = *wish;
            let receive = ReceiveId(reference.counter() * 2 + 1);
            let look = Look { receive, readers: &READS, reference, after_seq: 0, timeout_ns, flags: 0 };
            match port.look(&look, &Alike) {
                Found::Answer(_) => {
                    let answer = port.take_answer(reference).ok_or("an answer that was found is not there")?;
                    self.answered(scene, reference, asked, &answer)?;
                }
                Found::Failed => {
                    let bytes = port.take_failure(reference).ok_or("a failure that was found is not there")?;
                    let error: CallError = decode(&bytes)?;
                    scene.ledger.failed(self.pid, reference, &error)?;
                }
                Found::TimedOut if scene.now < due => return Err(self.too_early(scene.now, due)),
                Found::TimedOut => scene.ledger.gave_up(self.pid, reference),
                _ => continue,
            }
            self.asked.remove(&reference);
        }
        Ok(())
    }

    fn answered(
        &mut self,
        scene: &mut Scene<'_>,
        reference: Ref,
        asked: Asked,
        answer: &Message,
    ) -> Result<(), String> {
        let bytes = answer.payload.as_slice();
        scene.ledger.answered(self.pid, reference)?;
        match asked {
            Asked::Call(number) => {
                let found: u64 = decode(bytes)?;
                if found != number {
                    return Err(format!("{}: call {number} got the answer to {found}", self.pid));
                }
            }
            Asked::Question => {
                if let Answer::Spawned { pid, monitor } = decode(bytes)? {
                    scene.ledger.acknowledged(pid);
                    if monitor.is_some() {
                        scene.ledger.born_watched(self.pid, reference, pid, monitor);
                        self.monitors.push(monitor);
                    }
                }
            }
            Asked::Members(group, is_member) => {
                let Answer::Pids { pids } = decode(bytes)? else {
                    return Err(format!("{} asked for the members of {group}, and got something else", self.pid));
                };
                scene.ledger.members(self.pid, group, &pids, is_member)?;
                self.found_members(pids);
            }
        }
        Ok(())
    }

    /// Reads what there is, or some of it; whether it waits for more already, or for a time.
    fn read(&mut self, port: &mut Port, scene: &mut Scene<'_>) -> Result<bool, String> {
        if matches!(self.mode, Mode::Naps) {
            if self.look(port, scene.now, &[], 0)? == Found::Pending {
                return Ok(true);
            }
            self.next_receive();
            self.mode = Mode::Reads;
        }
        let most = if scene.active { self.rng.magnitude(1..=64) } else { u64::MAX };
        for _ in 0..most {
            let found = self.look(port, scene.now, &READS, 0)?;
            if found == Found::Pending {
                return Ok(true);
            }
            self.next_receive();
            let Found::Message(seq, ..) = found else { break };
            let message = port.take(seq).ok_or("a message that was found is not there")?;
            self.take(scene, &message)?;
        }
        Ok(false)
    }

    fn next_receive(&mut self) {
        self.receive += 1;
        self.due = 0;
    }

    /// Looks for a message; the time is of the first look.
    fn look(&mut self, port: &mut Port, now: u64, readers: &[SchemaId], timeout_ns: u64) -> Result<Found, String> {
        if self.due == 0 {
            self.due = now.saturating_add(timeout_ns);
        }
        let receive = ReceiveId(self.receive * 2);
        // It is a server: its code can be changed when it waits for any message, and for nothing else.
        let between = !readers.is_empty() && self.asked.is_empty();
        let flags = if between { take_flags::BETWEEN_MESSAGES } else { 0 };
        let look = Look { receive, readers, reference: Ref::NONE, after_seq: 0, timeout_ns, flags };
        let found = port.look(&look, &Alike);
        if found == Found::TimedOut && now < self.due { Err(self.too_early(now, self.due)) } else { Ok(found) }
    }

    fn too_early(&self, now: u64, due: u64) -> String {
        format!("{} gave up waiting at {now} ns, and was to wait until {due} ns", self.pid)
    }

    fn take(&mut self, scene: &mut Scene<'_>, message: &Message) -> Result<(), String> {
        let (me, bytes, now, ledger) = (self.pid, message.payload.as_slice(), scene.now, &mut scene.ledger);
        match message.schema {
            TIMED => ledger.timer_taken(message.from, me, decode(bytes)?, now),
            schema if is_number(schema) => {
                let number = decode(bytes)?;
                ledger.taken(message.from, me, number)?;
                if message.class == Class::Call {
                    self.owed.push((message.from, message.reference, number));
                }
                Ok(())
            }
            schema if schema == KNOWN.down => ledger.down(me, &decode::<Down>(bytes)?),
            schema if schema == KNOWN.exit => ledger.exit(me, &decode::<Exit>(bytes)?),
            schema if schema == KNOWN.node_down => ledger.node_down(me, &decode::<NodeDown>(bytes)?),
            _ => Ok(()),
        }
    }

    fn answer(&mut self, port: &mut Port, active: bool) {
        let rng = &mut self.rng;
        self.owed.retain(|(to, reference, number)| {
            let later = active && rng.chance(30);
            // Replies are short, and what has no room now has it in the next poll.
            later || port.send(*to, Class::Reply, *reference, of_length(8), payload(*number, 8)).is_err()
        });
    }

    /// Waits for messages, for a while or until one comes; or naps, and reads the rest then.
    fn wait(&mut self, port: &mut Port, scene: &Scene<'_>, waits: bool) -> Result<(), String> {
        let naps = scene.active && self.rng.chance(8);
        let (readers, timeout_ns): (&[SchemaId], u64) = match (scene.active, naps) {
            (true, true) => (&[], self.rng.magnitude(MS..=4_000 * MS)),
            (true, false) => (&READS, self.rng.magnitude(MS..=500 * MS)),
            (false, _) => (&READS, u64::MAX),
        };
        if waits && matches!(self.mode, Mode::Naps) {
            return Ok(());
        }
        if waits {
            port.cancel(ReceiveId(self.receive * 2), &Alike);
            self.next_receive();
        }
        self.mode = if naps { Mode::Naps } else { Mode::Reads };
        if self.look(port, scene.now, readers, timeout_ns)? != Found::Pending {
            // There is more: it is left for a moment.
            self.next_receive();
            self.mode = Mode::Naps;
            let moment_ns = self.rng.magnitude(MS / 10..=20 * MS);
            self.look(port, scene.now, &[], moment_ns)?;
        }
        Ok(())
    }
}

/// A number, and zeros behind it.
fn payload(number: impl Data, length: usize) -> Payload {
    let mut bytes = Vec::with_capacity(length);
    number.encode(&mut bytes);
    bytes.resize(length.max(bytes.len()), 0);
    Payload::from(bytes)
}

/// The value that bytes begin with.
///
/// # Errors
/// They do not begin with one.
pub fn decode<T: Data>(bytes: &[u8]) -> Result<T, String> {
    T::decode(&mut Reader::new(bytes)).map_err(|error| format!("what arrived cannot be read: {error}"))
}
