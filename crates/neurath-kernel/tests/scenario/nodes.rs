//! Several nodes: names, children, links, monitors, groups and limits across them, and what becomes of all that when a
//! node is gone.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use neurath_kernel::action::Action;
use neurath_kernel::session::wire::{self, WireTypes};
use neurath_kernel::{Found, Outcome, PortLimits, Signal, Turn};
use neurath_proto::abi::ReceiveId;
use neurath_proto::cluster::{Answer, NodeDown, NodeUp, Question};
use neurath_proto::envelope::SchemaId;
use neurath_proto::id::Incarnation;
use neurath_proto::notice::NameAnswer;
use neurath_proto::reason::ExitReason;
use neurath_proto::{Data, NodeId, Pid, Reader, Ref, SchemaHash, Serial};

use crate::world::{KNOWN, NUMBER, Poll, Verdict, World, answer, down, exit, number, request};

/// Schemas as the wire has them.
struct Hashes;

impl WireTypes for Hashes {
    fn hash(&self, schema: SchemaId) -> SchemaHash {
        SchemaHash([schema.0 as u8; 16])
    }

    fn id(&self, hash: SchemaHash) -> Option<SchemaId> {
        Some(SchemaId(u32::from(hash.0[0])))
    }
}

/// Nodes whose associations the test opens and ends. What one says to another goes as bytes, in order.
struct Cluster {
    nodes: Vec<World>,
    ways: BTreeMap<(usize, usize), VecDeque<Vec<u8>>>,
    /// Pairs that are connected.
    open: Vec<(usize, usize)>,
    /// What could not be sent.
    unsent: Vec<Signal>,
}

fn id(node: usize) -> NodeId {
    NodeId(100 + node as u64)
}

impl Cluster {
    fn new(nodes: usize, seed: u64) -> Self {
        Self::with(nodes, seed, PortLimits::default())
    }

    fn with(nodes: usize, seed: u64, limits: PortLimits) -> Self {
        let worlds = (0..nodes).map(|node| World::on(id(node), 2, seed + node as u64, limits)).collect();
        let mut cluster = Self { nodes: worlds, ways: BTreeMap::new(), open: Vec::new(), unsent: Vec::new() };
        for a in 0..nodes {
            for b in 0..a {
                cluster.connect(a, b);
            }
        }
        cluster
    }

    fn connect(&mut self, a: usize, b: usize) {
        self.open.push((a.min(b), a.max(b)));
        for (here, there) in [(a, b), (b, a)] {
            for shard in 0..2 {
                self.nodes[here].kernel(shard).node_up(id(there), Incarnation(1), &format!("n{there}"));
                self.nodes[here].effects(shard);
            }
        }
    }

    /// Ends an association as `here` sees it; what was on its way is lost.
    fn part(&mut self, a: usize, b: usize) {
        self.open.retain(|pair| *pair != (a.min(b), a.max(b)));
        for (here, there) in [(a, b), (b, a)] {
            self.ways.remove(&(here, there));
            for shard in 0..2 {
                self.nodes[here].kernel(shard).node_down(id(there), "parted");
                self.nodes[here].effects(shard);
            }
        }
    }

    /// Runs everything until nothing is left to do.
    fn settle(&mut self) {
        self.settle_without(usize::MAX);
    }

    /// The same, and what is for one node is on its way for ever.
    fn settle_without(&mut self, unheard: usize) {
        loop {
            let mut moved = false;
            for node in 0..self.nodes.len() {
                self.nodes[node].settle();
                moved |= self.post(node);
            }
            for ((from, to), way) in self.ways.iter_mut().filter(|((_, to), _)| *to != unheard) {
                let mut lane = std::mem::take(way);
                moved |= !lane.is_empty();
                while let Some(bytes) = lane.pop_front() {
                    let signal = wire::decode(&bytes, &Hashes).unwrap();
                    assert!(signal.sender().is_none_or(|sender| sender.node == id(*from)), "{signal:?} from {from}");
                    self.nodes[*to].kernel(1).signal(signal);
                    self.nodes[*to].effects(1);
                }
            }
            self.start_wanted();
            if !moved {
                return;
            }
        }
    }

