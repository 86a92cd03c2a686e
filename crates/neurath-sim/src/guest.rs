//! A simulated process: what it does in one poll, by its own dice.
//!
//! It drives its port as a guest's host does and knows neither kernels nor sessions. What it asked for is a list of
//! [`Deed`]s, which stand only if its poll ends well. Invariant: it takes every answer and every message in the end, and
//! answers every call.

use std::collections::BTreeMap;

use neurath_kernel::action::Action;
use neurath_kernel::{Found, Look, Message, Port};
use neurath_proto::abi::ReceiveId;
use neurath_proto::cluster::{Answer, NodeDown, Question};
use neurath_proto::envelope::{Class, Payload, SchemaId};
use neurath_proto::notice::{Down, Exit};
use neurath_proto::reason::{CallError, ExitReason};
use neurath_proto::{Data, NodeId, Pid, Reader, Ref};

use crate::check::processes::{Deed, Ledger};
use crate::network::MS;
use crate::rng::Rng;
use crate::vocabulary::{Alike, KNOWN, READS, is_number, of_length};

/// Messages that one poll sends to one process at most.
pub const BURST: u64 = 4;
/// Bytes of the longest message.
pub const LONGEST: u64 = 8 << 10;
/// Names that processes give each other.
const NAMES: [&str; 4] = ["clock", "desk", "lamp", "stove"];

/// What a process sees of the world in a poll.
pub struct Scene<'a> {
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
enum Mode {
    /// Any message.
    Reads,
    /// A time: messages pile up.
    Naps,
}

/// See the module.
pub struct Guest {
    pid: Pid,
    rng: Rng,
    started: bool,
    mode: Mode,
    receive: u64,
    asked: BTreeMap<Ref, Asked>,
    owed: Vec<(Pid, Ref, u64)>,
    monitors: Vec<Ref>,
    linked: Vec<Pid>,
    /// It sends to this one whenever it can.
    pesters: Option<Pid>,
}

#[derive(Clone, Copy)]
enum Asked {
    Call(u64),
    Question,
}

