//! Receives: selective, with predicates, deadlines, several at once.

use std::cell::RefCell;
use std::rc::Rc;

use neurath_kernel::Found;
use neurath_proto::abi::{ReceiveId, take_flags};

use crate::world::{ALIEN, NEW, NUMBER, OLD, Verdict, World, number};

#[test]
fn a_receive_takes_its_types_only_and_leaves_the_rest_in_order() {
    let mut world = World::new(1, 1);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let notes = seen.clone();
    let mut step = 0;
    let pid = world.run_script(0, move |poll| {
        // First all of one type, then whatever is left.
        loop {
            let readers: &[_] = if step == 0 { &[OLD] } else { &[NUMBER, OLD] };
            match poll.recv(step + 1, readers) {
                Some(message) => {
                    step += 1;
                    notes.borrow_mut().push(number(&message));
                }
                None => return Verdict::Wait,
            }
        }
    });
    world.settle();
    for n in 1..4 {
        world.send(pid, NUMBER, n);
    }
    world.settle();
    assert!(seen.borrow().is_empty());
    world.send(pid, OLD, 9);
    world.settle();
    assert_eq!(*seen.borrow(), [9, 1, 2, 3]);
}

#[test]
fn what_a_predicate_refused_is_not_looked_at_again_but_stays() {
    let mut world = World::new(1, 1);
    let looks = Rc::new(RefCell::new(Vec::new()));
    let notes = looks.clone();
    let (mut cursor, mut receive) = (0, 1);
    let pid = world.run_script(0, move |poll| {
        loop {
            match poll.look(receive, &[NUMBER], cursor, u64::MAX, take_flags::LOOK) {
                Found::Message(seq, ..) => {
                    let n = number(poll.port.message(seq).unwrap());
                    notes.borrow_mut().push(n);
                    cursor = seq;
                    if n == 7 {
                        poll.port.take(seq);
                        (cursor, receive) = (0, receive + 1);
                    }
                }
                _ => return Verdict::Wait,
            }
        }
    });
    world.settle();
    for n in [1, 2, 3, 7, 4] {
        world.send(pid, NUMBER, n);
        world.settle();
    }
    // Each of 1, 2, 3 once, then 7; after it the next receive begins at the start.
    assert_eq!(*looks.borrow(), [1, 2, 3, 7, 1, 2, 3, 4]);
    assert_eq!(world.info(pid).unwrap().mailbox, 4);
}

#[test]
fn a_deadline_is_for_the_whole_receive_and_zero_still_looks() {
    let mut world = World::new(1, 1);
    let log = Rc::new(RefCell::new(Vec::new()));
    let notes = log.clone();
    let pid = world.run_script(0, move |poll| {
        let found = poll.look(1, &[OLD], 0, 100, 0);
        notes.borrow_mut().push(format!("{found:?}"));
        if found == Found::TimedOut {
            let zero = poll.look(2, &[NUMBER], 0, 0, 0);
            notes.borrow_mut().push(format!("{:?}", matches!(zero, Found::Message(..))));
            let none = poll.look(3, &[ALIEN], 0, 0, 0);
            notes.borrow_mut().push(format!("{none:?}"));
        }
        Verdict::Wait
    });
    world.settle();
    world.pass(60);
    // Something else arrives: the deadline does not begin again.
    world.send(pid, NUMBER, 1);
    world.pass(30);
    assert_eq!(*log.borrow(), ["Pending"]);
    world.pass(10);
    assert_eq!(*log.borrow(), ["Pending", "TimedOut", "true", "TimedOut"]);
}

#[test]
fn of_concurrent_receives_the_earliest_started_wins_and_a_dropped_one_passes_its_message_on() {
    let mut world = World::new(1, 1);
    let log = Rc::new(RefCell::new(Vec::new()));
    let notes = log.clone();
    let mut drop_first = true;
    let pid = world.run_script(0, move |poll| {
        match poll.woken {
            None => {
                poll.recv(1, &[NUMBER]);
                poll.recv(2, &[NUMBER]);
            }
            Some(receive) if drop_first => {
                drop_first = false;
                notes.borrow_mut().push(format!("woken {}", receive.0));
                poll.port.cancel(receive, &crate::world::Shapes);
            }
            Some(receive) => {
                let n = poll.recv(receive.0, &[NUMBER]).map(|m| number(&m));
                notes.borrow_mut().push(format!("woken {} got {n:?}", receive.0));
            }
        }
        Verdict::Wait
    });
    world.settle();
    world.send(pid, NUMBER, 5);
    world.settle();
    assert_eq!(*log.borrow(), ["woken 1", "woken 2 got Some(5)"]);
}

#[test]
fn a_later_receive_does_not_steal_the_message_that_an_earlier_one_was_woken_for() {
    let mut world = World::new(1, 1);
    let log = Rc::new(RefCell::new(Vec::new()));
    let notes = log.clone();
    let pid = world.run_script(0, move |poll| {
        match poll.woken {
            None => {
                poll.recv(1, &[NUMBER]);
            }
            Some(_) => {
                // A new receive comes first in this poll, but the message is the earlier one's.
                let stolen = poll.recv(2, &[NUMBER]);
                let own = poll.recv(1, &[NUMBER]);
                notes.borrow_mut().push((stolen.is_some(), own.is_some()));
            }
        }
        Verdict::Wait
    });
    world.settle();
    world.send(pid, NUMBER, 5);
    world.settle();
    assert_eq!(*log.borrow(), [(false, true)]);
}