    fn post(&mut self, from: usize) -> bool {
        let mut moved = false;
        while let Some((node, signal)) = self.nodes[from].abroad.pop_front() {
            moved = true;
            let to = (node.0 - 100) as usize;
            if self.open.contains(&(from.min(to), from.max(to))) {
                let mut bytes = Vec::new();
                wire::encode(&signal, &Hashes, &mut bytes);
                self.ways.entry((from, to)).or_default().push_back(bytes);
            } else {
                self.unsent.push(signal);
            }
        }
        moved
    }

    /// What drivers do with wishes for children.
    fn start_wanted(&mut self) {
        for node in &mut self.nodes {
            for wish in std::mem::take(&mut node.wanted) {
                let program = node.program(None);
                node.kernel(0).spawn_for(&program, wish);
                node.effects(0);
            }
        }
    }
}

type Notes = Rc<RefCell<Vec<String>>>;

/// Does something at its start, then notes everything that comes, in words.
fn noter(
    world: &mut World,
    shard: usize,
    start: impl Fn(&mut Poll<'_>) -> Option<Ref> + Clone + 'static,
) -> (Pid, Notes) {
    let notes = Notes::default();
    let seen = notes.clone();
    let (mut receive, mut asked) = (10, None);
    let pid = world.run_script(shard, move |poll| {
        if poll.woken.is_none() {
            asked = start(poll);
        }
        if let Some(reference) = asked {
            match poll.answer(1, reference, &[KNOWN.answer], u64::MAX) {
                Found::Answer(_) => {
                    let message = poll.port.take_answer(reference).unwrap();
                    let text = match answer(&message) {
                        Answer::Spawned { .. } => "spawned".into(),
                        other => format!("{other:?}"),
                    };
                    seen.borrow_mut().push(text);
                    asked = None;
                }
                Found::Failed => {
                    seen.borrow_mut().push("failed".into());
                    poll.port.take_failure(reference);
                    asked = None;
                }
                _ => {}
            }
        }
        let all = [KNOWN.down, KNOWN.exit, KNOWN.node_up, KNOWN.node_down, NUMBER];
        while let Some(message) = poll.recv(receive, &all) {
            receive += 1;
            let bytes = message.payload.as_slice();
            let text = match message.schema {
                schema if schema == KNOWN.down => format!("down {}", down(&message).reason),
                schema if schema == KNOWN.exit => format!("exit {}", exit(&message).reason),
                schema if schema == KNOWN.node_up => {
                    format!("up {}", NodeUp::decode(&mut Reader::new(bytes)).unwrap().name)
                }
                schema if schema == KNOWN.node_down => {
                    let down = NodeDown::decode(&mut Reader::new(bytes)).unwrap();
                    format!("node down {} {}", down.monitor.is_some(), down.reason)
                }
                _ => format!("number {}", number(&message)),
            };
            seen.borrow_mut().push(text);
        }
        Verdict::Wait
    });
    (pid, notes)
}

/// Ends with this reason when it gets a number.
fn mortal(world: &mut World, shard: usize, reason: ExitReason) -> Pid {
    world.run_script(shard, move |poll| match poll.recv(1, &[NUMBER]) {
        Some(_) => Verdict::Exit(reason.clone()),
        None => Verdict::Wait,
    })
}

#[test]
fn monitors_and_links_fire_across_nodes_with_the_reason() {
    for seed in 0..20 {
        let mut cluster = Cluster::new(2, seed);
        let boom = ExitReason::Trap { message: "boom".into() };
        let target = mortal(&mut cluster.nodes[1], 1, boom);
        let (_, seen) = noter(&mut cluster.nodes[0], 1, move |poll| {
            poll.port.monitor(target);
            request(poll, Action::TrapExit(true));
            request(poll, Action::Link(target));
            None
        });
        cluster.settle();
        assert!(seen.borrow().is_empty());
        cluster.nodes[1].send(target, NUMBER, 1);
        cluster.settle();
        let mut seen = seen.borrow().clone();
        seen.sort();
        assert_eq!(seen, ["down trapped: boom", "exit trapped: boom"], "seed {seed}");
    }
}

const LINK: u64 = 0;
const UNLINK: u64 = 1;

/// Links and unlinks as it is told.
fn run_tied(world: &mut World, to: Pid) -> Pid {
    world.run_script(0, move |poll| {
        while let Some(message) = poll.recv(1, &[NUMBER]) {
            let wish = if number(&message) == LINK { Action::Link(to) } else { Action::Unlink(to) };
            request(poll, wish);
        }
        Verdict::Wait
    })
}

/// Whoever unlinks does not know yet what the other is asking for.
#[test]
fn of_links_and_unlinks_that_cross_both_ends_stay_or_neither() {
    for seed in 0..200 {
        let mut cluster = Cluster::new(2, seed);
        let other = |node: usize| Pid::new(id(1 - node), Incarnation(1), Serial(2));
        for node in 0..2 {
            assert_eq!(run_tied(&mut cluster.nodes[node], other(node)), other(1 - node));
        }
        for _ in 0..20 {
            let (node, wish) = (cluster.nodes[0].random(2) as usize, cluster.nodes[0].random(2));
            cluster.nodes[node].send(other(1 - node), NUMBER, wish);
            if cluster.nodes[0].random(4) == 0 {
                cluster.settle();
            }
        }
        cluster.settle();
        let links = |node: usize| cluster.nodes[node].info(other(1 - node)).unwrap().links;
        assert_eq!(links(0).is_empty(), links(1).is_empty(), "seed {seed}");
    }
}

/// Otherwise an answer to an unlink from before the move could pass for that to one after it.
#[test]
fn a_process_that_moved_counts_its_unlinks_on() {
    let mut cluster = Cluster::new(2, 1);
    let other = cluster.nodes[1].run_script(0, |_| Verdict::Wait);
    let pid = run_tied(&mut cluster.nodes[0], other);
    cluster.nodes[0].send(pid, NUMBER, LINK);
    cluster.nodes[0].send(pid, NUMBER, UNLINK);
    cluster.settle();
    let (_, record) = cluster.nodes[0].kernel(0).release(pid, 0).unwrap();
    assert_eq!(record.unlinking, [], "the unlink was answered");
    cluster.nodes[0].kernel(0).import(record);
    cluster.nodes[0].send(pid, NUMBER, LINK);
    cluster.nodes[0].send(pid, NUMBER, UNLINK);
    cluster.nodes[0].settle();
    assert_eq!(cluster.nodes[0].kernel(0).export(pid).unwrap().unlinking, [(other, 2)]);
}

/// It says what it asked for when it is over, and then hears what happened meanwhile.
#[test]
fn what_a_long_poll_asked_for_does_not_get_into_an_association_that_began_meanwhile() {
    let mut cluster = Cluster::new(2, 1);
    let target = cluster.nodes[1].run_script(0, |_| Verdict::Wait);
    let pid = cluster.nodes[0].run_script(0, move |poll| {
        request(poll, Action::TrapExit(true));
        poll.port.monitor(target);
        poll.recv(1, &[NUMBER]);
        Verdict::Wait
    });
    cluster.settle();
    cluster.nodes[0].send(pid, NUMBER, 1);
    let Turn { slot, mut port, .. } = cluster.nodes[0].kernel(0).next_turn().unwrap();
    port.monitor(target);
    request(&mut Poll { port: &mut port, woken: None }, Action::Link(target));
    cluster.part(0, 1);
    cluster.connect(0, 1);
    cluster.nodes[0].kernel(0).finish(slot, port, Outcome::Pending);
    cluster.nodes[0].effects(0);
    cluster.settle();
    let here = cluster.nodes[0].kernel(0).export(pid).unwrap();
    let there = cluster.nodes[1].kernel(0).export(target).unwrap();
    assert_eq!((here.links, here.watching), (vec![], vec![]), "all of it is over here");
    assert_eq!((there.links, there.watchers), (vec![], vec![]), "and there");
    assert_eq!(here.port.messages.len(), 1 + 3, "the number, two monitors and a link");
}

#[test]
fn when_a_node_is_gone_each_tie_to_it_is_cut_once() {
    for seed in 0..20 {
        let mut cluster = Cluster::new(3, seed);
        let silent = |world: &mut World| world.run_script(0, |_| Verdict::Wait);
        let (target, other) = (silent(&mut cluster.nodes[1]), silent(&mut cluster.nodes[2]));
        let (watcher, seen) = noter(&mut cluster.nodes[0], 0, move |poll| {
            poll.port.monitor(target);
            poll.port.monitor(other);
            request(poll, Action::TrapExit(true));
            request(poll, Action::Link(target));
            poll.port.ask(Question::MonitorNode { node: id(1) });
            Some(poll.call(target, 7))
        });
        cluster.settle();
        cluster.part(0, 1);
        cluster.settle();
        let all = ["down its node is disconnected", "exit its node is disconnected", "failed", "node down true parted"];
        let mut words = seen.borrow().clone();
        words.sort();
        assert_eq!(words, all, "seed {seed}");
        assert_eq!(cluster.nodes[0].info(watcher).unwrap().watching, [other], "the third node is still there");
        cluster.part(0, 1);
        cluster.connect(0, 1);
        cluster.nodes[1].signal(target, Signal::Kill { to: target, by: None });
        cluster.settle();
        assert_eq!(seen.borrow().len(), all.len(), "seed {seed}: nothing fires twice");
    }
}

#[test]
fn calls_to_a_node_that_is_gone_fail_and_its_own_side_is_told_too() {
    for seed in 0..20 {
        let mut cluster = Cluster::new(2, seed);
        let silent = cluster.nodes[1].run_script(0, |poll| {
            poll.recv(1, &[NUMBER]);
            Verdict::Wait
        });
        let (caller, seen) = noter(&mut cluster.nodes[0], 0, move |poll| {
            request(poll, Action::Link(silent));
            request(poll, Action::TrapExit(true));
            Some(poll.call(silent, 1))
        });
        cluster.settle();
        cluster.part(0, 1);
        cluster.settle();
        let mut seen = seen.borrow().clone();
        seen.sort();
        assert_eq!(seen, ["exit its node is disconnected", "failed"], "seed {seed}");
        assert!(cluster.nodes[0].info(caller).is_some());
        assert!(cluster.nodes[1].info(silent).is_none(), "the other side's link fires on its own node");
        assert_eq!(cluster.nodes[1].ended, [(silent, ExitReason::Disconnected)]);
    }
}

#[test]
fn a_child_on_another_node_is_linked_and_watched_from_birth() {
    for seed in 0..20 {
        let mut cluster = Cluster::new(2, seed);
        let entry = cluster.nodes[1].entry(|| {
            Box::new(|poll| match poll.recv(1, &[NUMBER]) {
                Some(_) => Verdict::Trap,
                None => Verdict::Wait,
            })
        });
        let wish = move |entry: String| {
            move |poll: &mut Poll<'_>| {
                request(poll, Action::TrapExit(true));
                let (arguments, node) = (vec![1], id(1));
                Some(poll.port.ask(Question::Spawn {
                    node,
                    entry: entry.clone(),
                    arguments,
                    link: true,
                    monitor: true,
                }))
            }
        };
        let (parent, seen) = noter(&mut cluster.nodes[0], 1, wish(format!("entry{entry}")));
        cluster.settle();
        assert_eq!(*seen.borrow(), ["spawned"], "seed {seed}");
        let child = cluster.nodes[0].info(parent).unwrap().links[0];
        assert_eq!(child.node, id(1));
        assert_eq!(cluster.nodes[1].info(child).unwrap().parent, Some(parent));
        cluster.nodes[1].send(child, NUMBER, 1);
        cluster.settle();
        let mut words = seen.borrow().clone();
        words.sort();
        assert_eq!(words, ["down trapped: unreachable", "exit trapped: unreachable", "spawned"]);
        let (_, seen) = noter(&mut cluster.nodes[0], 0, wish("nothing".into()));
        cluster.settle();
        assert_eq!(*seen.borrow(), ["Failed { why: \"`test@1` has no entry `nothing`\" }"]);
    }
}

