//! Finds the addresses of names, apart from the thread that drives an endpoint.
//!
//! It refuses to know what they are for. Invariant: at most [`THREADS_MAX`] names are asked for at a time, however
//! slowly the name server answers; the others wait, and the one who asked gives up when it wants to.

use std::collections::VecDeque;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

/// Names that are looked up at a time.
const THREADS_MAX: usize = 4;
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;

/// A name that is wanted.
pub(crate) struct Wanted {
    pub(crate) address: String,
    /// Nobody waits for it after that.
    pub(crate) until: Instant,
    pub(crate) answer: Box<dyn FnOnce(Result<Vec<SocketAddr>, String>) + Send>,
}

/// See the module.
#[derive(Clone, Default)]
pub(crate) struct Resolver(Arc<Mutex<Queue>>);

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Wanted>,
    threads: usize,
}

impl Resolver {
    /// Looks up a name. How many wait is bounded by whoever asks.
    pub(crate) fn ask(&self, wanted: Wanted) {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queue.waiting.push_back(wanted);
        if queue.threads == THREADS_MAX {
            return;
        }
        let own = self.clone();
        let started = thread::Builder::new().name("neurath-resolve".into()).spawn(move || own.work());
        match started {
            Ok(_) => queue.threads += 1,
            Err(error) if queue.threads == 0 => {
                let failed = queue.waiting.drain(..).collect::<Vec<_>>();
                drop(queue);
                for wanted in failed {
                    (wanted.answer)(Err(format!("no thread can be started: {error}")));
                }
            }
            Err(_) => {}
        }
    }

    fn work(&self) {
        loop {
            let wanted = {
                let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(wanted) = queue.waiting.pop_front() else {
                    queue.threads -= 1;
                    return;
                };
                wanted
            };
            if Instant::now() < wanted.until {
                (wanted.answer)(resolve(&wanted.address));
            }
        }
    }
}

fn resolve(address: &str) -> Result<Vec<SocketAddr>, String> {
    let found: Vec<_> = address.to_socket_addrs().map_err(|e| e.to_string())?.take(ADDRESSES_MAX).collect();
    if found.is_empty() { Err("it has no address".into()) } else { Ok(found) }
}
