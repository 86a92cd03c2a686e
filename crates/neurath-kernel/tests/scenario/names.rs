//! Names: one owner each, known on all shards, free when the owner ends.

use std::cell::RefCell;
use std::rc::Rc;

use neurath_kernel::{Found, Signal};
use neurath_proto::cluster::Question;
use neurath_proto::notice::NameAnswer;
use neurath_proto::{NodeId, Pid};

use crate::world::{KNOWN, Verdict, World, name_answer};

const NODE: NodeId = NodeId(7);

type Answers = Rc<RefCell<Vec<NameAnswer>>>;

/// Asks the registrar and notes the answer.
fn ask(world: &mut World, shard: usize, question: impl Fn(Pid) -> Question + Clone + 'static) -> (Pid, Answers) {
    let answers = Answers::default();
    let notes = answers.clone();
    let mut asked = None;
    let pid = world.run_script(shard, move |poll| {
        let me = poll.port.pid();
        let reference = *asked.get_or_insert_with(|| poll.port.ask(question(me)));
        if let Found::Answer(_) = poll.answer(1, reference, &[KNOWN.answer], u64::MAX) {
            notes.borrow_mut().push(name_answer(&poll.port.take_answer(reference).unwrap()));
        }
        Verdict::Wait
    });
    (pid, answers)
}

#[test]
fn a_name_has_one_owner_and_is_free_when_it_ends() {
    for seed in 0..30 {
        let mut world = World::new(3, seed);
        let register = |me| Question::Register { node: NODE, name: "x".into(), pid: me };
        let (first, answers) = ask(&mut world, 1, register);
        world.settle();
        assert_eq!(*answers.borrow(), [NameAnswer::Done], "seed {seed}");
        assert_eq!(world.info(first).unwrap().names, ["x"]);
        let (_, answers) = ask(&mut world, 2, register);
        world.settle();
        assert_eq!(*answers.borrow(), [NameAnswer::Owner(first)], "a duplicate is refused with the owner's pid");
        let (_, answers) = ask(&mut world, 0, |_| Question::Whereis { node: NODE, name: "x".into() });
        world.settle();
        assert_eq!(*answers.borrow(), [NameAnswer::Owner(first)]);
        world.signal(first, Signal::Kill { to: first, by: None });
        world.settle();
        let (second, answers) = ask(&mut world, 2, register);
        world.settle();
        assert_eq!(*answers.borrow(), [NameAnswer::Done], "seed {seed}");
        assert_eq!(world.kernel(0).whereis("x"), Some(second));
        let (_, answers) = ask(&mut world, 1, |_| Question::Unregister { node: NODE, name: "x".into() });
        world.settle();
        assert_eq!(*answers.borrow(), [NameAnswer::Done]);
        assert!(world.info(second).unwrap().names.is_empty());
    }
}

#[test]
fn a_dead_process_gets_no_name() {
    let mut world = World::new(2, 1);
    let nobody = Pid { serial: neurath_proto::Serial(999), ..world.run_script(0, |_| Verdict::Wait) };
    let (_, answers) = ask(&mut world, 1, move |_| Question::Register { node: NODE, name: "x".into(), pid: nobody });
    world.settle();
    assert_eq!(*answers.borrow(), [NameAnswer::NoProcess]);
    assert_eq!(world.kernel(0).whereis("x"), None);
}
