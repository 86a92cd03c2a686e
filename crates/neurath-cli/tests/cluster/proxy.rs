//! [`Proxy`]: what stands between two nodes and cuts their connections.
//!
//! It sees bytes of TLS and nothing else. Where it cuts comes from a seed.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// What becomes of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They live.
    Pass,
    /// They are closed after some bytes.
    Cut,
    /// After some bytes one direction ends, and the other goes on.
    HalfClose,
}

/// A connection lives for so many bytes at least, so that some come to be established.
const BYTES_MIN: u64 = 8_000;
/// And at most.
const BYTES_MAX: u64 = 150_000;

struct Shared {
    mode: Mutex<Mode>,
    dice: AtomicU64,
    cuts: AtomicU64,
    live: Mutex<Vec<TcpStream>>,
}

/// See the module. It goes on until the test's process ends.
pub struct Proxy {
    pub address: String,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Passes what comes on to an address.
    pub fn to(target: String, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            mode: Mutex::new(Mode::Pass),
            dice: AtomicU64::new(seed),
            cuts: AtomicU64::new(0),
            live: Mutex::default(),
        });
        let proxy = Self { address, shared: shared.clone() };
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // The node may be away; then so is this connection.
                if let Ok(server) = TcpStream::connect(&target) {
                    shared.carry(&client, &server);
                }
            }
        });
        proxy
    }

    /// Another mode, for all connections: those that there are end.
    pub fn set(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap() = mode;
        for stream in self.shared.live.lock().unwrap().drain(..) {
            // It may have ended.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// How many connections were cut.
    pub fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn carry(self: &Arc<Self>, client: &TcpStream, server: &TcpStream) {
        let mode = *self.mode.lock().unwrap();
        self.live.lock().unwrap().extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
        for (from, to) in [(client, server), (server, client)] {
            let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            let (shared, budget) = (self.clone(), if mode == Mode::Pass { u64::MAX } else { self.roll() });
            thread::spawn(move || shared.one_way(from, to, mode, budget));
        }
    }

    fn one_way(&self, mut from: TcpStream, mut to: TcpStream, mode: Mode, mut budget: u64) {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            let pass = (read as u64).min(budget) as usize;
            if to.write_all(&buffer[..pass]).is_err() {
                break;
            }
            budget -= pass as u64;
            if budget == 0 {
                self.cuts.fetch_add(1, Ordering::Relaxed);
                break;
            }
        }
        // Either end may be gone.
        let _ = match (budget, mode) {
            (0, Mode::HalfClose) => to.shutdown(Shutdown::Write),
            _ => from.shutdown(Shutdown::Both).and(to.shutdown(Shutdown::Both)),
        };
    }

    fn roll(&self) -> u64 {
        let x = self.dice.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        BYTES_MIN + (x ^ (x >> 31)) % (BYTES_MAX - BYTES_MIN)
    }
}