#[test]
fn a_child_whose_parent_has_ended_meanwhile_ends_too() {
    let mut cluster = Cluster::new(2, 3);
    let entry = cluster.nodes[1].entry(|| Box::new(|_| Verdict::Wait));
    let parent = cluster.nodes[0].run_script(0, move |poll| {
        let entry = format!("entry{entry}");
        poll.port.ask(Question::Spawn { node: id(1), entry, arguments: vec![], link: true, monitor: false });
        Verdict::Exit(ExitReason::Normal)
    });
    cluster.settle();
    assert!(cluster.nodes[0].info(parent).is_none());
    let ended = &cluster.nodes[1].ended;
    assert!(matches!(ended.as_slice(), [(_, ExitReason::NoProcess)]), "{ended:?}");
}

#[test]
fn names_are_given_found_and_freed_across_nodes() {
    for seed in 0..20 {
        let mut cluster = Cluster::new(3, seed);
        let (owner, seen) = noter(&mut cluster.nodes[0], 1, |poll| {
            let pid = poll.port.pid();
            Some(poll.port.ask(Question::Register { node: id(1), name: "clock".into(), pid }))
        });
        cluster.settle();
        assert_eq!(*seen.borrow(), [format!("{:?}", Answer::Name { answer: NameAnswer::Done })], "seed {seed}");
        assert_eq!(cluster.nodes[1].kernel(0).whereis("clock"), Some(owner));
        let (_, found) = noter(&mut cluster.nodes[2], 0, |poll| {
            Some(poll.port.ask(Question::Whereis { node: id(1), name: "clock".into() }))
        });
        cluster.settle();
        let is = |answer| format!("{:?}", Answer::Name { answer });
        assert_eq!(*found.borrow(), [is(NameAnswer::Owner(owner))]);
        if seed % 2 == 0 {
            cluster.nodes[0].signal(owner, Signal::Kill { to: owner, by: None });
        } else {
            cluster.part(0, 1);
        }
        cluster.settle();
        assert_eq!(cluster.nodes[1].kernel(0).whereis("clock"), None, "seed {seed}");
    }
}

