//! Full mailboxes (G10): a send never blocks, the sender waits, nothing else is held up, cycles are found.

use std::cell::Cell;
use std::rc::Rc;

use neurath_kernel::{Hold, PortLimits, Signal, Standing};
use neurath_proto::abi::SendStatus;
use neurath_proto::cluster::Question;
use neurath_proto::envelope::{Class, Envelope, Epoch, SchemaId, TraceId};
use neurath_proto::reason::ExitReason;
use neurath_proto::{Incarnation, NodeId, Pid, Ref, Serial};

use crate::world::{KNOWN, NUMBER, OLD, Poll, Verdict, World, payload};

fn small() -> PortLimits {
    PortLimits { mailbox_messages: 10, ..PortLimits::default() }
}

/// Sends three numbers each time it is polled, again and again.
fn flood(world: &mut World, shard: usize, to: neurath_proto::Pid) -> neurath_proto::Pid {
    let mut receive = 0;
    world.run_script(shard, move |poll| {
        for n in 0..3 {
            poll.send(to, n).unwrap();
        }
        receive += 1;
        poll.sleep(receive, 10);
        Verdict::Wait
    })
}

/// A message of another node's process.
fn message(to: Pid, from: Pid, schema: SchemaId, number: u64) -> Signal {
    Signal::Message(Envelope {
        class: Class::Message,
        from,
        to,
        epoch: Epoch(1),
        reference: Ref::NONE,
        schema,
        trace: TraceId(0),
        payload: payload(number),
        attachments: None,
    })
}

#[test]
fn a_sender_to_a_full_mailbox_is_not_polled_until_it_drains() {
    for shards in 1..3 {
        for seed in 0..20 {
            let mut world = World::with(shards, seed, small());
            let mut next = 1;
            // Takes one message for each tick of its own.
            let mut ticks = 0;
            let slow = world.run_script(0, move |poll| {
                if poll.woken.is_some() {
                    ticks += 1;
                    if ticks > 50 && poll.recv(next, &[NUMBER]).is_some() {
                        next += 1;
                    }
                }
                poll.sleep(1_000_000 + ticks, 10);
                Verdict::Wait
            });
            let sender = flood(&mut world, (shards - 1) as usize, slow);
            for _ in 0..40 {
                world.pass(10);
            }
            let (info, target) = (world.info(sender).unwrap(), world.info(slow).unwrap());
            assert_eq!(info.standing, Standing::Held(Hold::BackPressure), "seed {seed}");
            assert!((10..=16).contains(&target.mailbox), "seed {seed}: bounded, {} waiting", target.mailbox);
            let polls = info.counts.polls;
            for _ in 0..40 {
                world.pass(10);
            }
            assert!(
                world.info(sender).unwrap().counts.polls > polls,
                "seed {seed}: it goes on after the mailbox drained"
            );
        }
    }
}

#[test]
fn a_sender_that_gave_up_and_went_on_is_told_of_room_although_it_was_told_of_none_meanwhile() {
    let mut world = World::with(1, 1, small());
    let target = world.run_script(0, |_| Verdict::Wait);
    let from = Pid::new(NodeId(8), Incarnation(1), Serial(5));
    let message = |number| message(target, from, NUMBER, number);
    // It breaks a cycle twice, and what it sends between is told to be too much.
    (0..11).for_each(|number| world.signal(target, message(number)));
    world.signal(target, Signal::Withdraw { to: target, from });
    (11..14).for_each(|number| world.signal(target, message(number)));
    world.signal(target, Signal::Withdraw { to: target, from });
    let told: Vec<Signal> = world.abroad.iter().map(|(_, signal)| signal.clone()).collect();
    let (full, drained) = (Signal::Full { to: from, target }, Signal::Drained { to: from, target });
    let pressure = |signal: &&Signal| matches!(signal, Signal::Full { .. } | Signal::Drained { .. });
    assert_eq!(told.iter().filter(pressure).collect::<Vec<_>>(), [&full, &drained, &full, &drained]);
}

