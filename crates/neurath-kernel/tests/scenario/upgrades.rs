//! Upgrades as transactions (G3, G4): all of it or nothing, and what a process has stays with it.

use std::cell::RefCell;
use std::rc::Rc;

use neurath_kernel::{Hold, Port, PortLimits, Signal};
use neurath_proto::abi::take_flags;
use neurath_proto::cluster::Question;
use neurath_proto::{Pid, Ref};

use crate::world::{ALIEN, NEW, NUMBER, OLD, Poll, Script, Verdict, World, number};

type Log = Rc<RefCell<Vec<(u32, u64)>>>;

/// A server: one receive between messages; notes its version and what it got.
fn server(log: &Log, version: u32, reader: neurath_proto::envelope::SchemaId) -> Script {
    let log = log.clone();
    let mut receive = 1;
    Box::new(move |poll| {
        loop {
            let found = poll.look(receive, &[reader], 0, u64::MAX, take_flags::BETWEEN_MESSAGES);
            let neurath_kernel::Found::Message(seq, ..) = found else { return Verdict::Wait };
            receive += 1;
            let message = poll.port.take(seq).unwrap();
            log.borrow_mut().push((version, number(&message)));
        }
    })
}

/// The new code starts: its first poll takes what waits.
fn begin(port: &mut Port, mut script: Script) -> Script {
    script(&mut Poll { port, woken: None });
    script
}

struct Upgrading {
    world: World,
    log: Log,
    pid: Pid,
    second: std::sync::Arc<neurath_kernel::Program>,
}

/// A server of version 1, and a version 2 that reads what 1 wrote.
fn upgrading(seed: u64, limits: PortLimits, fails: bool) -> Upgrading {
    let mut world = World::with(2, seed, limits);
    let log = Log::default();
    let notes = log.clone();
    let entry = world.entry(move || server(&notes, 1, OLD));
    let first = world.program(Some(&[OLD]));
    let second = world.version(2, Some(&[NEW]));
    let pid = world.spawn(0, &first, entry);
    let notes = log.clone();
    world.on_upgrade(2, move |port| {
        let script = begin(port, server(&notes, 2, NEW));
        if fails {
            Poll { port, woken: None }.send_as(pid, NUMBER, 77).ok();
            return Err("the start trapped".into());
        }
        Ok(script)
    });
    world.settle();
    Upgrading { world, log, pid, second }
}

#[test]
fn messages_that_wait_are_read_by_the_new_version_in_order_and_none_is_lost() {
    for seed in 0..100 {
        let Upgrading { mut world, log, pid, second } = upgrading(seed, PortLimits::default(), false);
        for n in 0..100 {
            world.send(pid, OLD, n);
            if n == 50 {
                world.upgrade(pid, &second, 0);
            }
            if world.random(4) == 0 {
                world.settle();
            }
        }
        world.settle();
        let seen: Vec<u64> = log.borrow().iter().map(|(_, n)| *n).collect();
        assert_eq!(seen, (0..100).collect::<Vec<_>>(), "seed {seed}");
        assert_eq!(log.borrow().last().unwrap().0, 2, "seed {seed}");
        assert_eq!(world.upgraded, [(pid, Ok(()))]);
        assert_eq!(world.info(pid).unwrap().program, "test@2");
    }
}

#[test]
fn a_start_that_fails_puts_the_old_version_back_with_its_messages_in_order() {
    let mut read_by_the_attempt = 0;
    for seed in 0..100 {
        let Upgrading { mut world, log, pid, second } = upgrading(seed, PortLimits::default(), true);
        let shard = world.shard_of(pid);
        assert!(world.kernel(shard).hold(pid, Hold::Frozen, true));
        for n in 0..20 {
            world.send(pid, OLD, n);
        }
        world.settle();
        world.upgrade(pid, &second, 0);
        world.kernel(shard).hold(pid, Hold::Frozen, false);
        world.settle();
        // The failed attempt may have read some of them; the old version reads them all, in order.
        let of = |version| log.borrow().iter().filter(|(v, _)| *v == version).map(|(_, n)| *n).collect::<Vec<_>>();
        assert_eq!(of(1), (0..20).collect::<Vec<_>>(), "seed {seed}");
        read_by_the_attempt += of(2).len();
        assert_eq!(world.upgraded, [(pid, Err("the start trapped".to_string()))]);
        let info = world.info(pid).unwrap();
        assert_eq!((info.program.as_str(), info.mailbox), ("test@1", 0), "what the attempt sent is gone too");
        assert_eq!((info.counts.upgrades, info.counts.rollbacks, info.counts.sent), (0, 1, 0));
    }
    assert!(read_by_the_attempt >= 100, "only {read_by_the_attempt} messages had to be put back");
}

#[test]
fn the_old_version_does_not_answer_for_what_an_attempt_asked_for_beyond_the_limit() {
    let mut world = World::new(1, 1);
    let log = Log::default();
    let notes = log.clone();
    let entry = world.entry(move || server(&notes, 1, OLD));
    let first = world.program(None);
    let second = world.version(2, None);
    world.on_upgrade(2, move |port| {
        while !port.has_exceeded() {
            port.monitor(port.pid());
        }
        Err("the start trapped".into())
    });
    let pid = world.spawn(0, &first, entry);
    world.settle();
    world.upgrade(pid, &second, 0);
    world.settle();
    assert_eq!(world.upgraded, [(pid, Err("the start trapped".to_string()))]);
    world.send(pid, OLD, 7);
    world.settle();
    assert_eq!(*log.borrow(), [(1, 7)]);
    assert!(world.info(pid).is_some(), "it goes on");
}