#[test]
fn whoever_names_a_process_of_another_node_is_answered_also_if_that_node_goes() {
    for seed in 0..20 {
        let mut cluster = Cluster::new(3, seed);
        let owner = cluster.nodes[2].run_script(0, |_| Verdict::Wait);
        let register = move |node| {
            move |poll: &mut Poll<'_>| {
                Some(poll.port.ask(Question::Register { node: id(node), name: format!("n{node}"), pid: owner }))
            }
        };
        // By way of its own registrar, and of a third node's; what these say to the owner is lost.
        let asked: Vec<_> = (0..2).map(|node| noter(&mut cluster.nodes[0], 0, register(node)).1).collect();
        cluster.settle_without(2);
        for node in 0..2 {
            cluster.part(node, 2);
        }
        cluster.settle();
        for (node, answers) in asked.iter().enumerate() {
            let done = format!("{:?}", Answer::Name { answer: NameAnswer::Done });
            assert_eq!(*answers.borrow(), [done], "seed {seed}");
            assert_eq!(cluster.nodes[node].kernel(0).whereis(&format!("n{node}")), None, "seed {seed}");
        }
    }
}

#[test]
fn a_child_that_was_to_be_watched_by_one_that_has_ended_is_watched_by_nobody() {
    let mut cluster = Cluster::new(2, 3);
    let entry = cluster.nodes[1].entry(|| Box::new(|_| Verdict::Wait));
    cluster.nodes[0].run_script(0, move |poll| {
        let entry = format!("entry{entry}");
        poll.port.ask(Question::Spawn { node: id(1), entry, arguments: vec![], link: false, monitor: true });
        Verdict::Exit(ExitReason::Normal)
    });
    cluster.settle();
    let child = cluster.nodes[1].kernel(0).list().remove(0);
    assert_eq!(child.watchers, []);
}

