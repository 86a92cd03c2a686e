//! The loader: finds the code of processes that other nodes want started here, and gives them modules of this node.
//!
//! It is a thread of its own, because it reads files and compiles. It refuses to run native code of others: a module
//! comes as WebAssembly, its hash is checked, then it is prepared and compiled here like any other. Invariant: nothing
//! is kept of a module whose bytes are not those of its hash.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use neurath_kernel::peer::MODULE_PIECE_BYTES;
use neurath_kernel::{NodeMessage, Program, SpawnRequest};
use neurath_proto::NodeId;

use super::Cluster;
use crate::inbox::Inbox;
use crate::node::Library;
use crate::shard::{Command, Input};

/// Modules that are fetched at a time; beyond that requests are refused.
const FETCHES_MAX: usize = 64;
/// Requests that wait for one module.
const WAITING_MAX: usize = 65_536;
/// Jobs that may wait for the loader.
const JOBS_MAX: usize = 1024;

/// What the loader is to do.
#[derive(Debug)]
pub(crate) enum Job {
    /// Another node wants a process started.
    Spawn(SpawnRequest),
    /// A node wants a module from an offset on.
    Fetch {
        /// Which node.
        node: NodeId,
        /// BLAKE3 of the module.
        artifact: [u8; 32],
        /// From where.
        offset: u64,
    },
    /// A piece of a module has come.
    Piece {
        /// From whom.
        node: NodeId,
        /// BLAKE3 of the module.
        artifact: [u8; 32],
        /// Where it begins.
        offset: u64,
        /// Bytes of the whole.
        length: u64,
        /// The piece.
        bytes: Vec<u8>,
    },
    /// A node does not have the module.
    Absent {
        /// Which node.
        node: NodeId,
        /// BLAKE3 of the module.
        artifact: [u8; 32],
    },
    /// The association with a node has ended.
    Gone(NodeId),
    /// End.
    Stop,
}

/// The jobs that wait for a loader, as those see them who have some.
pub(crate) struct Queue {
    sender: mpsc::Sender<Job>,
    /// Jobs that the loader has not begun.
    waiting: Arc<AtomicUsize>,
}

/// The same, as the loader sees them.
pub(crate) struct Jobs {
    receiver: mpsc::Receiver<Job>,
    waiting: Arc<AtomicUsize>,
}

/// Why the loader does not take a job. Nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotTaken {
    /// It has as much to do as it may.
    #[error("the node looks after as many modules as it can, {JOBS_MAX} requests wait: try again later")]
    Full,
    /// It ends only when the node does.
    #[error("the node stops")]
    Stopped,
}

/// A queue without jobs, and its end for the loader.
pub(crate) fn queue() -> (Queue, Jobs) {
    let (sender, receiver) = mpsc::channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    (Queue { sender, waiting: waiting.clone() }, Jobs { receiver, waiting })
}

impl Queue {
    /// Gives the loader something to do. What it must be told finds room always.
    pub(crate) fn push(&self, job: Job) -> Result<(), NotTaken> {
        let must = matches!(job, Job::Gone(_) | Job::Stop);
        let more = |waiting| (must || waiting < JOBS_MAX).then_some(waiting + 1);
        self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).map_err(|_| NotTaken::Full)?;
        self.sender.send(job).map_err(|_| NotTaken::Stopped)
    }
}

impl Jobs {
    /// Waits for the next one; there is none when the node has ended.
    fn next(&self) -> Option<Job> {
        let job = self.receiver.recv().ok()?;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        Some(job)
    }
}

/// A module that is on its way.
struct Fetch {
    node: NodeId,
    bytes: Vec<u8>,
    waiting: Vec<SpawnRequest>,
}

/// See the module.
pub(crate) struct Loader {
    library: Library,
    inboxes: Vec<Arc<Inbox<Input>>>,
    fetches: HashMap<[u8; 32], Fetch>,
    /// The module that was asked for last, while a node fetches it.
    serving: Option<([u8; 32], Vec<u8>)>,
    next_shard: usize,
}

