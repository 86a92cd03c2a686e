//! What a process can rely on when it receives, in the host for tests.
#![allow(missing_docs)]

use std::cell::RefCell;
use std::rc::Rc;

use futures_util::future::{Either, join_all, select};
use futures_util::stream::{FuturesUnordered, StreamExt};
use futures_util::{FutureExt, join};
use neurath::prelude::*;
use neurath::testing::run;

#[derive(Message, Debug, PartialEq, Clone)]
struct Ping(u32);

#[derive(Message, Debug, PartialEq, Clone)]
struct Pong(u32);

#[derive(Message, Debug, PartialEq)]
enum Tally {
    Increment(i64),
    Get(ReplyTo<i64>),
    Upgrade,
}

#[neurath::process(accepts(Tally))]
async fn counter(mut sum: i64) {
    loop {
        match recv::<Tally>().await {
            Tally::Increment(n) => sum += n,
            Tally::Get(reply) => reply.send(sum),
            Tally::Upgrade => sum = become_latest!(counter, sum).await,
        }
    }
}

#[test]
fn messages_of_one_sender_come_in_order() {
    let got = run(async {
        for n in 0..100 {
            send(self_pid(), Ping(n));
        }
        let mut got = Vec::new();
        for _ in 0..100 {
            got.push(recv::<Ping>().await.0);
        }
        got
    });
    assert_eq!(got, (0..100).collect::<Vec<_>>());
}

#[test]
fn other_types_stay_in_the_mailbox() {
    let got = run(async {
        send(self_pid(), Pong(1));
        send(self_pid(), Ping(2));
        send(self_pid(), Pong(3));
        (recv::<Ping>().await, recv::<Pong>().await, recv::<Pong>().await)
    });
    assert_eq!(got, (Ping(2), Pong(1), Pong(3)));
}

#[test]
fn a_state_that_nothing_newer_takes_comes_back() {
    let sum = run(async {
        let pid = counter::spawn(1);
        send(pid, Tally::Increment(4));
        send(pid, Tally::Upgrade);
        send(pid, Tally::Increment(5));
        ask(pid, Tally::Get).await
    });
    assert_eq!(sum, Ok(10));
}

#[test]
fn among_concurrent_receives_the_earliest_started_wins() {
    let order = run(async {
        let order = RefCell::new(Vec::new());
        let receive = async |name: &'static str| {
            let Ping(n) = recv().await;
            order.borrow_mut().push((name, n));
        };
        let feed = async {
            sleep(1.millis()).await;
            for n in 0..3 {
                send(self_pid(), Ping(n));
            }
        };
        join!(receive("first"), receive("second"), receive("third"), feed);
        order.into_inner()
    });
    assert_eq!(order, [("first", 0), ("second", 1), ("third", 2)]);
}

#[test]
fn a_receive_that_loses_a_select_takes_nothing() {
    let got = run(async {
        let loser = recv::<Ping>();
        let winner = select(loser, Box::pin(sleep(1.millis()))).await;
        assert!(matches!(winner, Either::Right(_)));
        drop(winner);
        send(self_pid(), Ping(7));
        recv::<Ping>().await
    });
    assert_eq!(got, Ping(7));
}

#[test]
fn a_receive_that_is_dropped_hands_its_message_on() {
    let got = run(async {
        // Both wait; the message wakes the first, which is dropped before it is polled again.
        let mut first = Box::pin(recv::<Ping>());
        let mut second = Box::pin(recv::<Ping>());
        assert!((&mut first).now_or_never().is_none());
        assert!((&mut second).now_or_never().is_none());
        send(self_pid(), Ping(9));
        drop(first);
        second.await
    });
    assert_eq!(got, Ping(9));
}

#[test]
fn combinators_with_wakers_of_their_own_work() {
    let mut sums = run(async {
        let pids: Vec<Pid> = (0..20).map(counter::spawn).collect();
        let asked: FuturesUnordered<_> = pids.iter().map(|pid| ask(*pid, Tally::Get)).collect();
        let mut sums: Vec<i64> = asked.map(Result::unwrap).collect().await;
        sums.extend(join_all(pids.iter().map(|pid| ask(*pid, Tally::Get))).await.into_iter().map(Result::unwrap));
        sums
    });
    sums.sort_unstable();
    assert_eq!(sums, (0..20).flat_map(|n| [n, n]).collect::<Vec<_>>());
}

