//! Many strangers, and many connections that are killed: nothing is left behind, and members still come through.
//!
//! It counts the file descriptors of the whole process, so it is one test, alone in its binary.

mod common;

use common::{Kind, Node, World};

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn crowds_leave_nothing_behind_and_keep_no_member_out() {
    for kind in [Kind::Memory, Kind::Plain, Kind::Tls] {
        let world = World::new(kind);
        let (a, b) = (world.node(1), world.node(2));
        let before = descriptors();
        a_thousand_killed_connections(&a, &b);
        assert_eq!(descriptors(), before, "{kind:?}");
        ten_thousand_half_open(&world, &a, &b, before);
    }
}

fn a_thousand_killed_connections(a: &Node, b: &Node) {
    for round in 0..1000 {
        let (mut at_a, at_b) = a.connect(b);
        if round % 2 == 0 {
            at_a.send(b"unread").unwrap();
        }
        drop((at_a, at_b));
    }
}

fn ten_thousand_half_open(world: &World, a: &Node, b: &Node, before: usize) {
    // Both ends are in this process: a socket each, until the node closes its own.
    let allowed = rlimit::increase_nofile_limit(rlimit::INFINITY).unwrap() as usize;
    let crowd = 10_000.min(allowed.saturating_sub(before + 1024));
    if crowd < 10_000 {
        eprintln!("only {crowd} half-open connections: the system allows {allowed} descriptors");
    }
    let mut raws = Vec::with_capacity(crowd);
    for number in 0..crowd {
        raws.push(world.raw(&b.address()));
        if number % 1000 == 999 {
            let (mut at_a, mut at_b) = a.connect(b);
            at_a.send(b"through").unwrap();
            assert_eq!(at_b.hear(7), b"through");
        }
    }
    let held = descriptors() - before - crowd;
    assert!(held <= 512 + 64, "the node holds {held} descriptors for strangers");
    drop(raws);
    let (at_a, at_b) = a.connect(b);
    drop((at_a, at_b));
}