#[test]
fn a_yield_comes_back_at_once_and_once() {
    let mut world = World::new(1, 1);
    let polls = Rc::new(RefCell::new(0));
    let count = polls.clone();
    world.run_script(0, move |poll| {
        *count.borrow_mut() += 1;
        let found = poll.look(1, &[], 0, u64::MAX, take_flags::YIELD);
        if poll.woken.is_some() {
            assert_eq!(found, Found::TimedOut);
            poll.recv(2, &[NUMBER]);
        }
        Verdict::Wait
    });
    world.settle();
    assert_eq!(*polls.borrow(), 2);
}

#[test]
fn what_the_reader_does_not_accept_is_refused_loudly() {
    let mut world = World::new(1, 1);
    let entry = world.entry(|| {
        Box::new(|poll| {
            poll.recv(1, &[NEW]);
            Verdict::Wait
        })
    });
    let program = world.program(Some(&[NEW]));
    let pid = world.spawn(0, &program, entry);
    world.settle();
    world.send(pid, ALIEN, 1);
    world.send(pid, OLD, 2);
    world.settle();
    let info = world.info(pid).unwrap();
    assert_eq!((info.counts.refused, info.counts.received), (1, 1), "the old type is converted, the alien is refused");
    let (count, refusals) = world.kernel(0).refusals();
    let reasons: Vec<_> = refusals.map(|r| (r.to, r.type_name.clone())).collect();
    assert_eq!((count, reasons), (1, vec![(pid, "13".to_string())]));
}

#[test]
fn a_call_of_a_type_that_is_not_accepted_fails_with_both_types() {
    let mut world = World::new(2, 3);
    let entry = world.entry(|| {
        Box::new(|poll| {
            poll.recv(1, &[NEW]);
            Verdict::Wait
        })
    });
    let program = world.program(Some(&[NEW]));
    let server = world.spawn(0, &program, entry);
    let log = Rc::new(RefCell::new(String::new()));
    let notes = log.clone();
    world.run_script(1, move |poll| {
        match poll.woken {
            None => {
                let reference = poll.call(server, 1);
                assert_eq!(poll.answer(1, reference, &[NUMBER], 1000), Found::Pending);
            }
            Some(_) => {
                let reference = neurath_proto::Ref::new(1, 1);
                assert_eq!(poll.answer(1, reference, &[NUMBER], 1000), Found::Failed);
                *notes.borrow_mut() = String::from_utf8_lossy(&poll.port.take_failure(reference).unwrap()).into_owned();
            }
        }
        Verdict::Wait
    });
    world.settle();
    assert!(log.borrow().contains("10") && log.borrow().contains("12"), "{log:?}");
}

#[test]
fn a_sender_that_accepts_such_notices_is_told_what_was_not_delivered_also_across_shards() {
    use crate::world::KNOWN;
    for shards in 1..3 {
        let mut world = World::new(shards, 4);
        let picky = world.entry(|| Box::new(|_| Verdict::Wait));
        let program = world.program(Some(&[NEW]));
        let target = world.spawn(0, &program, picky);
        let sender = world.entry(move || {
            Box::new(move |poll| {
                if poll.woken.is_none() {
                    poll.send_as(target, ALIEN, 1).unwrap();
                }
                Verdict::Wait
            })
        });
        let program = world.program(Some(&[KNOWN.not_delivered]));
        let pid = world.spawn((shards - 1) as usize, &program, sender);
        world.settle();
        assert_eq!(world.info(pid).unwrap().mailbox, 1, "{shards} shards");
    }
}

#[test]
fn a_sleep_ends_even_if_a_receive_that_is_over_was_to_be_woken_before() {
    let mut world = World::new(1, 1);
    let callee = world.run_script(0, |poll| {
        if let Some(call) = poll.recv(1, &[NUMBER]) {
            poll.reply(&call, 1);
            poll.send(call.from, 2).unwrap();
        }
        Verdict::Wait
    });
    let slept = Rc::new(RefCell::new(false));
    let ended = slept.clone();
    let mut call = None;
    world.run_script(0, move |poll| {
        match call {
            None => {
                let reference = poll.call(callee, 1);
                call = Some(reference);
                poll.answer(1, reference, &[NUMBER], u64::MAX);
                poll.recv(2, &[NUMBER]);
            }
            Some(reference) if poll.woken == Some(ReceiveId(1)) => {
                // Both receives were woken, and this poll takes what both waited for.
                assert!(matches!(poll.answer(1, reference, &[NUMBER], u64::MAX), Found::Answer(_)));
                poll.port.take_answer(reference);
                assert_eq!(poll.recv(2, &[NUMBER]).map(|message| number(&message)), Some(2));
                poll.look(3, &[], 0, 1_000, 0);
            }
            Some(_) => *ended.borrow_mut() = poll.look(3, &[], 0, 0, 0) == Found::TimedOut,
        }
        Verdict::Wait
    });
    world.settle();
    assert!(!*slept.borrow());
    world.pass(1_000);
    assert!(*slept.borrow());
}