#[test]
fn a_sender_that_gives_up_what_it_sent_takes_no_notice_along() {
    let mut world = World::with(1, 1, small());
    let from = Pid::new(NodeId(8), Incarnation(1), Serial(5));
    let told = Rc::new(Cell::new(false));
    let seen = told.clone();
    let target = world.run_script(0, move |poll| {
        if poll.woken.is_none() {
            poll.port.monitor(from);
        }
        if poll.recv(1, &[OLD]).is_some() {
            seen.set(poll.recv(2, &[KNOWN.down]).is_some());
        }
        Verdict::Wait
    });
    world.settle();
    let Some(reference) = world.abroad.iter().find_map(|(_, signal)| match signal {
        Signal::Monitor { reference, .. } => Some(*reference),
        _ => None,
    }) else {
        panic!("it monitors nobody")
    };
    (0..11).for_each(|number| world.signal(target, message(target, from, NUMBER, number)));
    world.signal(target, Signal::Down { to: target, from, reference, reason: ExitReason::Normal });
    world.signal(target, Signal::Withdraw { to: target, from });
    assert_eq!(world.info(target).unwrap().mailbox, 10);
    world.signal(target, message(target, Pid { serial: Serial(6), ..from }, OLD, 0));
    world.settle();
    assert!(told.get());
}

#[test]
fn others_are_not_held_up_by_a_full_mailbox() {
    let mut world = World::with(1, 1, small());
    let full = world.run_script(0, |_| Verdict::Wait);
    let sender = flood(&mut world, 0, full);
    let echo = world.run_script(0, |poll| {
        while poll.recv(1, &[NUMBER]).is_some() {}
        Verdict::Wait
    });
    for _ in 0..10 {
        world.pass(10);
        world.send(echo, NUMBER, 1);
        world.settle();
    }
    assert_eq!(world.info(sender).unwrap().standing, Standing::Held(Hold::BackPressure));
    assert_eq!(world.info(echo).unwrap().counts.received, 10);
}

#[test]
fn a_dead_mailbox_releases_those_who_wait_for_it() {
    let mut world = World::with(2, 1, small());
    let full = world.run_script(0, |_| Verdict::Wait);
    let sender = flood(&mut world, 1, full);
    for _ in 0..10 {
        world.pass(10);
    }
    assert_eq!(world.info(sender).unwrap().standing, Standing::Held(Hold::BackPressure));
    world.signal(full, neurath_kernel::Signal::Kill { to: full, by: None });
    world.settle();
    assert_ne!(world.info(sender).unwrap().standing, Standing::Held(Hold::BackPressure));
}

#[test]
fn a_cycle_of_full_mailboxes_is_broken_and_what_is_given_up_is_counted() {
    for seed in 0..50 {
        let mut world = World::with(2, seed, small());
        // Two that flood each other and never read: each would wait for the other for ever.
        let first =
            neurath_proto::Pid::new(neurath_proto::NodeId(7), neurath_proto::Incarnation(1), neurath_proto::Serial(2));
        let second = neurath_proto::Pid { serial: neurath_proto::Serial(1), ..first };
        assert_eq!(flood(&mut world, 0, second), first);
        assert_eq!(flood(&mut world, 1, first), second);
        for _ in 0..100 {
            world.pass(10);
        }
        let polls = |world: &World, pid| world.info(pid).unwrap().counts.polls;
        let before = (polls(&world, first), polls(&world, second));
        for _ in 0..20 {
            world.pass(10);
        }
        let after = (polls(&world, first), polls(&world, second));
        assert!(after.0 > before.0 || after.1 > before.1, "seed {seed}: one of them goes on");
        let refused: u64 = (0..2).map(|shard| world.kernel(shard).refusals().0).sum();
        assert!(refused > 0, "seed {seed}: what was given up is counted");
        for pid in [first, second] {
            assert!(world.info(pid).unwrap().mailbox <= 40, "seed {seed}: bounded");
        }
    }
}