impl Guest {
    /// A process that has not run yet.
    pub fn new(pid: Pid, rng: Rng) -> Self {
        Self {
            pid,
            rng,
            started: false,
            mode: Mode::Reads,
            receive: 0,
            asked: BTreeMap::new(),
            owed: Vec::new(),
            monitors: Vec::new(),
            linked: Vec::new(),
            pesters: None,
        }
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
            for _ in 0..self.rng.within(0..=3) {
                if !port.has_room() {
                    break;
                }
                self.deed(port, scene, &mut deeds);
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
        self.wait(port, scene.active, is_done);
        Ok((verdict, deeds))
    }

    // ---- reading ----

    fn take_answers(&mut self, port: &mut Port, scene: &mut Scene<'_>) -> Result<(), String> {
        let asked: Vec<(Ref, Asked)> = self.asked.iter().map(|(reference, asked)| (*reference, *asked)).collect();
        for (reference, asked) in asked {
            let receive = ReceiveId(reference.counter() * 2 + 1);
            let look = Look { receive, readers: &READS, reference, after_seq: 0, timeout_ns: u64::MAX, flags: 0 };
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
        }
        Ok(())
    }

    /// Reads what there is, or some of it; whether it waits for more already, or for a time.
    fn read(&mut self, port: &mut Port, scene: &mut Scene<'_>) -> Result<bool, String> {
        if matches!(self.mode, Mode::Naps) {
            if self.look(port, &[], 0) == Found::Pending {
                return Ok(true);
            }
            self.receive += 1;
            self.mode = Mode::Reads;
        }
        let most = if scene.active { self.rng.magnitude(1..=64) } else { u64::MAX };
        for _ in 0..most {
            let found = self.look(port, &READS, 0);
            if found == Found::Pending {
                return Ok(true);
            }
            self.receive += 1;
            let Found::Message(seq, ..) = found else { break };
            let message = port.take(seq).ok_or("a message that was found is not there")?;
            self.take(scene, &message)?;
        }
        Ok(false)
    }

    /// Looks for a message; the time is of the first look.
    fn look(&self, port: &mut Port, readers: &[SchemaId], timeout_ns: u64) -> Found {
        let receive = ReceiveId(self.receive * 2);
        let look = Look { receive, readers, reference: Ref::NONE, after_seq: 0, timeout_ns, flags: 0 };
        port.look(&look, &Alike)
    }

    fn take(&mut self, scene: &mut Scene<'_>, message: &Message) -> Result<(), String> {
        let (me, bytes, ledger) = (self.pid, message.payload.as_slice(), &mut scene.ledger);
        match message.schema {
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
    fn wait(&mut self, port: &mut Port, active: bool, waits: bool) {
        let naps = active && self.rng.chance(8);
        let (readers, timeout_ns): (&[SchemaId], u64) = match (active, naps) {
            (true, true) => (&[], self.rng.magnitude(MS..=4_000 * MS)),
            (true, false) => (&READS, self.rng.magnitude(MS..=500 * MS)),
            (false, _) => (&READS, u64::MAX),
        };
        if waits && matches!(self.mode, Mode::Naps) {
            return;
        }
        if waits {
            port.cancel(ReceiveId(self.receive * 2), &Alike);
            self.receive += 1;
        }
        self.mode = if naps { Mode::Naps } else { Mode::Reads };
        if self.look(port, readers, timeout_ns) != Found::Pending {
            // There is more: it is left for a moment.
            self.receive += 1;
            self.mode = Mode::Naps;
            let moment_ns = self.rng.magnitude(MS / 10..=20 * MS);
            self.look(port, &[], moment_ns);
        }
    }

    // ---- deeds ----

    fn deed(&mut self, port: &mut Port, scene: &mut Scene<'_>, deeds: &mut Vec<Deed>) {
        let Some(to) = scene.ledger.someone(&mut self.rng).filter(|to| *to != self.pid) else { return };
        let node = scene.nodes[self.rng.index(scene.nodes.len())];
        match self.rng.within(0..=999) {
            0..=299 => self.send(port, scene, to, deeds),
            300..=449 => self.call(port, scene, to, deeds),
            450..=569 => {
                let reference = port.monitor(to);
                self.monitors.push(reference);
                deeds.push(Deed::Monitor { to, reference });
            }
            570..=599 if !self.monitors.is_empty() => {
                let reference = self.monitors.swap_remove(self.rng.index(self.monitors.len()));
                port.request(Action::Demonitor(reference));
                deeds.push(Deed::Demonitor { reference });
            }
            600..=669 if !scene.ledger.is_parent(self.pid, to) => {
                self.send(port, scene, to, deeds);
                port.request(Action::Link(to));
                self.linked.push(to);
                deeds.push(Deed::Link { to });
            }
            670..=689 if !self.linked.is_empty() => {
                let other = self.linked.swap_remove(self.rng.index(self.linked.len()));
                port.request(Action::Unlink(other));
            }
            690..=739 if scene.ledger.living() < scene.living_max => self.spawn(port, node, deeds),
            740..=744 => {
                self.send(port, scene, to, deeds);
                port.request(Action::Kill(to));
                deeds.push(Deed::Kill { to });
            }
            745..=764 => {
                self.send(port, scene, to, deeds);
                let number = self.rng.number();
                let reason = ExitReason::Trap { message: number.to_string() };
                port.request(Action::Exit(to, reason.clone()));
                deeds.push(Deed::AskExit { to, reason });
            }
            765..=824 => {
                let name = NAMES[self.rng.index(NAMES.len())].to_owned();
                let pid = if self.rng.chance(50) { to } else { self.pid };
                let question = match self.rng.within(0..=3) {
                    0 | 1 => Question::Register { node, name, pid },
                    2 => Question::Whereis { node, name },
                    _ => Question::Unregister { node, name },
                };
                self.ask(port, node, question, deeds);
            }
            825..=844 => self.ask(port, node, Question::Ping { node }, deeds),
            845..=869 if node != self.pid.node => {
                let reference = port.ask(Question::MonitorNode { node });
                deeds.push(Deed::MonitorNode { node, reference });
            }
            870..=889 => self.pesters = if self.pesters.is_some() { None } else { Some(to) },
            _ => {}
        }
    }

    fn send(&mut self, port: &mut Port, scene: &Scene<'_>, to: Pid, deeds: &mut Vec<Deed>) {
        for _ in 0..self.rng.within(1..=BURST) {
            let before = deeds.iter().filter(|deed| matches!(deed, Deed::Sent { to: other } if *other == to)).count();
            if before as u64 >= BURST {
                return;
            }
            let payload = payload(scene.ledger.next(self.pid, to) + before as u64, length(&mut self.rng));
            let schema = of_length(payload.len());
            if port.send(to, Class::Message, Ref::NONE, schema, payload).is_err() {
                return;
            }
            deeds.push(Deed::Sent { to });
        }
    }

    fn call(&mut self, port: &mut Port, scene: &Scene<'_>, to: Pid, deeds: &mut Vec<Deed>) {
        let before = deeds.iter().filter(|deed| matches!(deed, Deed::Sent { to: other } if *other == to)).count();
        if before as u64 >= BURST {
            return;
        }
        let number = scene.ledger.next(self.pid, to) + before as u64;
        let reference = port.reference();
        let payload = payload(number, length(&mut self.rng));
        let schema = of_length(payload.len());
        if port.send(to, Class::Call, reference, schema, payload).is_ok() {
            self.asked.insert(reference, Asked::Call(number));
            deeds.push(Deed::Sent { to });
            deeds.push(Deed::Called { to, reference });
        }
    }

    fn spawn(&mut self, port: &mut Port, node: NodeId, deeds: &mut Vec<Deed>) {
        let (link, monitor) = (self.rng.chance(50), self.rng.chance(50));
        if node == self.pid.node && self.rng.chance(50) {
            let (to, reference) = port.spawn(0, Vec::new(), link, monitor);
            if monitor {
                self.monitors.push(reference);
                deeds.push(Deed::Monitor { to, reference });
            }
        } else {
            let entry = if self.rng.chance(90) { "guest".to_owned() } else { "nothing".to_owned() };
            self.ask(port, node, Question::Spawn { node, entry, arguments: Vec::new(), link, monitor }, deeds);
        }
    }

    fn ask(&mut self, port: &mut Port, node: NodeId, question: Question, deeds: &mut Vec<Deed>) {
        let what = format!("{question:?}");
        let reference = port.ask(question);
        if reference.is_some() {
            self.asked.insert(reference, Asked::Question);
            deeds.push(Deed::Asked { node, reference, question: what });
        }
    }
}

fn length(rng: &mut Rng) -> usize {
    let longest = if rng.chance(80) { 100 } else { LONGEST };
    rng.magnitude(8..=longest) as usize
}

/// A number, and zeros behind it.
fn payload(number: u64, length: usize) -> Payload {
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
