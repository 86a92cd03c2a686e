//! Channels: apart from the mailbox, in order, bounded with it, refused when they are closed.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use neurath_kernel::{Found, Look, Message, Port, PortLimits, Program, Signal};
use neurath_proto::abi::{ReceiveId, take_flags};
use neurath_proto::envelope::{Class, Envelope, Epoch, SchemaId, TraceId};
use neurath_proto::id::{Incarnation, NodeId};
use neurath_proto::{Pid, Ref, Serial};

use crate::world::{ALIEN, NEW, NUMBER, OLD, Poll, Script, Shapes, Verdict, World, number, payload};

/// The channel of every receiver here.
const CHANNEL: Ref = Ref(77);

fn look(port: &mut Port, id: u64, reader: SchemaId, flags: u32) -> Found {
    let look = Look {
        receive: ReceiveId(id),
        readers: &[reader],
        reference: CHANNEL,
        after_seq: 0,
        timeout_ns: u64::MAX,
        flags: flags | take_flags::CHANNEL,
    };
    port.look(&look, &Shapes)
}

fn open(port: &mut Port, reader: SchemaId) {
    assert_eq!(look(port, 1 << 40, reader, take_flags::OPEN), Found::TimedOut);
}

fn close(port: &mut Port) {
    assert_eq!(look(port, 1 << 40, NUMBER, take_flags::CLOSE), Found::TimedOut);
}

fn take(port: &mut Port, id: u64, reader: SchemaId) -> Option<Message> {
    match look(port, id, reader, 0) {
        Found::Message(seq, ..) => port.take(seq),
        found => {
            assert_eq!(found, Found::Pending);
            None
        }
    }
}

fn to_channel(world: &mut World, to: Pid, schema: SchemaId, n: u64) {
    let envelope = Envelope {
        class: Class::Port,
        from: Pid::new(NodeId(7), Incarnation(1), Serial(0)),
        to,
        epoch: Epoch(0),
        reference: CHANNEL,
        schema,
        trace: TraceId(0),
        payload: payload(n),
        attachments: None,
    };
    world.signal(to, Signal::Message(envelope));
}

type Log = Rc<RefCell<Vec<(char, u64)>>>;

