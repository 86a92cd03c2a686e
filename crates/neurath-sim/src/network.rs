//! The network: connections that delay, split and join what goes through them, and that break in every way.
//!
//! A connection is a byte stream: it never reorders, and never changes a byte; it may end anywhere. It knows nodes by
//! number only and not what they say. Invariant: what an end is told comes as an [`Event`] with a time, never at once.

use std::collections::BTreeMap;

use crate::rng::Rng;

/// Nanoseconds in a millisecond.
pub const MS: u64 = 1_000_000;
/// Bytes that a direction holds before its writer is kept waiting.
const CAPACITY: usize = 256 << 10;

/// One end of a connection: its number, and 0 for the end that dialed, 1 for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct End {
    /// The connection.
    pub wire: u64,
    /// Which end.
    pub side: usize,
}

impl End {
    fn other(self) -> Self {
        Self { side: 1 - self.side, ..self }
    }
}

/// What an end is told.
#[derive(Debug)]
pub enum Event {
    /// The connection is there.
    Up(End),
    /// Bytes have arrived.
    Arrived(End, Vec<u8>),
    /// What was written is on its way.
    Written(End),
    /// The connection is broken, or the other end has closed it.
    Closed(End),
}

/// How fast and how even a network is.
#[derive(Clone, Copy, Debug)]
pub struct Quality {
    /// The shortest way.
    pub delay_min_ns: u64,
    /// The longest way.
    pub delay_max_ns: u64,
    /// How fast a writer gets rid of its bytes.
    pub bytes_per_ms: u64,
    /// In how many pieces of a hundred writes arrive split.
    pub split_percent: u64,
}

/// One direction.
#[derive(Default)]
struct Pipe {
    /// Nothing arrives any more, and nobody is told.
    swallowed: bool,
    last_arrival: u64,
    free_at: u64,
    on_the_way: usize,
    segments: usize,
    /// A writer that waits for room.
    waits: bool,
    /// Arrived, and joined with what comes next or waits until its end knows of the connection.
    joined: Vec<u8>,
}

struct Wire {
    /// The nodes at its ends, with the number of their life.
    nodes: [(usize, u32); 2],
    /// Whether each end has been told that the connection is there.
    up: [bool; 2],
    /// Whether each end is done with it.
    gone: [bool; 2],
    /// From side 0, from side 1.
    pipes: [Pipe; 2],
}

/// See the module.
pub struct Network {
    quality: Quality,
    wires: BTreeMap<u64, Wire>,
    next: u64,
    /// To be scheduled by whoever owns the clock.
    scheduled: Vec<(u64, Event)>,
}

impl Network {
    /// An empty network.
    pub fn new(quality: Quality) -> Self {
        Self { quality, wires: BTreeMap::new(), next: 1, scheduled: Vec::new() }
    }

    /// What is to happen later.
    pub fn take_scheduled(&mut self) -> Vec<(u64, Event)> {
        std::mem::take(&mut self.scheduled)
    }

    fn delay(&self, rng: &mut Rng) -> u64 {
        rng.within(self.quality.delay_min_ns..=self.quality.delay_max_ns)
    }

    /// Connects two lives of nodes. Both are told, in any order.
    pub fn connect(&mut self, now: u64, from: (usize, u32), to: (usize, u32), rng: &mut Rng) {
        let wire = self.next;
        self.next += 1;
        let pipes = [Pipe::default(), Pipe::default()];
        self.wires.insert(wire, Wire { nodes: [from, to], up: [false; 2], gone: [false; 2], pipes });
        for side in 0..2 {
            let at = now + self.delay(rng);
            self.scheduled.push((at, Event::Up(End { wire, side })));
        }
    }

    /// Whose end it is, with the number of the life.
    pub fn owner(&self, end: End) -> Option<(usize, u32)> {
        self.wires.get(&end.wire).map(|wire| wire.nodes[end.side])
    }

    /// Who is at the other end.
    pub fn peer(&self, end: End) -> Option<usize> {
        self.owner(end.other()).map(|(node, _)| node)
    }

    /// Whether an event still means anything to its end; notes what it changes.
    pub fn accept(&mut self, now: u64, event: Event, rng: &mut Rng) -> Option<Event> {
        let (Event::Up(end) | Event::Arrived(end, _) | Event::Written(end) | Event::Closed(end)) = event;
        let wire = self.wires.get_mut(&end.wire)?;
        match event {
            Event::Up(_) => {
                wire.up[end.side] = true;
                let pipe = &mut wire.pipes[1 - end.side];
                if !pipe.joined.is_empty() {
                    pipe.segments += 1;
                    self.scheduled.push((now, Event::Arrived(end, Vec::new())));
                }
                (!wire.gone[end.side]).then_some(event)
            }
            Event::Arrived(_, bytes) => {
                let pipe = &mut wire.pipes[1 - end.side];
                pipe.segments -= 1;
                if pipe.swallowed {
                    return None;
                }
                pipe.on_the_way -= bytes.len();
                if pipe.waits && pipe.on_the_way <= CAPACITY {
                    pipe.waits = false;
                    self.scheduled.push((now, Event::Written(end.other())));
                }
                pipe.joined.extend_from_slice(&bytes);
                let joins = pipe.segments > 0 && rng.chance(20);
                if joins || wire.gone[end.side] || !wire.up[end.side] {
                    return None;
                }
                let bytes = std::mem::take(&mut pipe.joined);
                Some(Event::Arrived(end, bytes))
            }
            Event::Written(_) => {
                let pipe = &mut wire.pipes[end.side];
                pipe.waits = pipe.on_the_way > CAPACITY;
                (!pipe.waits && !wire.gone[end.side]).then_some(event)
            }
            Event::Closed(_) => {
                if !wire.up[end.side] {
                    // It learns of the connection first.
                    let at = now + self.delay(rng);
                    self.scheduled.push((at, event));
                    return None;
                }
                let told = !std::mem::replace(&mut wire.gone[end.side], true);
                self.collect(end.wire);
                told.then_some(event)
            }
        }
    }

