//! Channels: what they promise, in the host for tests.
#![allow(missing_docs)]

use neurath::prelude::*;
use neurath::testing::{refused, run};

#[derive(Message, Debug, PartialEq)]
struct Ping(SendPort<Pong>);

#[derive(Message, Debug, PartialEq)]
struct Pong(u32);

#[derive(Message)]
struct Opened<T: Data>(SendPort<T>);

// ---- figure 2.2 of the thesis: ping-pong over typed channels ----

/// Answers each ping on the channel that came with it.
#[neurath::process]
async fn ping_server(parent: Pid) {
    let (pings, mut received) = channel::<Ping>();
    send(parent, Opened(pings));
    for count in 1.. {
        let Ping(pong) = received.recv().await;
        pong.send(Pong(count));
    }
}

#[test]
fn pings_and_pongs_go_over_typed_channels() {
    run(async {
        ping_server::spawn(self_pid());
        let Opened::<Ping>(server) = recv().await;
        let (pongs, mut answers) = channel();
        for count in 1..=10 {
            server.send(Ping(pongs));
            assert_eq!(answers.recv().await, Pong(count));
        }
    });
}

#[test]
fn values_come_in_the_order_sent_and_apart_from_the_mailbox_and_from_other_channels() {
    run(async {
        let ((one, mut first), (other, mut second)) = (channel::<u32>(), channel::<u32>());
        for n in 0..100 {
            one.send(n);
            send(self_pid(), 1000 + n);
            other.send(100 + n);
        }
        for n in 0..100 {
            assert_eq!(second.recv().await, 100 + n);
        }
        for n in 0..100 {
            assert_eq!(recv::<u32>().await, 1000 + n);
            assert_eq!(first.recv().await, n);
        }
        receive! { n: u32 => panic!("{n} in the mailbox"), after 1.secs() => {} }
    });
}

#[neurath::process]
async fn sends(to: SendPort<u32>, numbers: Vec<u32>, pause_ms: u64) {
    for number in numbers {
        sleep(pause_ms.millis()).await;
        to.send(number);
    }
}

#[test]
fn a_port_can_be_sent_on_and_used_by_many() {
    run(async {
        let (port, mut sums) = channel();
        for n in 0..10 {
            sends::spawn(port, vec![n, n], 0);
        }
        let mut sum = 0;
        for _ in 0..20 {
            sum += sums.recv().await;
        }
        assert_eq!(sum, 90);
    });
}

async fn next(port: &mut ReceivePort<u32>) -> Option<u32> {
    let mut next = port.recv();
    receive! { n = next => Some(n), after 100.secs() => None }
}

async fn take(port: &mut ReceivePort<u32>, count: usize) -> Vec<u32> {
    let mut taken = Vec::new();
    for _ in 0..count {
        taken.push(port.recv().await);
    }
    taken
}

#[test]
fn a_biased_merge_prefers_the_first_and_a_round_robin_takes_turns() {
    run(async {
        let ports: Vec<_> = (0..3).map(|_| channel::<u32>()).collect();
        let (senders, receivers): (Vec<_>, Vec<_>) = ports.into_iter().unzip();
        let mut biased = ReceivePort::merge_biased(receivers);
        for n in 0..3 {
            for (at, sender) in senders.iter().enumerate().rev() {
                sender.send(at as u32 * 10 + n);
            }
        }
        assert_eq!(take(&mut biased, 9).await, [0, 1, 2, 10, 11, 12, 20, 21, 22]);

        let ports: Vec<_> = (0..3).map(|_| channel::<u32>()).collect();
        let (senders, receivers): (Vec<_>, Vec<_>) = ports.into_iter().unzip();
        let mut fair = ReceivePort::merge_round_robin(receivers);
        for n in 0..100 {
            senders[0].send(n);
        }
        senders[2].send(900);
        senders[1].send(800);
        senders[2].send(901);
        assert_eq!(take(&mut fair, 6).await, [0, 800, 900, 1, 901, 2], "a busy port does not starve the others");
    });
}

#[test]
fn a_biased_merge_that_waits_prefers_the_first_of_those_that_came_meanwhile() {
    run(async {
        let ((urgent, first), (usual, second)) = (channel::<u32>(), channel::<u32>());
        let mut both = ReceivePort::merge_biased([first, second]);
        // Both come before this process has its turn again.
        both_send::spawn(usual, urgent);
        assert_eq!(take(&mut both, 2).await, [9, 1]);
    });
}

#[neurath::process]
async fn both_send(usual: SendPort<u32>, urgent: SendPort<u32>) {
    sleep(1.secs()).await;
    usual.send(1);
    urgent.send(9);
}

#[test]
fn merged_ports_can_be_merged_and_wait_for_what_comes_later() {
    run(async {
        let [(a, first), (b, second), (c, third)] = [channel::<u32>(), channel(), channel()];
        let pair = ReceivePort::merge_round_robin([first, second]);
        let mut all = ReceivePort::merge_biased([pair, third]);
        sends::spawn(c, vec![3], 10);
        sends::spawn(b, vec![2], 20);
        sends::spawn(a, vec![1, 1], 30);
        assert_eq!(take(&mut all, 4).await, [3, 2, 1, 1]);
        assert_eq!(next(&mut all).await, None);
    });
}

#[test]
fn what_is_sent_to_a_dropped_port_is_refused_and_counted() {
    run(async {
        let (port, mut values) = channel::<u32>();
        port.send(1);
        port.send(2);
        assert_eq!(values.recv().await, 1);
        drop(values);
        assert_eq!(refused(), 1, "what waited");
        port.send(3);
        assert_eq!(refused(), 2, "what came later");
    });
}

#[test]
fn a_receive_that_is_given_up_takes_no_value_with_it() {
    run(async {
        let (port, mut values) = channel::<u32>();
        sends::spawn(port, vec![1, 2], 10);
        {
            let mut next = values.recv();
            receive! { n = next => panic!("{n}"), after 5.millis() => {} }
        }
        sleep(100.millis()).await;
        assert_eq!(take(&mut values, 2).await, [1, 2]);
    });
}

#[derive(Message)]
struct Start;

#[derive(State)]
struct Collector {
    sums: Vec<u32>,
    port: Option<SendPort<u32>>,
}

#[neurath::server]
impl Server for Collector {
    type Call = Start;
    type Reply = Vec<u32>;

    fn init(port: SendPort<u32>) -> Self {
        Collector { sums: Vec::new(), port: Some(port) }
    }

    async fn call(&mut self, _: Start) -> Vec<u32> {
        let (port, mut values) = channel();
        sends::spawn(port, vec![1, 2], 10);
        self.sums.push(values.recv().await + values.recv().await);
        if let Some(port) = self.port {
            port.send(self.sums.len() as u32);
        }
        self.sums.clone()
    }
}

#[test]
fn a_send_port_is_part_of_a_state_and_works_after_an_upgrade() {
    run(async {
        let (port, mut counts) = channel();
        let collector = Collector::spawn(port);
        assert_eq!(call(collector, Start).await, Ok(vec![3u32]));
        sleep(1.secs()).await;
        neurath::testing::upgrade::<Collector>(collector);
        assert_eq!(call(collector, Start).await, Ok(vec![3u32, 3]));
        assert_eq!(take(&mut counts, 2).await, [1, 2]);
    });
}