/// Takes all from its channel (`c`), and all from its mailbox (`m`), as it comes.
fn receiver(log: &Log, reader: SchemaId) -> impl FnMut(&mut Poll<'_>) -> Verdict + Clone + 'static {
    let log = log.clone();
    let mut is_open = false;
    let (mut mail, mut channel) = (1, 2);
    move |poll| {
        if !is_open {
            open(poll.port, reader);
            is_open = true;
        }
        while let Some(message) = take(poll.port, channel, reader) {
            log.borrow_mut().push(('c', number(&message)));
            channel += 2;
        }
        while let Some(message) = poll.recv(mail, &[NUMBER]) {
            log.borrow_mut().push(('m', number(&message)));
            mail += 2;
        }
        Verdict::Wait
    }
}

#[test]
fn messages_to_a_channel_are_apart_from_the_mailbox_and_in_order() {
    for seed in 0..100 {
        let mut world = World::new(2, seed);
        let log = Log::default();
        let to = world.run_script(0, receiver(&log, NUMBER));
        world.settle();
        world.run_script(1, move |poll| {
            for n in 0..50 {
                poll.send(to, n).unwrap();
                poll.port.send(to, Class::Port, CHANNEL, NUMBER, payload(n)).unwrap();
            }
            Verdict::Wait
        });
        world.settle();
        for which in ['m', 'c'] {
            let seen: Vec<u64> = log.borrow().iter().filter(|(from, _)| *from == which).map(|(_, n)| *n).collect();
            assert_eq!(seen, (0..50).collect::<Vec<_>>(), "{which}, seed {seed}");
        }
        assert_eq!(world.info(to).unwrap().mailbox, 0, "seed {seed}");
    }
}

#[test]
fn a_receive_for_the_mailbox_sees_nothing_of_a_channel_and_the_other_way_round() {
    let mut world = World::new(1, 1);
    let log = Log::default();
    let notes = log.clone();
    let mut started = false;
    let to = world.run_script(0, move |poll| {
        if !started {
            open(poll.port, NUMBER);
            poll.recv(1, &[NUMBER]);
            started = true;
            return Verdict::Wait;
        }
        // Woken for the mailbox: only then the channel is looked into.
        notes.borrow_mut().push(('m', number(&poll.recv(1, &[NUMBER]).unwrap())));
        notes.borrow_mut().push(('c', number(&take(poll.port, 2, NUMBER).unwrap())));
        Verdict::Wait
    });
    world.settle();
    to_channel(&mut world, to, NUMBER, 1);
    world.settle();
    assert!(log.borrow().is_empty(), "a message to a channel wakes no other receive");
    world.send(to, NUMBER, 2);
    world.settle();
    assert_eq!(*log.borrow(), [('m', 2), ('c', 1)]);
}

#[test]
fn what_is_sent_to_a_closed_channel_is_refused_and_counted_and_harms_no_call_of_the_sender() {
    let mut world = World::new(1, 1);
    let closes = world.run_script(0, |poll| {
        open(poll.port, NUMBER);
        poll.recv(1, &[NUMBER]);
        close(poll.port);
        Verdict::Wait
    });
    world.settle();
    // A call of the sender that has by chance the number of the channel goes on.
    let answered = Rc::new(RefCell::new(None));
    let note = answered.clone();
    let silent = world.run_script(0, |poll| {
        poll.recv(1, &[OLD]);
        Verdict::Wait
    });
    world.run_script(0, move |poll| {
        if poll.woken.is_none() {
            poll.port.send(silent, Class::Call, CHANNEL, NUMBER, payload(1)).unwrap();
            poll.port.send(closes, Class::Port, CHANNEL, NUMBER, payload(1)).unwrap();
        }
        *note.borrow_mut() = Some(poll.answer(1, CHANNEL, &[NUMBER], 1_000));
        Verdict::Wait
    });
    world.settle();
    assert_eq!(world.info(closes).unwrap().counts.refused, 1);
    assert_eq!(*answered.borrow(), Some(Found::Pending));
    assert!(
        world.kernel(0).refusals().1.any(|refusal| refusal.to == closes && refusal.reason == "the channel is closed")
    );
}

#[test]
fn what_waits_in_a_channel_when_it_is_closed_is_refused() {
    let mut world = World::new(1, 1);
    let to = world.run_script(0, |poll| {
        if poll.woken.is_none() {
            open(poll.port, NUMBER);
        } else {
            poll.recv(1, &[NUMBER]);
            close(poll.port);
        }
        poll.recv(2, &[NUMBER]);
        Verdict::Wait
    });
    world.settle();
    for n in 0..5_000 {
        to_channel(&mut world, to, NUMBER, n);
    }
    world.settle();
    assert_eq!(world.info(to).unwrap().mailbox, 5_000);
    world.send(to, NUMBER, 0);
    world.settle();
    let info = world.info(to).unwrap();
    assert_eq!(
        (info.mailbox, info.counts.refused),
        (0, 5_000),
        "more than an outbox holds, and nobody is ended for it"
    );
}

#[test]
fn a_channel_has_a_type_of_its_own_whatever_the_entry_accepts() {
    let mut world = World::new(1, 1);
    let log = Log::default();
    let entry = {
        let log = log.clone();
        world.entry(move || Box::new(receiver(&log, NEW)))
    };
    let program = world.program(Some(&[NUMBER]));
    let to = world.spawn(0, &program, entry);
    world.settle();
    for (schema, n) in [(NEW, 1), (OLD, 2), (ALIEN, 3), (NUMBER, 4)] {
        to_channel(&mut world, to, schema, n);
    }
    world.settle();
    assert_eq!(*log.borrow(), [('c', 1), ('c', 2)], "what can be converted is read, nothing else");
    assert_eq!(world.info(to).unwrap().counts.refused, 2);
}

#[test]
fn messages_in_channels_hold_back_their_senders_like_any_others() {
    let limits = PortLimits { mailbox_messages: 10, ..PortLimits::default() };
    for seed in 0..20 {
        let mut world = World::with(1, seed, limits);
        let sent = Rc::new(RefCell::new(0u64));
        let to = world.run_script(0, |poll| {
            if poll.woken.is_none() {
                open(poll.port, NUMBER);
                poll.recv(1, &[OLD]);
                return Verdict::Wait;
            }
            poll.recv(1, &[OLD]);
            let mut id = 2;
            while take(poll.port, id, NUMBER).is_some() {
                id += 1;
            }
            Verdict::Wait
        });
        world.settle();
        let count = sent.clone();
        let mut id = 0;
        world.run_script(0, move |poll| {
            if *count.borrow() < 1_000 {
                poll.port.send(to, Class::Port, CHANNEL, NUMBER, payload(0)).unwrap();
                *count.borrow_mut() += 1;
            }
            id += 1;
            poll.look(id, &[], 0, u64::MAX, take_flags::YIELD);
            Verdict::Wait
        });
        world.settle_for(10_000);
        assert_eq!(*sent.borrow(), 10, "seed {seed}");
        world.send(to, OLD, 0);
        world.settle_for(10_000);
        assert!(*sent.borrow() > 10, "it goes on when the channel drains, seed {seed}");
    }
}

/// A server with a channel that it does not read, and a version 2 that has none.
fn upgrading(seed: u64, fails: bool) -> (World, Pid, Arc<Program>) {
    let mut world = World::new(1, seed);
    let entry = world.entry(|| {
        let mut receive = 1;
        Box::new(move |poll: &mut Poll<'_>| {
            if receive == 1 {
                open(poll.port, NUMBER);
            }
            while let Found::Message(seq, ..) = poll.look(receive, &[OLD], 0, u64::MAX, take_flags::BETWEEN_MESSAGES) {
                poll.port.take(seq);
                receive += 1;
                while take(poll.port, 1 << 32 | receive, NUMBER).is_some() {
                    receive += 1;
                }
                poll.port.cancel(ReceiveId(1 << 32 | receive), &Shapes);
            }
            Verdict::Wait
        })
    });
    let (first, second) = (world.program(None), world.version(2, None));
    let pid = world.spawn(0, &first, entry);
    world.on_upgrade(2, move |port| {
        assert_eq!(take(port, 1, NUMBER), None, "nothing of the old channel is the new code's");
        port.cancel(ReceiveId(1), &Shapes);
        let mut script: Script = Box::new(|poll| {
            poll.look(1, &[OLD], 0, u64::MAX, take_flags::BETWEEN_MESSAGES);
            Verdict::Wait
        });
        open(port, NUMBER);
        script(&mut Poll { port, woken: None });
        if fails { Err("no".into()) } else { Ok(script) }
    });
    world.settle();
    for n in 0..5 {
        to_channel(&mut world, pid, NUMBER, n);
    }
    world.settle();
    (world, pid, second)
}