#[test]
fn a_send_to_oneself_with_a_full_mailbox_fails() {
    let mut world = World::with(1, 1, small());
    let pid = world.run_script(0, |poll| {
        let me = poll.port.pid();
        for n in 0..10 {
            assert_eq!(poll.send(me, n), Ok(()));
        }
        assert_eq!(poll.send(me, 11), Err(SendStatus::MailboxFull));
        Verdict::Wait
    });
    world.settle();
    assert_eq!(world.info(pid).unwrap().mailbox, 10);
}

#[test]
fn the_outbox_of_one_poll_is_bounded() {
    let mut world = World::with(1, 1, PortLimits { outbox_actions: 5, message_bytes: 8, ..PortLimits::default() });
    let to = world.run_script(0, |_| Verdict::Wait);
    world.run_script(0, move |poll| {
        for n in 0..5 {
            poll.send(to, n).unwrap();
        }
        assert_eq!(poll.send(to, 5), Err(SendStatus::OutboxFull));
        Verdict::Exit(neurath_proto::reason::ExitReason::Normal)
    });
    world.run_script(0, move |poll| {
        assert_eq!(poll.send(to, u64::MAX), Err(SendStatus::TooLarge));
        Verdict::Wait
    });
    world.settle();
    assert_eq!(world.info(to).unwrap().mailbox, 5);
}

#[test]
fn a_guest_that_asks_without_end_by_calls_that_cannot_be_refused_is_ended() {
    let limits = PortLimits { outbox_actions: 10, waiting: 10, ..PortLimits::default() };
    for monitors in [true, false] {
        let mut world = World::with(1, 1, limits);
        let pid = world.run_script(0, move |poll| {
            let me = poll.port.pid();
            for n in 1..1_000 {
                if monitors {
                    poll.port.monitor(me);
                } else {
                    poll.look(n, &[NUMBER], 0, u64::MAX, 0);
                }
            }
            Verdict::Wait
        });
        world.settle();
        let (ended, reason) = &world.ended[0];
        assert_eq!(*ended, pid);
        assert!(reason.to_string().contains("more in one poll"), "{monitors}: {reason}");
    }
}

#[test]
fn questions_beyond_what_one_poll_may_ask_are_refused_and_those_before_are_asked() {
    let limits = PortLimits { outbox_actions: 10, ..PortLimits::default() };
    let mut world = World::with(1, 1, limits);
    let pid = world.run_script(0, move |poll| {
        let ask = |poll: &mut Poll<'_>| poll.port.ask(Question::Whereis { node: NodeId(7), name: "x".into() });
        let asked = (0..100).filter(|_| ask(poll).is_some()).count();
        assert_eq!(asked, 10);
        Verdict::Wait
    });
    world.settle();
    assert!(world.info(pid).is_some());
}

#[test]
fn a_sender_on_another_shard_does_not_run_far_ahead_of_a_slow_reader() {
    for seed in 0..50 {
        let mut world = World::with(2, seed, PortLimits { mailbox_messages: 100, ..PortLimits::default() });
        let full = world.run_script(0, |_| Verdict::Wait);
        // Ready again at once: it is polled as often as it may, before any signal comes back.
        let mut receive = 0;
        let sender = world.run_script(1, move |poll| {
            for n in 0..10 {
                poll.send(full, n).unwrap();
            }
            receive += 1;
            poll.sleep(receive, 0);
            poll.look(1_000_000 + receive, &[], 0, u64::MAX, neurath_proto::abi::take_flags::YIELD);
            Verdict::Wait
        });
        world.settle();
        let info = world.info(full).unwrap();
        assert!((100..=140).contains(&info.mailbox), "seed {seed}: {}", info.mailbox);
        assert_eq!(world.info(sender).unwrap().standing, Standing::Held(Hold::BackPressure));
        assert_eq!(world.kernel(0).refusals().0, 0, "seed {seed}: nothing is refused");
    }
}
