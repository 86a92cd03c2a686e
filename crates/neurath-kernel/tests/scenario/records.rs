//! The kernel's part of a process as data: complete, the same in every run, and good for a move between shards.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use neurath_kernel::{Hold, Signal, Standing};

use crate::world::{NUMBER, OLD, Verdict, World, number};

#[test]
fn a_record_brings_everything_back_on_another_shard_and_signals_find_it() {
    let mut world = World::new(2, 3);
    let entry = world.entry(|| {
        Box::new(|poll| {
            poll.recv(1, &[OLD]);
            Verdict::Wait
        })
    });
    let program = world.program(None);
    let pid = world.spawn(0, &program, entry);
    world.settle();
    world.send(pid, NUMBER, 1);
    world.send(pid, NUMBER, 2);
    world.settle();
    let before = world.kernel(0).export(pid).unwrap();
    let (_, record) = world.kernel(0).release(pid, 1).unwrap();
    assert_eq!(record.port, before.port, "two exports are the same");
    assert!(world.kernel(0).info(pid).is_none());
    world.kernel(1).import(record);
    world.send(pid, NUMBER, 3);
    world.send(pid, NUMBER, 4);
    world.settle();
    let moved = world.kernel(1).export(pid).unwrap();
    let numbers: Vec<u64> = moved.port.messages.iter().map(number).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    world.signal(pid, Signal::Kill { to: pid, by: None });
    world.settle();
    assert_eq!(world.ended.last().unwrap().0, pid);
}

#[test]
fn a_held_process_is_not_polled_and_its_deadlines_stand_still() {
    let mut world = World::new(1, 3);
    let timed_out = Rc::new(RefCell::new(false));
    let note = timed_out.clone();
    let pid = world.run_script(0, move |poll| {
        if poll.look(1, &[NUMBER], 0, 100, 0) == neurath_kernel::Found::TimedOut {
            *note.borrow_mut() = true;
        }
        Verdict::Wait
    });
    world.settle();
    world.pass(50);
    assert!(world.kernel(0).hold(pid, Hold::Frozen, true));
    world.pass(500);
    assert_eq!(world.info(pid).unwrap().standing, Standing::Held(Hold::Frozen));
    assert!(!*timed_out.borrow());
    world.kernel(0).hold(pid, Hold::Frozen, false);
    world.pass(49);
    assert!(!*timed_out.borrow(), "fifty nanoseconds were left");
    world.pass(2);
    assert!(*timed_out.borrow());
}

#[test]
fn inputs_can_be_recorded() {
    let mut world = World::new(1, 3);
    let pid = world.run_script(0, |_| Verdict::Wait);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = seen.clone();
    world.kernel(0).set_recorder(Some(Box::new(move |at, signal| notes.lock().unwrap().push((at, signal.clone())))));
    world.pass(5);
    world.send(pid, NUMBER, 1);
    world.signal(pid, Signal::Kill { to: pid, by: None });
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2);
    assert!(matches!(&seen[0], (6, Signal::Message(_))) && matches!(&seen[1], (6, Signal::Kill { .. })));
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut world = World::new(3, seed);
        let log = Rc::new(RefCell::new(Vec::new()));
        let mut pids = Vec::new();
        for shard in 0..3 {
            let notes = log.clone();
            let mut receive = 1;
            let known = pids.clone();
            pids.push(world.run_script(shard, move |poll| {
                while let Some(message) = poll.recv(receive, &[NUMBER]) {
                    receive += 1;
                    let n = number(&message);
                    notes.borrow_mut().push((poll.port.pid().serial.0, n));
                    if n < 20 {
                        for to in &known {
                            poll.send(*to, n + 1).unwrap();
                        }
                    }
                }
                Verdict::Wait
            }));
        }
        for pid in &pids {
            world.send(*pid, NUMBER, 15);
        }
        world.settle();
        log.borrow().clone()
    };
    assert_eq!(run(7), run(7));
}
