//! Lives and deaths: links, monitors, exits, kills, and what becomes of those who wait.

use std::cell::RefCell;
use std::rc::Rc;

use neurath_kernel::action::Action;
use neurath_kernel::{Found, Signal};
use neurath_proto::reason::ExitReason;
use neurath_proto::{Data, Pid, Reader, Ref, Serial};

use crate::world::{KNOWN, NUMBER, Poll, Verdict, World, down, exit, payload, request};

fn custom() -> ExitReason {
    ExitReason::Custom { type_name: "Why".into(), schema: vec![], value: vec![1] }
}

/// Ends with a reason when it gets a number.
fn mortal(world: &mut World, shard: usize, reason: ExitReason) -> Pid {
    world.run_script(shard, move |poll| match poll.recv(1, &[NUMBER]) {
        Some(_) => Verdict::Exit(reason.clone()),
        None => Verdict::Wait,
    })
}

/// Does something at its start, then notes the notices that it gets.
fn watcher(
    world: &mut World,
    shard: usize,
    start: impl Fn(&mut Poll<'_>) + Clone + 'static,
) -> (Pid, Rc<RefCell<Vec<String>>>) {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let notes = seen.clone();
    let mut receive = 1;
    let pid = world.run_script(shard, move |poll| {
        if poll.woken.is_none() {
            start(poll);
        }
        while let Some(message) = poll.recv(receive, &[KNOWN.down, KNOWN.exit]) {
            receive += 1;
            let text = if message.schema == KNOWN.down {
                format!("down {}", down(&message).reason)
            } else {
                format!("exit {}", exit(&message).reason)
            };
            notes.borrow_mut().push(text);
        }
        Verdict::Wait
    });
    (pid, seen)
}

#[test]
fn a_monitor_fires_once_with_the_reason() {
    for shards in 1..3 {
        let mut world = World::new(shards, 5);
        let target = mortal(&mut world, 0, custom());
        let (_, seen) = watcher(&mut world, (shards - 1) as usize, move |poll| {
            poll.port.monitor(target);
        });
        world.settle();
        world.send(target, NUMBER, 1);
        world.settle();
        assert_eq!(*seen.borrow(), ["down Why (1 byte)"]);
    }
}

#[test]
fn monitors_and_links_to_something_dead_fire_at_once() {
    let mut world = World::new(2, 5);
    let nobody = Pid { serial: Serial(4001), ..mortal(&mut world, 0, ExitReason::Normal) };
    let (_, seen) = watcher(&mut world, 0, move |poll| {
        poll.port.monitor(nobody);
        request(poll, Action::TrapExit(true));
        request(poll, Action::Link(nobody));
    });
    world.settle();
    assert_eq!(*seen.borrow(), ["down no such process", "exit no such process"]);
}

#[test]
fn demonitor_also_removes_a_notice_that_has_come() {
    let mut world = World::new(1, 5);
    let target = mortal(&mut world, 0, ExitReason::Normal);
    let monitor = Rc::new(RefCell::new(Ref::NONE));
    let log = Rc::new(RefCell::new(Vec::new()));
    let (place, notes) = (monitor.clone(), log.clone());
    let pid = world.run_script(0, move |poll| {
        match poll.woken {
            None => {
                *place.borrow_mut() = poll.port.monitor(target);
                poll.recv(1, &[NUMBER]);
            }
            Some(_) => {
                let reference = *place.borrow();
                poll.port.flush_monitor(|m| m.schema == KNOWN.down && down(m).monitor == reference);
                request(poll, Action::Demonitor(reference));
                notes.borrow_mut().push(poll.recv(2, &[KNOWN.down]).is_some());
            }
        }
        Verdict::Wait
    });
    world.settle();
    world.send(target, NUMBER, 1);
    world.settle();
    assert_eq!(world.info(pid).unwrap().mailbox, 1, "the notice waits");
    world.send(pid, NUMBER, 1);
    world.settle();
    assert_eq!(*log.borrow(), [false]);
}

#[test]
fn an_abnormal_end_takes_linked_processes_along_and_a_normal_one_does_not() {
    for (reason, dies) in [(ExitReason::Normal, false), (custom(), true)] {
        let mut world = World::new(2, 9);
        let target = mortal(&mut world, 0, reason);
        let other = world.run_script(1, move |poll| {
            request(poll, Action::Link(target));
            Verdict::Wait
        });
        world.settle();
        world.send(target, NUMBER, 1);
        world.settle();
        assert_eq!(world.info(other).is_none(), dies);
    }
}

#[test]
fn a_process_that_traps_exits_gets_them_as_messages_but_a_kill_cannot_be_caught() {
    let mut world = World::new(1, 9);
    let target = mortal(&mut world, 0, custom());
    let (pid, seen) = watcher(&mut world, 0, move |poll| {
        request(poll, Action::TrapExit(true));
        request(poll, Action::Link(target));
    });
    world.settle();
    world.send(target, NUMBER, 1);
    world.settle();
    world.signal(pid, Signal::Exit { to: pid, from: target, reason: ExitReason::Normal, linked: false });
    world.settle();
    assert_eq!(*seen.borrow(), ["exit Why (1 byte)", "exit normal"]);
    world.signal(pid, Signal::Kill { to: pid, by: Some(target) });
    world.settle();
    assert_eq!(world.ended.last().unwrap(), &(pid, ExitReason::Killed { by: Some(target) }));
}

#[test]
fn exit_and_kill_do_not_overtake_messages_of_the_same_sender() {
    for seed in 0..50 {
        let mut world = World::new(2, seed);
        let got = Rc::new(RefCell::new(0));
        let count = got.clone();
        let mut receive = 1;
        let target = world.run_script(0, move |poll| {
            while poll.recv(receive, &[NUMBER]).is_some() {
                receive += 1;
                *count.borrow_mut() += 1;
            }
            Verdict::Wait
        });
        world.settle();
        world.run_script(1, move |poll| {
            for n in 0..10 {
                poll.send(target, n).unwrap();
            }
            request(poll, Action::Kill(target));
            poll.send(target, 99).unwrap();
            Verdict::Wait
        });
        world.settle();
        let info = world.ended.iter().find(|(pid, _)| *pid == target);
        assert!(info.is_some(), "seed {seed}");
        assert!(*got.borrow() <= 10, "seed {seed}: nothing after the kill");
    }
}

#[test]
fn a_call_fails_when_the_callee_ends_before_it_answers_also_after_taking_the_request() {
    for taken in [false, true] {
        let mut world = World::new(2, 2);
        let callee = world.run_script(0, move |poll| {
            if taken && poll.woken.is_none() {
                poll.recv(1, &[NUMBER]);
            } else if taken {
                assert!(poll.recv(1, &[NUMBER]).is_some());
            }
            Verdict::Wait
        });
        let log = Rc::new(RefCell::new(Vec::new()));
        let notes = log.clone();
        world.run_script(1, move |poll| {
            let reference = Ref::new(1, 1);
            if poll.woken.is_none() {
                assert_eq!(poll.call(callee, 1), reference);
            }
            let found = poll.answer(1, reference, &[NUMBER], 1_000);
            notes.borrow_mut().push(format!("{found:?}"));
            Verdict::Wait
        });
        world.settle();
        world.signal(callee, Signal::Kill { to: callee, by: None });
        world.settle();
        assert_eq!(*log.borrow(), ["Pending", "Failed"], "taken: {taken}");
    }
}

#[test]
fn a_call_fails_when_the_callee_fails_in_the_very_poll_that_answers_it() {
    let mut world = World::new(1, 1);
    let callee = world.run_script(0, |poll| match poll.recv(1, &[NUMBER]) {
        Some(call) => {
            poll.reply(&call, 7);
            Verdict::Trap
        }
        None => Verdict::Wait,
    });
    let failed = Rc::new(RefCell::new(false));
    let noted = failed.clone();
    let mut call = None;
    world.run_script(0, move |poll| {
        let reference = *call.get_or_insert_with(|| poll.call(callee, 1));
        *noted.borrow_mut() = poll.answer(1, reference, &[NUMBER], u64::MAX) == Found::Failed;
        Verdict::Wait
    });
    world.settle();
    assert!(*failed.borrow(), "the answer was dropped with the rest of the poll");
}

#[test]
fn a_call_is_answered_once_and_what_comes_late_is_counted() {
    let mut world = World::new(2, 2);
    let server = world.run_script(0, |poll| {
        while let Some(message) = poll.recv(1, &[NUMBER]) {
            poll.reply(&message, 10);
            poll.reply(&message, 11);
        }
        Verdict::Wait
    });
    let log = Rc::new(RefCell::new(Vec::new()));
    let notes = log.clone();
    let caller = world.run_script(1, move |poll| {
        let reference = Ref::new(1, 1);
        if poll.woken.is_none() {
            poll.call(server, 1);
        }
        if let Found::Answer(_) = poll.answer(1, reference, &[NUMBER], 1_000) {
            let answer = poll.port.take_answer(reference).unwrap();
            notes.borrow_mut().push(u64::decode(&mut Reader::new(answer.payload.as_slice())).unwrap());
        }
        Verdict::Wait
    });
    world.settle();
    assert_eq!(*log.borrow(), [10]);
    assert_eq!(world.info(caller).unwrap().counts.late, 1);
}

#[test]
fn timers_fire_in_order_and_a_cancelled_one_never() {
    let mut world = World::new(1, 2);
    let log = Rc::new(RefCell::new(Vec::new()));
    let notes = log.clone();
    let mut receive = 1;
    world.run_script(0, move |poll| {
        if poll.woken.is_none() {
            let me = poll.port.pid();
            poll.port.send_after(30, me, NUMBER, payload(3)).unwrap();
            poll.port.send_after(10, me, NUMBER, payload(1)).unwrap();
            let doomed = poll.port.send_after(20, me, NUMBER, payload(2)).unwrap();
            assert!(poll.port.cancel_timer(doomed));
            assert!(!poll.port.cancel_timer(doomed));
        }
        while let Some(message) = poll.recv(receive, &[NUMBER]) {
            receive += 1;
            notes.borrow_mut().push(crate::world::number(&message));
        }
        Verdict::Wait
    });
    world.settle();
    for _ in 0..5 {
        world.pass(10);
    }
    assert_eq!(*log.borrow(), [1, 3]);
}

#[test]
fn a_spawned_process_can_be_sent_to_linked_and_watched_in_the_same_poll() {
    let mut world = World::new(1, 2);
    let entry = world.entry(|| {
        Box::new(|poll| match poll.recv(1, &[NUMBER]) {
            Some(_) => Verdict::Exit(ExitReason::NoProcess),
            None => Verdict::Wait,
        })
    });
    let (_, seen) = watcher(&mut world, 0, move |poll| {
        request(poll, Action::TrapExit(true));
        let (child, _) = poll.port.spawn(entry, Vec::new(), true, true);
        poll.send(child, 1).unwrap();
    });
    world.settle();
    let mut seen = seen.borrow().clone();
    seen.sort();
    assert_eq!(seen, ["down no such process", "exit no such process"]);
}