#[test]
fn whoever_waits_because_of_what_cannot_be_sent_is_told() {
    let mut cluster = Cluster::new(2, 5);
    let target = cluster.nodes[1].run_script(0, |_| Verdict::Wait);
    cluster.part(0, 1);
    let (_, ties) = noter(&mut cluster.nodes[0], 1, move |poll| {
        request(poll, Action::TrapExit(true));
        request(poll, Action::Link(target));
        poll.port.monitor(target);
        None
    });
    let call = noter(&mut cluster.nodes[0], 0, move |poll| Some(poll.call(target, 1))).1;
    let name = || "clock".to_owned();
    let questions = [
        Question::Whereis { node: id(1), name: name() },
        Question::Ping { node: id(1) },
        Question::Spawn { node: id(1), entry: name(), arguments: vec![], link: true, monitor: true },
    ];
    let asked =
        questions.map(|question| noter(&mut cluster.nodes[0], 1, move |poll| Some(poll.port.ask(question.clone()))).1);
    cluster.settle();
    let unsent = std::mem::take(&mut cluster.unsent);
    assert!(unsent.iter().all(|signal| signal.may_fail() || matches!(signal, Signal::Probe { .. })), "{unsent:?}");
    for signal in unsent {
        cluster.nodes[0].kernel(0).unsent(signal, "there is no room");
        cluster.nodes[0].effects(0);
    }
    cluster.settle();
    let mut words = ties.borrow().clone();
    words.sort();
    assert_eq!(words, ["down its node is disconnected", "exit its node is disconnected"]);
    for (number, answers) in [call].into_iter().chain(asked).enumerate() {
        assert_eq!(*answers.borrow(), ["failed"], "number {number}");
    }
}

