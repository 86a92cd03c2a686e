//! Traces: who watches sees what happened, in order, and only what was asked for; and what is counted for a shard.

use std::sync::{Arc, Mutex};

use neurath_kernel::action::Action;
use neurath_kernel::trace::{Kind, TraceEvent, TraceFilter, WatchId};
use neurath_kernel::{PortLimits, Signal};
use neurath_proto::Pid;
use neurath_proto::cluster::Question;
use neurath_proto::reason::ExitReason;

use crate::world::{ALIEN, NUMBER, Verdict, World, request};

type Seen = Arc<Mutex<Vec<TraceEvent>>>;

fn trace(world: &mut World, shards: usize, filter: &TraceFilter) -> Seen {
    let seen = Seen::default();
    for shard in 0..shards {
        let notes = seen.clone();
        let tracer = Box::new(move |_: u64, event: &TraceEvent| notes.lock().unwrap().push(event.clone()));
        world.kernel(shard).add_tracer(WatchId(1), filter.clone(), tracer);
    }
    seen
}

fn kinds(seen: &Seen) -> Vec<&'static str> {
    seen.lock().unwrap().iter().map(|event| event.what.kind().name()).collect()
}

/// Answers each number with the next one; ends at 9.
fn echo(world: &mut World, shard: usize) -> Pid {
    let mut receive = 1;
    world.run_script(shard, move |poll| {
        while let Some(message) = poll.recv(receive, &[NUMBER]) {
            receive += 1;
            if crate::world::number(&message) == 9 {
                return Verdict::Exit(ExitReason::Normal);
            }
            poll.send(message.from, crate::world::number(&message) + 1).unwrap();
        }
        Verdict::Wait
    })
}

/// Sends 5 and then 9, and takes what comes.
fn asker(world: &mut World, shard: usize, to: Pid) -> Pid {
    world.run_script(shard, move |poll| {
        if poll.woken.is_none() {
            request(poll, Action::Link(to));
            poll.port.monitor(to);
            poll.send(to, 5).unwrap();
        } else if poll.recv(1, &[NUMBER]).is_some() {
            poll.send(to, 9).unwrap();
        }
        poll.look(1, &[NUMBER], 0, u64::MAX, 0);
        Verdict::Wait
    })
}

#[test]
fn a_trace_shows_what_happens_to_its_process_in_order_and_nothing_of_others() {
    for shards in 1..3 {
        for seed in 0..20 {
            let mut world = World::new(shards, seed);
            let to = echo(&mut world, 0);
            let seen = trace(&mut world, shards as usize, &TraceFilter::new(Some(vec![to]), &[], None));
            let from = asker(&mut world, (shards - 1) as usize, to);
            world.settle();
            assert_eq!(kinds(&seen), ["linked", "received", "sent", "received", "died"], "seed {seed}");
            let events = seen.lock().unwrap().clone();
            assert!(events.iter().all(|event| event.of == Some(to)), "seed {seed}: {events:#?}");
            assert!(events[..4].iter().all(|event| event.what.peer() == Some(from)), "seed {seed}: {events:#?}");
        }
    }
}

#[test]
fn a_filter_chooses_kinds_and_peers_and_a_trace_that_ended_sees_nothing() {
    for seed in 0..20 {
        let mut world = World::new(2, seed);
        let (to, other) = (echo(&mut world, 0), echo(&mut world, 1));
        let filter = TraceFilter::new(None, &[Kind::Sent, Kind::Died], Some(to));
        let seen = trace(&mut world, 2, &filter);
        asker(&mut world, 0, to);
        asker(&mut world, 1, other);
        world.settle();
        assert_eq!(kinds(&seen), ["sent", "sent"], "seed {seed}: what the asker sent to it");
        for shard in 0..2 {
            world.kernel(shard).remove_tracer(WatchId(1));
        }
        let again = echo(&mut world, 0);
        world.send(again, NUMBER, 9);
        world.settle();
        assert_eq!(kinds(&seen).len(), 2, "seed {seed}");
    }
}

#[test]
fn names_refusals_full_mailboxes_and_starts_are_seen() {
    for seed in 0..20 {
        let mut world = World::with(1, seed, PortLimits { mailbox_messages: 2, ..PortLimits::default() });
        let filter = TraceFilter::new(None, &[], None);
        let seen = trace(&mut world, 1, &filter);
        let entry = world.entry(|| Box::new(|_| Verdict::Wait));
        let program = world.program(Some(&[NUMBER]));
        let deaf = world.spawn(0, &program, entry);
        world.settle();
        world.send(deaf, ALIEN, 1);
        let flood = world.run_script(0, move |poll| {
            let me = poll.port.pid();
            poll.port.ask(Question::Register { node: me.node, name: "till".into(), pid: me });
            for n in 0..3 {
                poll.send(deaf, n).unwrap();
            }
            Verdict::Wait
        });
        world.settle();
        world.signal(deaf, Signal::Kill { to: deaf, by: None });
        world.settle();
        let seen = kinds(&seen);
        for kind in ["spawned", "refused", "registered", "full", "blocked", "died", "unblocked"] {
            assert!(seen.contains(&kind), "seed {seed}: no {kind} in {seen:?} ({flood})");
        }
    }
}

#[test]
fn a_shard_counts_what_happened_on_it() {
    let mut world = World::new(1, 3);
    let to = echo(&mut world, 0);
    asker(&mut world, 0, to);
    world.settle();
    let (totals, held) = (world.kernel(0).totals(), world.kernel(0).held());
    assert_eq!((totals.spawned, totals.sent, totals.received), (2, 3, 4), "with the notice of the end");
    assert_eq!((totals.ended_normally, totals.ended_abnormally, held.processes), (1, 0, 1));
    assert!(totals.turns >= 4, "{totals:?}");
}
