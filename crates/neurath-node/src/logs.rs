//! What guests say: a bounded ring of lines, and whoever follows it.
//!
//! Invariant: a line costs its sender a bounded time; when the ring is full the oldest line goes, and the gap shows in
//! the numbers.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use neurath_proto::Pid;
use tokio::sync::broadcast;

/// One line.
#[derive(Clone, Debug)]
pub struct LogLine {
    /// Counted from 1; a gap means that lines were dropped.
    pub number: u64,
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Who said it.
    pub pid: Pid,
    /// 1 error … 5 trace.
    pub level: u32,
    /// What was said.
    pub text: String,
}

/// See the module.
pub struct Logs {
    ring: Mutex<(u64, VecDeque<LogLine>)>,
    capacity: usize,
    followers: broadcast::Sender<LogLine>,
}

impl Logs {
    /// A ring of `capacity` lines.
    pub fn new(capacity: usize) -> Self {
        Self { ring: Mutex::default(), capacity, followers: broadcast::channel(1024).0 }
    }

    /// Adds a line.
    pub fn push(&self, pid: Pid, level: u32, text: &str) {
        const TEXT_MAX: usize = 8192;
        let mut end = text.len().min(TEXT_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.0 += 1;
        let line = LogLine { number: ring.0, at_ms, pid, level: level.clamp(1, 5), text: text[..end].to_owned() };
        if ring.1.len() >= self.capacity {
            ring.1.pop_front();
        }
        ring.1.push_back(line.clone());
        drop(ring);
        // Nobody may be following; that is no failure.
        let _ = self.followers.send(line);
    }

    /// The remembered lines after number `after`, oldest first.
    pub fn since(&self, after: u64) -> Vec<LogLine> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.1.iter().filter(|line| line.number > after).cloned().collect()
    }

    /// Lines from now on; a follower that is too slow misses some.
    pub fn follow(&self) -> broadcast::Receiver<LogLine> {
        self.followers.subscribe()
    }
}