impl Loader {
    /// A loader with nothing to do.
    pub(crate) fn new(library: Library, inboxes: Vec<Arc<Inbox<Input>>>) -> Self {
        Self { library, inboxes, fetches: HashMap::new(), serving: None, next_shard: 0 }
    }

    /// Works until it is stopped.
    pub(crate) fn run(mut self, jobs: &Jobs) {
        while let Some(job) = jobs.next() {
            match job {
                Job::Spawn(request) => self.spawn(request),
                Job::Fetch { node, artifact, offset } => self.serve(node, artifact, offset),
                Job::Piece { node, artifact, offset, length, bytes } => {
                    self.piece(node, artifact, offset, length, &bytes);
                }
                Job::Absent { node, artifact } => {
                    if self.fetches.get(&artifact).is_some_and(|fetch| fetch.node == node) {
                        self.give_up(&artifact, "the node that wanted it started has lost the module");
                    }
                }
                Job::Gone(node) => {
                    let lost: Vec<_> = self.fetches.iter().filter(|(_, f)| f.node == node).map(|(a, _)| *a).collect();
                    for artifact in lost {
                        self.fetch_elsewhere(&artifact, node);
                    }
                }
                Job::Stop => return,
            }
        }
    }

    fn spawn(&mut self, request: SpawnRequest) {
        let artifact = request.artifact;
        if let Some(fetch) = self.fetches.get_mut(&artifact) {
            if fetch.waiting.len() >= WAITING_MAX {
                return self.refuse(request, format!("{WAITING_MAX} others wait for the same module"));
            }
            return fetch.waiting.push(request);
        }
        match self.library.program(&artifact) {
            Some(Ok(program)) => self.start(&program, request),
            Some(Err(why)) => self.refuse(request, why),
            None if self.fetches.len() >= FETCHES_MAX => {
                self.refuse(request, format!("the node fetches {FETCHES_MAX} other modules already"));
            }
            None => {
                let node = request.from.node;
                self.fetches.insert(artifact, Fetch { node, bytes: Vec::new(), waiting: vec![request] });
                self.post(node, NodeMessage::Fetch { artifact, offset: 0 });
            }
        }
    }

    fn piece(&mut self, node: NodeId, artifact: [u8; 32], offset: u64, length: u64, bytes: &[u8]) {
        let limit = self.library.module_bytes_max();
        let Some(fetch) = self.fetches.get_mut(&artifact).filter(|fetch| fetch.node == node) else { return };
        if offset != fetch.bytes.len() as u64 {
            return;
        }
        if length > limit || bytes.is_empty() || offset + bytes.len() as u64 > length {
            let why = format!("the module has {length} bytes, and this node takes at most {limit}");
            return self.give_up(&artifact, &why);
        }
        fetch.bytes.extend_from_slice(bytes);
        let offset = fetch.bytes.len() as u64;
        if offset < length {
            return self.post(node, NodeMessage::Fetch { artifact, offset });
        }
        let Some(Fetch { bytes, waiting, .. }) = self.fetches.remove(&artifact) else { return };
        let taken = if *blake3::hash(&bytes).as_bytes() == artifact {
            let is_development = waiting.iter().any(|request| request.program.contains("+dev."));
            self.library.take(&artifact, &bytes, node, is_development)
        } else {
            Err("what came is not the module of that hash".to_owned())
        };
        for request in waiting {
            match &taken {
                Ok(program) => self.start(program, request),
                Err(why) => self.refuse(request, why.clone()),
            }
        }
    }

    /// The node that a module was being fetched from is gone; others that wait for it may have it too.
    fn fetch_elsewhere(&mut self, artifact: &[u8; 32], gone: NodeId) {
        let Some(mut fetch) = self.fetches.remove(artifact) else { return };
        fetch.waiting.retain(|request| request.from.node != gone);
        if let Some(next) = fetch.waiting.first() {
            let node = next.from.node;
            self.fetches.insert(*artifact, Fetch { node, bytes: Vec::new(), waiting: fetch.waiting });
            self.post(node, NodeMessage::Fetch { artifact: *artifact, offset: 0 });
        }
    }