    /// An end writes; it is told when it may again.
    pub fn write(&mut self, now: u64, end: End, bytes: &[u8], rng: &mut Rng) {
        let quality = self.quality;
        let Some(wire) = self.wires.get_mut(&end.wire) else { return };
        let pipe = &mut wire.pipes[end.side];
        let mut free_at = now.max(pipe.free_at);
        let mut rest = bytes;
        pipe.on_the_way += bytes.len();
        while !rest.is_empty() {
            let splits = rest.len() > 1 && rng.chance(quality.split_percent);
            let length = if splits { rng.magnitude(1..=rest.len() as u64) as usize } else { rest.len() };
            let (segment, after) = rest.split_at(length);
            rest = after;
            free_at += length as u64 * MS / quality.bytes_per_ms;
            let arrival = free_at + rng.within(quality.delay_min_ns..=quality.delay_max_ns);
            pipe.last_arrival = pipe.last_arrival.max(arrival);
            pipe.segments += 1;
            self.scheduled.push((pipe.last_arrival, Event::Arrived(end.other(), segment.to_vec())));
        }
        pipe.free_at = free_at;
        self.scheduled.push((free_at, Event::Written(end)));
    }

    /// An end closes: the other one is told behind what is on the way, or (sometimes) never.
    pub fn close(&mut self, now: u64, end: End, last: &[u8], rng: &mut Rng) {
        if !last.is_empty() {
            self.write(now, end, last, rng);
        }
        let Some(wire) = self.wires.get_mut(&end.wire) else { return };
        wire.gone[end.side] = true;
        let pipe = &wire.pipes[end.side];
        if !pipe.swallowed && !rng.chance(3) {
            let at = pipe.last_arrival.max(now + rng.within(self.quality.delay_min_ns..=self.quality.delay_max_ns));
            self.scheduled.push((at, Event::Closed(end.other())));
        }
        self.collect(end.wire);
    }

    /// Forgets a connection that nobody holds.
    fn collect(&mut self, wire: u64) {
        if self.wires.get(&wire).is_some_and(|wire| wire.gone == [true; 2]) {
            self.wires.remove(&wire);
        }
    }

    // ---- faults ----

    /// A connection that someone still holds.
    pub fn any(&self, rng: &mut Rng) -> Option<u64> {
        (!self.wires.is_empty()).then(|| self.wires.keys().copied().nth(rng.index(self.wires.len())))?
    }

    /// The connections between two nodes.
    pub fn between(&self, a: usize, b: usize) -> Vec<u64> {
        let joins = |wire: &Wire| {
            let nodes = wire.nodes.map(|(node, _)| node);
            nodes == [a, b] || nodes == [b, a]
        };
        self.wires.iter().filter(|(_, wire)| joins(wire)).map(|(number, _)| *number).collect()
    }

    /// Nothing comes through in one direction any more, and nobody is told. What is on the way is lost, in the middle
    /// of whatever it is.
    pub fn swallow(&mut self, wire: u64, from_side: usize) {
        if let Some(wire) = self.wires.get_mut(&wire) {
            wire.pipes[from_side].swallowed = true;
        }
    }

    /// One direction ends: its reader is told.
    pub fn half_close(&mut self, now: u64, wire: u64, from_side: usize, rng: &mut Rng) {
        self.swallow(wire, from_side);
        let at = now + self.delay(rng);
        self.scheduled.push((at, Event::Closed(End { wire, side: 1 - from_side })));
    }

    /// The connection breaks; each end is told in its time, or (sometimes) never.
    pub fn cut(&mut self, now: u64, wire: u64, rng: &mut Rng) {
        for side in 0..2 {
            self.swallow(wire, side);
            if rng.chance(80) {
                let at = now + rng.within(0..=2000 * MS);
                self.scheduled.push((at, Event::Closed(End { wire, side })));
            }
        }
    }

    /// A node is no more: so are its ends. The others are told, or not.
    pub fn crash(&mut self, now: u64, node: usize, rng: &mut Rng) {
        let ends: Vec<End> = self
            .wires
            .iter()
            .flat_map(|(number, wire)| {
                (0..2).filter(|side| wire.nodes[*side].0 == node).map(|side| End { wire: *number, side })
            })
            .collect();
        for end in ends {
            self.swallow(end.wire, 1 - end.side);
            if rng.chance(50) {
                self.swallow(end.wire, end.side);
            }
            let Some(wire) = self.wires.get_mut(&end.wire) else { continue };
            wire.gone[end.side] = true;
            if rng.chance(70) {
                let at = wire.pipes[end.side].last_arrival.max(now + self.delay(rng));
                self.scheduled.push((at, Event::Closed(end.other())));
            }
            self.collect(end.wire);
        }
    }
}