#[test]
fn a_server_in_the_middle_of_a_message_is_left_alone_until_it_is_done() {
    let mut world = World::new(1, 1);
    let log = Log::default();
    let notes = log.clone();
    // Takes a message, then sleeps as if it waited for someone else, then is between messages again.
    let entry = world.entry(move || {
        let notes = notes.clone();
        let mut busy = false;
        Box::new(move |poll| {
            if busy && poll.woken == Some(neurath_proto::abi::ReceiveId(5)) {
                busy = false;
                poll.look(5, &[], 0, 50, 0);
            }
            if !busy {
                let found = poll.look(9, &[OLD], 0, u64::MAX, take_flags::BETWEEN_MESSAGES);
                if let neurath_kernel::Found::Message(seq, ..) = found {
                    notes.borrow_mut().push((1, number(&poll.port.take(seq).unwrap())));
                    busy = true;
                    poll.look(5, &[], 0, 50, 0);
                }
            }
            Verdict::Wait
        })
    });
    let program = world.program(None);
    let second = world.version(2, None);
    let notes = log.clone();
    world.on_upgrade(2, move |port| Ok(begin(port, server(&notes, 2, NEW))));
    let pid = world.spawn(0, &program, entry);
    world.settle();
    world.send(pid, OLD, 1);
    world.settle();
    world.upgrade(pid, &second, 0);
    world.settle();
    assert!(world.upgraded.is_empty(), "it is busy");
    world.pass(50);
    assert_eq!(world.upgraded, [(pid, Ok(()))]);
}

#[test]
fn what_the_new_version_does_not_accept_is_answered_and_counted() {
    let mut world = World::new(1, 1);
    let entry = world.entry(|| {
        Box::new(|poll| {
            poll.look(1, &[OLD], 0, u64::MAX, take_flags::BETWEEN_MESSAGES);
            Verdict::Wait
        })
    });
    let first = world.program(None);
    let second = world.version(2, Some(&[NEW]));
    world.on_upgrade(2, |_| Ok(Box::new(|_| Verdict::Wait)));
    let pid = world.spawn(0, &first, entry);
    world.settle();
    world.send(pid, ALIEN, 1);
    world.send(pid, NUMBER, 2);
    world.upgrade(pid, &second, 0);
    world.settle();
    let info = world.info(pid).unwrap();
    assert_eq!((info.mailbox, info.counts.refused), (0, 2));
    assert_eq!(world.kernel(0).refusals().0, 2);
}

#[test]
fn monitors_links_and_names_stay_across_an_upgrade() {
    use neurath_kernel::action::Action;
    let mut world = World::new(2, 4);
    let log = Log::default();
    let friend = world.run_script(1, |_| Verdict::Wait);
    let entry = world.entry(move || {
        Box::new(move |poll| {
            if poll.woken.is_none() {
                let me = poll.port.pid();
                poll.port.monitor(friend);
                poll.port.request(Action::Link(friend));
                poll.port.request(Action::TrapExit(true));
                poll.port.ask(Question::Register { node: me.node, name: "kept".into(), pid: me });
                poll.port.send_after(500, me, OLD, crate::world::payload(42)).unwrap();
            }
            poll.look(1, &[OLD], 0, u64::MAX, take_flags::BETWEEN_MESSAGES);
            Verdict::Wait
        })
    });
    let first = world.program(None);
    let second = world.version(2, None);
    let notes = log.clone();
    world.on_upgrade(2, move |port| Ok(begin(port, server(&notes, 2, NEW))));
    let pid = world.spawn(0, &first, entry);
    world.settle();
    let before = world.info(pid).unwrap();
    world.upgrade(pid, &second, 0);
    world.settle();
    let after = world.info(pid).unwrap();
    assert_eq!(
        (after.pid, &after.names, &after.links, &after.watching),
        (before.pid, &before.names, &before.links, &before.watching)
    );
    assert!(after.trap_exit && after.program == "test@2");
    assert_eq!(world.kernel(0).whereis("kept"), Some(pid));
    world.pass(500);
    assert_eq!(*log.borrow(), [(2, 42)], "a timer set by the old code fires for the new");
    world.signal(friend, Signal::Kill { to: friend, by: None });
    world.settle();
    assert_eq!(world.info(pid).unwrap().mailbox, 2, "the monitor and the link still fire");
}

#[test]
fn a_pending_call_of_a_client_is_answered_by_the_new_version() {
    let mut world = World::new(2, 8);
    // Version 1 never answers; version 2 does.
    let entry = world.entry(|| {
        Box::new(|poll| {
            poll.look(1, &[ALIEN], 0, u64::MAX, take_flags::BETWEEN_MESSAGES);
            Verdict::Wait
        })
    });
    let first = world.program(None);
    let second = world.version(2, None);
    world.on_upgrade(2, |port| {
        let mut poll = Poll { port, woken: None };
        let message = poll.recv(1, &[NUMBER]).expect("the call waits");
        poll.reply(&message, 5);
        Ok(Box::new(|_| Verdict::Wait))
    });
    let server = world.spawn(0, &first, entry);
    world.settle();
    let log = Rc::new(RefCell::new(false));
    let answered = log.clone();
    world.run_script(1, move |poll| {
        let reference = Ref::new(1, 1);
        if poll.woken.is_none() {
            poll.call(server, 1);
        }
        if let neurath_kernel::Found::Answer(_) = poll.answer(1, reference, &[NUMBER], u64::MAX) {
            *answered.borrow_mut() = true;
        }
        Verdict::Wait
    });
    world.settle();
    assert!(!*log.borrow());
    world.upgrade(server, &second, 0);
    world.settle();
    assert!(*log.borrow());
}
