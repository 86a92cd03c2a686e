//! What a simulated process does of its own accord: it sends, calls, asks, watches, links, ends others, sets timers.
//!
//! It refuses to know what comes of that. Invariant: each thing that was asked of the port is a [`Deed`], if its promise is
//! checked.

use neurath_kernel::Port;
use neurath_kernel::action::Action;
use neurath_proto::cluster::Question;
use neurath_proto::envelope::Class;
use neurath_proto::reason::ExitReason;
use neurath_proto::{NodeId, Pid, Ref};

use super::{Asked, BURST, Guest, LONGEST, Scene, Timer, Wish, payload};
use crate::check::processes::Deed;
use crate::network::MS;
use crate::rng::Rng;
use crate::vocabulary::{TIMED, of_length};

/// Names that processes give each other.
const NAMES: [&str; 4] = ["clock", "desk", "lamp", "stove"];
/// Groups that they join.
const GROUPS: [&str; 3] = ["cooks", "guests", "porters"];

impl Guest {
    /// One of all things that processes do.
    pub(super) fn deed(&mut self, port: &mut Port, scene: &mut Scene<'_>, deeds: &mut Vec<Deed>) -> Result<(), String> {
        let Some(to) = scene.ledger.someone(&mut self.rng).filter(|to| *to != self.pid) else { return Ok(()) };
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
            890..=939 => self.deed_with_group(port, deeds),
            940..=969 => self.set_timer(port, scene.now, to, deeds),
            970..=989 if !self.timers.is_empty() => self.cancel_timer(port, scene.now, deeds)?,
            _ => {}
        }
        Ok(())
    }

    pub(super) fn send(&mut self, port: &mut Port, scene: &Scene<'_>, to: Pid, deeds: &mut Vec<Deed>) {
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
            self.wish(reference, Asked::Call(number));
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

    fn deed_with_group(&mut self, port: &mut Port, deeds: &mut Vec<Deed>) {
        let group = GROUPS[self.rng.index(GROUPS.len())];
        let node = self.pid.node;
        match self.rng.within(0..=99) {
            0..=39 => {
                self.ask(port, node, Question::Join { group: group.to_owned() }, deeds);
                self.groups.insert(group);
                deeds.push(Deed::Join { group });
            }
            40..=59 => {
                self.ask(port, node, Question::Leave { group: group.to_owned() }, deeds);
                self.groups.remove(group);
                deeds.push(Deed::Leave { group });
            }
            _ => {
                let asked = Asked::Members(group, self.groups.contains(group));
                self.ask_for(port, node, Question::Members { group: group.to_owned() }, asked, deeds);
            }
        }
    }

    /// All members hear of it, or one does.
    pub(super) fn found_members(&mut self, mut pids: Vec<Pid>) {
        pids.retain(|pid| *pid != self.pid);
        if !pids.is_empty() && self.rng.chance(50) {
            pids = vec![pids[self.rng.index(pids.len())]];
        }
        self.addressees = pids;
    }

    fn set_timer(&mut self, port: &mut Port, now: u64, to: Pid, deeds: &mut Vec<Deed>) {
        let to = if self.rng.chance(50) { self.pid } else { to };
        let delay_ns = self.rng.magnitude(MS..=20_000 * MS);
        let number = self.timed + 1;
        if let Ok(reference) = port.send_after(delay_ns, to, TIMED, payload(number, 8)) {
            let due = now + delay_ns;
            self.timed = number;
            self.timers.push(Timer { reference, number, due });
            deeds.push(Deed::SetTimer { to, number, due });
        }
    }

    fn cancel_timer(&mut self, port: &mut Port, now: u64, deeds: &mut Vec<Deed>) -> Result<(), String> {
        let Timer { reference, number, due } = self.timers.swap_remove(self.rng.index(self.timers.len()));
        let was_running = port.cancel_timer(reference);
        if was_running {
            deeds.push(Deed::CancelTimer { number });
        }
        let name = format!("timer {number} of {}, which is for {due} ns", self.pid);
        match was_running {
            true if now > due => Err(format!("{name}, still runs at {now} ns")),
            false if now < due => Err(format!("{name}, runs no more at {now} ns")),
            _ => Ok(()),
        }
    }

    fn ask(&mut self, port: &mut Port, node: NodeId, question: Question, deeds: &mut Vec<Deed>) {
        self.ask_for(port, node, question, Asked::Question, deeds);
    }

    fn ask_for(&mut self, port: &mut Port, node: NodeId, question: Question, asked: Asked, deeds: &mut Vec<Deed>) {
        let what = format!("{question:?}");
        let reference = port.ask(question);
        if reference.is_some() {
            self.wish(reference, asked);
            deeds.push(Deed::Asked { node, reference, question: what });
        }
    }

    /// Some answers are waited for until they come.
    fn wish(&mut self, reference: Ref, asked: Asked) {
        let timeout_ns = if self.rng.chance(25) { self.rng.magnitude(MS..=4_000 * MS) } else { u64::MAX };
        self.asked.insert(reference, Wish { asked, timeout_ns, due: None });
    }
}

fn length(rng: &mut Rng) -> usize {
    let longest = if rng.chance(80) { 100 } else { LONGEST };
    rng.magnitude(8..=longest) as usize
}