#[test]
fn tasks_of_a_process_can_wake_each_other() {
    let got = run(async {
        let shared = Rc::new(RefCell::new((None, None::<std::task::Waker>)));
        let waits = std::future::poll_fn({
            let shared = Rc::clone(&shared);
            move |context| {
                let mut shared = shared.borrow_mut();
                shared.1 = Some(context.waker().clone());
                shared.0.take().map_or(std::task::Poll::Pending, std::task::Poll::Ready)
            }
        });
        let wakes = async {
            let message = recv::<Ping>().await;
            let mut shared = shared.borrow_mut();
            shared.0 = Some(message);
            if let Some(waker) = shared.1.take() {
                waker.wake();
            }
        };
        let feeds = async {
            sleep(1.secs()).await;
            send(self_pid(), Ping(3));
        };
        // `waits` is polled first, so nothing but its waker polls it again.
        join!(waits, wakes, feeds).0
    });
    assert_eq!(got, Ping(3));
}

#[test]
fn a_future_that_always_wakes_itself_lets_others_run() {
    let got = run(async {
        let pid = counter::spawn(5);
        let busy = std::future::poll_fn(|context| {
            context.waker().wake_by_ref();
            std::task::Poll::<()>::Pending
        });
        match select(busy, ask(pid, Tally::Get)).await {
            Either::Left(_) => unreachable!(),
            Either::Right((sum, _)) => sum,
        }
    });
    assert_eq!(got, Ok(5));
}

#[test]
fn receive_takes_types_patterns_and_conditions() {
    let got = run(async {
        for message in [Ping(1), Ping(2), Ping(3)] {
            send(self_pid(), message);
        }
        send(self_pid(), Pong(4));
        send(self_pid(), Tally::Upgrade);
        send(self_pid(), Tally::Increment(5));
        let mut got = Vec::new();
        let wanted = 2;
        for _ in 0..5 {
            receive! {
                Ping(n) if n == wanted => got.push(format!("ping {n}")),
                pong: Pong if !got.is_empty() => got.push(format!("{pong:?}")),
                Tally::Increment(mut n) if got.len() > 1 => {
                    n += 1;
                    got.push(format!("increment {n}"))
                }
                Tally::Upgrade if got.len() > 2 => got.push("upgrade".into()),
                after 0.secs() => got.push("nothing".into()),
            }
        }
        got.push(format!("{:?}", recv::<Ping>().await));
        got.push(format!("{:?}", recv::<Ping>().await));
        got
    });
    assert_eq!(got, ["ping 2", "Pong(4)", "increment 6", "upgrade", "nothing", "Ping(1)", "Ping(3)"]);
}

#[test]
fn the_deadline_is_for_the_whole_receive() {
    let heard = run(async {
        // Messages that no arm wants come all the time and do not put the end off.
        let me = self_pid();
        for n in 1..20 {
            send_after((n * 10).millis(), me, Ping(0)).unwrap();
        }
        receive! {
            Ping(n) if n > 0 => unreachable!("nobody sent {n}"),
            after 105.millis() => {}
        }
        let mut heard = 0;
        loop {
            receive! {
                _: Ping => heard += 1,
                after 0.secs() => break heard,
            }
        }
    });
    assert_eq!(heard, 10);
}

#[test]
fn the_body_of_an_arm_controls_what_is_around_it() {
    async fn first_over(limit: u32) -> Result<u32, String> {
        loop {
            receive! {
                Ping(0) => continue,
                Ping(n) if n > limit => break Ok(n),
                Ping(n) => Err(format!("{n} is too small"))?,
                after 1.secs() => return Err("silence".into()),
            }
        }
    }
    let got = run(async {
        send(self_pid(), Ping(0));
        send(self_pid(), Ping(8));
        send(self_pid(), Ping(3));
        (first_over(5).await, first_over(5).await, first_over(5).await)
    });
    assert_eq!(got, (Ok(8), Err("3 is too small".into()), Err("silence".into())));
}

#[test]
fn a_receive_waits_for_answers_besides() {
    let got = run(async {
        let pid = counter::spawn(3);
        let mut total = ask(pid, Tally::Get);
        let mut got = Vec::new();
        for _ in 0..2 {
            receive! {
                Ping(n) => got.push(i64::from(n)),
                answer = total => {
                    got.push(answer.unwrap());
                    send(self_pid(), Ping(4));
                }
            }
        }
        got
    });
    assert_eq!(got, [3, 4]);
}

#[test]
fn messages_larger_than_the_buffer_arrive() {
    let got = run(async {
        let mut lengths = Vec::new();
        for len in [10, 2_000, 200_000, 10, 3_000] {
            send(self_pid(), vec![1u8; len]);
            lengths.push(recv::<Vec<u8>>().await.len());
        }
        lengths
    });
    assert_eq!(got, [10, 2_000, 200_000, 10, 3_000]);
}