    fn give_up(&mut self, artifact: &[u8; 32], why: &str) {
        if let Some(fetch) = self.fetches.remove(artifact) {
            for request in fetch.waiting {
                self.refuse(request, why.to_owned());
            }
        }
    }

    fn serve(&mut self, node: NodeId, artifact: [u8; 32], offset: u64) {
        if self.serving.as_ref().is_none_or(|(of, _)| *of != artifact) {
            self.serving = self.library.read(&artifact).map(|bytes| (artifact, bytes));
        }
        let Some((_, module)) = &self.serving else { return self.post(node, NodeMessage::Absent { artifact }) };
        let length = module.len() as u64;
        let rest = module.get(offset as usize..).unwrap_or_default();
        let bytes = &rest[..rest.len().min(MODULE_PIECE_BYTES)];
        self.post(node, NodeMessage::Piece { artifact, offset, length, bytes });
        if offset + bytes.len() as u64 >= length {
            self.serving = None;
        }
    }

    fn start(&mut self, program: &Arc<Program>, request: SpawnRequest) {
        self.next_shard = (self.next_shard + 1) % self.inboxes.len();
        let command = Command::SpawnFor { program: program.clone(), request };
        self.inboxes[self.next_shard].push(Input::Command(command));
    }

    fn refuse(&self, request: SpawnRequest, why: String) {
        self.inboxes[0].push(Input::Command(Command::RefuseSpawn { request, why }));
    }

    fn post(&self, node: NodeId, message: NodeMessage<'_>) {
        let owner = &self.inboxes[Cluster::owner(node, self.inboxes.len())];
        owner.push(Input::Post { node, message: message.encode() });
    }
}

#[cfg(test)]
mod tests {
    use neurath_kernel::node_itself;
    use neurath_proto::{Incarnation, Pid, Ref, Serial};

    use super::*;

    const THERE: NodeId = NodeId(2);

    fn spawn(reference: u64) -> Job {
        Job::Spawn(SpawnRequest {
            to: node_itself(NodeId(1)),
            from: Pid::new(THERE, Incarnation(1), Serial(1)),
            reference: Ref(reference),
            artifact: [7; 32],
            program: "a@1.0.0".into(),
            entry: "main".into(),
            arguments: Vec::new(),
            link: false,
            monitor: Ref::NONE,
        })
    }

    #[test]
    fn beyond_its_bound_the_queue_refuses_a_spawn_and_says_why_until_a_job_is_begun() {
        let (queue, jobs) = queue();
        for n in 0..1024 {
            assert_eq!(queue.push(spawn(n)), Ok(()), "job {n}");
        }
        for n in 1024..1030 {
            let refused = queue.push(spawn(n)).unwrap_err().to_string();
            assert!(refused.contains("as many modules as it can, 1024 requests wait"), "job {n}: {refused}");
        }
        assert!(matches!(jobs.next(), Some(Job::Spawn(first)) if first.reference == Ref(0)));
        assert_eq!(queue.push(spawn(1030)), Ok(()), "there is room for one again");
        assert_eq!(queue.push(spawn(1031)), Err(NotTaken::Full));
    }

    #[test]
    fn a_full_queue_takes_what_the_loader_must_be_told() {
        let (queue, jobs) = queue();
        while queue.push(Job::Absent { node: THERE, artifact: [7; 32] }).is_ok() {}
        assert_eq!(queue.push(Job::Gone(THERE)), Ok(()));
        assert_eq!(queue.push(Job::Stop), Ok(()));
        let last = std::iter::from_fn(|| jobs.receiver.try_recv().ok()).skip(1024).collect::<Vec<_>>();
        assert!(matches!(last[..], [Job::Gone(THERE), Job::Stop]), "{last:?}");
        drop(jobs);
        assert_eq!(queue.push(Job::Stop), Err(NotTaken::Stopped));
    }
}