#[test]
fn groups_become_the_same_everywhere() {
    for seed in 0..20 {
        let mut cluster = Cluster::new(3, seed);
        cluster.part(1, 2);
        let join = |poll: &mut Poll<'_>| Some(poll.port.ask(Question::Join { group: "all".into() }));
        let members: Vec<Pid> = (0..3).map(|node| noter(&mut cluster.nodes[node], node % 2, join).0).collect();
        cluster.settle();
        let view = |cluster: &mut Cluster, node: usize| -> Vec<Pid> {
            let kernel = cluster.nodes[node].kernel(0);
            kernel.groups().flat_map(|(_, members)| members.iter().copied()).collect()
        };
        assert_eq!(view(&mut cluster, 0), members, "seed {seed}");
        assert_eq!(view(&mut cluster, 1), members[..2]);
        cluster.connect(1, 2);
        cluster.settle();
        for node in 0..3 {
            assert_eq!(view(&mut cluster, node), members, "seed {seed}, node {node}");
        }
        cluster.nodes[2].signal(members[2], Signal::Kill { to: members[2], by: None });
        cluster.part(0, 1);
        cluster.settle();
        assert_eq!(view(&mut cluster, 0), members[..1]);
        assert_eq!(view(&mut cluster, 1), members[1..2]);
        assert_eq!(view(&mut cluster, 2), members[..2]);
    }
}

