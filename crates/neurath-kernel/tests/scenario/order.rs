//! Order and atomicity: what a poll asked for, all of it in order or none of it.

use std::cell::RefCell;
use std::rc::Rc;

use crate::world::{NUMBER, Verdict, World, number};

/// A sink that notes what it gets.
fn sink(world: &mut World, shard: usize) -> (neurath_proto::Pid, Rc<RefCell<Vec<u64>>>) {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let notes = seen.clone();
    let mut next = 1;
    let pid = world.run_script(shard, move |poll| {
        while let Some(message) = poll.recv(next, &[NUMBER]) {
            next += 1;
            notes.borrow_mut().push(number(&message));
        }
        Verdict::Wait
    });
    (pid, seen)
}

#[test]
fn messages_of_one_sender_arrive_in_the_order_sent_on_one_shard_and_across_shards() {
    for seed in 0..200 {
        let mut world = World::new(3, seed);
        let (to, seen) = sink(&mut world, (seed % 3) as usize);
        for sender in 0..3 {
            let mut sent = 0;
            world.run_script(sender, move |poll| {
                for _ in 0..5 {
                    poll.send(to, sender as u64 * 1000 + sent).unwrap();
                    sent += 1;
                }
                poll.sleep(sent, if sent < 50 { 10 } else { u64::MAX });
                Verdict::Wait
            });
        }
        for _ in 0..30 {
            world.pass(10);
        }
        let seen = seen.borrow();
        assert_eq!(seen.len(), 150, "seed {seed}");
        for sender in 0..3 {
            let of_one: Vec<_> = seen.iter().filter(|n| **n / 1000 == sender).copied().collect();
            assert!(of_one.is_sorted(), "seed {seed}: {of_one:?}");
        }
    }
}

#[test]
fn a_poll_that_traps_leaves_no_trace() {
    let mut world = World::new(1, 1);
    let (to, seen) = sink(&mut world, 0);
    let culprit = world.run_script(0, move |poll| {
        poll.send(to, 1).unwrap();
        poll.port.spawn(0, Vec::new(), false, false);
        Verdict::Trap
    });
    world.settle();
    assert!(seen.borrow().is_empty());
    assert_eq!(world.kernel(0).len(), 1, "the sink alone is left");
    assert_eq!(world.ended[0].0, culprit);
}

#[test]
fn a_poll_that_exits_commits_what_it_asked_for() {
    let mut world = World::new(2, 1);
    let (to, seen) = sink(&mut world, 1);
    world.run_script(0, move |poll| {
        poll.send(to, 1).unwrap();
        poll.send(to, 2).unwrap();
        Verdict::Exit(neurath_proto::reason::ExitReason::Normal)
    });
    world.settle();
    assert_eq!(*seen.borrow(), [1, 2]);
}

#[test]
fn one_poll_cannot_take_messages_without_end() {
    let mut world = World::with(1, 1, neurath_kernel::PortLimits { takes_per_poll: 10, ..Default::default() });
    let polls = Rc::new(RefCell::new(Vec::new()));
    let notes = polls.clone();
    let mut next = 1;
    let pid = world.run_script(0, move |poll| {
        let mut taken = 0;
        while poll.recv(next, &[NUMBER]).is_some() {
            next += 1;
            taken += 1;
        }
        notes.borrow_mut().push(taken);
        Verdict::Wait
    });
    world.settle();
    for n in 0..35 {
        world.send(pid, NUMBER, n);
    }
    world.settle();
    assert_eq!(*polls.borrow(), [0, 10, 10, 10, 5]);
}