#[test]
fn an_upgrade_closes_the_channels_of_the_old_code_and_a_rollback_keeps_them() {
    for seed in 0..20 {
        let (mut world, pid, second) = upgrading(seed, false);
        world.upgrade(pid, &second, 0);
        world.settle();
        let info = world.info(pid).unwrap();
        assert_eq!((info.mailbox, info.counts.refused), (0, 5), "seed {seed}");

        let (mut world, pid, second) = upgrading(seed, true);
        world.upgrade(pid, &second, 0);
        world.settle();
        let info = world.info(pid).unwrap();
        assert_eq!((info.mailbox, info.counts.refused, info.counts.rollbacks), (5, 0, 1), "seed {seed}");
        world.send(pid, OLD, 0);
        world.settle();
        assert_eq!(world.info(pid).unwrap().mailbox, 0, "the old code reads its channel, seed {seed}");
    }
}

#[test]
fn a_record_has_the_channels_and_what_waits_in_them() {
    let (mut world, pid, _) = upgrading(1, false);
    let (_, record) = world.kernel(0).release(pid, 0).unwrap();
    assert_eq!(record.port.channels, [(CHANNEL, NUMBER)]);
    assert_eq!(record.port.messages.iter().map(number).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    world.kernel(0).import(record.clone());
    let (_, again) = world.kernel(0).release(pid, 0).unwrap();
    assert_eq!(again.port, record.port);
}

#[test]
fn a_hint_to_hibernate_holds_until_the_process_waits_for_something_else() {
    let mut world = World::new(1, 1);
    let hints = Rc::new(RefCell::new(Vec::new()));
    let notes = hints.clone();
    let mut receive = 1;
    let pid = world.run_script(0, move |poll| {
        loop {
            let flags = if receive == 2 { take_flags::HIBERNATE } else { 0 };
            let found = poll.look(receive, &[NUMBER], 0, u64::MAX, flags);
            let Found::Message(seq, ..) = found else { break };
            poll.port.take(seq);
            receive += 1;
        }
        notes.borrow_mut().push(poll.port.hibernates());
        Verdict::Wait
    });
    world.settle();
    for n in 0..2 {
        world.send(pid, NUMBER, n);
        world.settle();
    }
    assert_eq!(*hints.borrow(), [false, true, false]);
}