#[test]
fn a_full_mailbox_on_another_node_holds_its_senders_and_loses_nothing() {
    for seed in 0..10 {
        let limits = PortLimits { mailbox_messages: 32, ..PortLimits::default() };
        let mut cluster = Cluster::with(2, seed, limits);
        let taken = Rc::new(RefCell::new(Vec::new()));
        let into = taken.clone();
        let mut receive = 2;
        let slow = cluster.nodes[1].run_script(0, move |poll| {
            // It sleeps first, then takes whatever comes.
            if poll.woken.is_none() {
                poll.sleep(1, 1_000);
                return Verdict::Wait;
            }
            if poll.woken == Some(ReceiveId(1)) {
                poll.look(1, &[], 0, 0, 0);
            }
            while let Some(message) = poll.recv(receive, &[NUMBER]) {
                into.borrow_mut().push(number(&message));
                receive += 1;
            }
            Verdict::Wait
        });
        let (mut next, mut wake) = (0, 1);
        let sender = cluster.nodes[0].run_script(0, move |poll| {
            for _ in 0..5 {
                if next < 500 {
                    poll.send(slow, next).unwrap();
                    next += 1;
                }
            }
            poll.sleep(wake, 1);
            wake += 1;
            Verdict::Wait
        });
        for _ in 0..300 {
            cluster.nodes[0].pass(1);
            cluster.settle();
        }
        let waiting = cluster.nodes[1].info(slow).unwrap().mailbox;
        assert!(waiting < 64, "seed {seed}: {waiting} messages lie in a mailbox for 32");
        assert_eq!(cluster.nodes[0].info(sender).unwrap().counts.sent, u64::from(waiting));
        for _ in 0..600 {
            cluster.nodes[1].pass(1_000);
            cluster.nodes[0].pass(1);
            cluster.settle();
        }
        assert_eq!(*taken.borrow(), (0..500).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn senders_to_a_node_that_takes_no_more_wait_until_it_does_or_is_gone() {
    for gone in [false, true] {
        let mut cluster = Cluster::new(2, 1);
        let target = cluster.nodes[1].run_script(0, |_| Verdict::Wait);
        for shard in 0..2 {
            cluster.nodes[0].kernel(shard).node_full(id(1));
        }
        let mut wake = 1;
        let sender = cluster.nodes[0].run_script(0, move |poll| {
            poll.send(target, wake).unwrap();
            poll.sleep(wake, 1);
            wake += 1;
            Verdict::Wait
        });
        for _ in 0..5 {
            cluster.nodes[0].pass(1);
            cluster.settle();
        }
        assert_eq!(cluster.nodes[0].info(sender).unwrap().counts.sent, 1);
        if gone {
            cluster.part(0, 1);
        } else {
            for shard in 0..2 {
                cluster.nodes[0].kernel(shard).node_drained(id(1));
            }
        }
        for _ in 0..5 {
            cluster.nodes[0].pass(1);
            cluster.settle();
        }
        assert!(cluster.nodes[0].info(sender).unwrap().counts.sent > 3, "gone: {gone}");
    }
}

#[test]
fn watchers_of_nodes_hear_of_each_that_comes_and_goes() {
    let mut cluster = Cluster::new(2, 9);
    let (_, seen) = noter(&mut cluster.nodes[0], 1, |poll| {
        poll.port.ask(Question::WatchNodes { on: true });
        Some(poll.port.ask(Question::Ping { node: id(1) }))
    });
    cluster.settle();
    cluster.part(0, 1);
    cluster.settle();
    cluster.connect(0, 1);
    cluster.settle();
    assert_eq!(*seen.borrow(), ["Done", "node down false parted", "up n1"]);
    let (_, seen) = noter(&mut cluster.nodes[0], 0, |poll| Some(poll.port.ask(Question::Nodes {})));
    cluster.settle();
    assert!(seen.borrow()[0].contains("\"n1\""), "{seen:?}");
}

#[test]
fn long_messages_to_another_node_are_held_by_their_bytes() {
    let limits = PortLimits { mailbox_messages: 64, mailbox_bytes: 64 << 10, ..PortLimits::default() };
    let mut cluster = Cluster::with(2, 3, limits);
    let target = cluster.nodes[1].run_script(0, |_| Verdict::Wait);
    let mut wake = 1;
    let sender = cluster.nodes[0].run_script(0, move |poll| {
        let payload = neurath_proto::envelope::Payload::new(&[0; 8 << 10]);
        let class = neurath_proto::envelope::Class::Message;
        poll.port.send(target, class, Ref::NONE, NUMBER, payload).unwrap();
        poll.sleep(wake, 1);
        wake += 1;
        Verdict::Wait
    });
    for _ in 0..100 {
        cluster.nodes[0].pass(1);
        cluster.settle();
    }
    let sent = cluster.nodes[0].info(sender).unwrap().counts.sent;
    let waits = cluster.nodes[1].info(target).unwrap();
    assert!(sent >= 8 && waits.mailbox_bytes < 4 * limits.mailbox_bytes, "{sent} were sent");
    assert_eq!(u64::from(waits.mailbox), sent, "nothing is lost");
}
