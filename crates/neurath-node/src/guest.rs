//! [`Guest`]: the host side of one instance. It turns a guest's calls into looks and requests on its port.
//!
//! It never reaches another process: what is asked for waits in the port until the safe point. While its guest is
//! polled it also carries the shard itself (the *baton*), so that a guest that does not come back can keep its
//! thread while the shard goes on in another.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use neurath_engine::{Clock, Host, Stop, Taken};
use neurath_kernel::action::Action;
use neurath_kernel::{Fit, Found, Look, Message, Port, Types as _};
use neurath_proto::abi::{MessageHead, ReceiveId, SendStatus, Tag, TakeSpec, take_flags};
use neurath_proto::cluster::Question;
use neurath_proto::envelope::{Class, Payload, SchemaId};
use neurath_proto::notice::Down;
use neurath_proto::reason::ExitReason;
use neurath_proto::{Data, Pid, Reader, Ref, Schema};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::catalog::Loaded;
use crate::shard::{Baton, Shard};

/// Entries and names that a guest gives are at most this long.
const NAME_MAX: usize = 256;
/// Processor time after which a poll loses its shard to another thread, counted from its first tick: a thread that the
/// system did not let run is not the guest's fault.
const SLICE: Duration = Duration::from_millis(1);
/// A schema that a guest declares may have this many bytes.
const SCHEMA_MAX: usize = 1 << 16;

/// What is said of a guest that asks for something where nothing may happen.
const MAY_NOT_ACT: &str = "a converter, or the state's encoding, may not act";

/// See the module.
pub struct Guest {
    /// The module version that it runs.
    pub loaded: Arc<Loaded>,
    /// Present only while the guest is polled.
    pub port: Option<Box<Port>>,
    /// Present only while the guest is polled.
    pub baton: Option<Baton>,
    /// Why the guest ended, if it said so itself.
    pub exit: Option<ExitReason>,
    /// Whose state it converts, if that is what it is for.
    pub subject: Pid,
    /// Why a converter refused.
    pub failure: Option<String>,
    /// The panic that the guest reported.
    pub panic: Option<(String, String)>,
    /// When the present turn must be over, if it must.
    pub deadline: Option<Instant>,
    /// Processor time of this thread when the guest was first found to run on.
    overrun_since: Duration,
    taken: Option<Message>,
    /// The receive to which a message was handed over in this poll, and that message's number.
    handed: Option<(ReceiveId, u64)>,
    scratch: Vec<u8>,
    random: Option<Box<ChaCha20Rng>>,
    line: Vec<u8>,
}

fn end_line(loaded: &Loaded, pid: Pid, line: &mut Vec<u8>) {
    if !line.is_empty() {
        loaded.logs.push(pid, 3, &String::from_utf8_lossy(line));
        line.clear();
    }
}

/// What is kept of a host while its process hibernates.
pub struct Dormant {
    /// The module version that the process runs.
    pub loaded: Arc<Loaded>,
    random: Option<Box<ChaCha20Rng>>,
    line: Vec<u8>,
}

impl Dormant {
    /// As [`Guest::end_line`].
    pub fn end_line(&mut self, pid: Pid) {
        end_line(&self.loaded, pid, &mut self.line);
    }
}

impl Guest {
    /// The host of a process that woke up.
    pub fn wake(dormant: Dormant) -> Self {
        let Dormant { loaded, random, line } = dormant;
        Self { random, line, ..Self::new(loaded) }
    }

    /// What must be kept of it between two polls.
    pub fn into_dormant(self) -> Dormant {
        let Self { loaded, random, line, .. } = self;
        Dormant { loaded, random, line }
    }

    /// A host for an instance of this module version.
    pub fn new(loaded: Arc<Loaded>) -> Self {
        Self {
            loaded,
            port: None,
            baton: None,
            exit: None,
            subject: Pid::default(),
            failure: None,
            panic: None,
            deadline: None,
            overrun_since: Duration::ZERO,
            taken: None,
            handed: None,
            scratch: Vec::new(),
            random: None,
            line: Vec::new(),
        }
    }

    /// The port, which is here while the guest is polled.
    fn port(&mut self) -> Result<&mut Port, Stop> {
        self.port.as_deref_mut().ok_or_else(|| Stop(MAY_NOT_ACT.into()))
    }

    /// The port. Without it the guest is a converter, or writes its state: that fails when it returns.
    #[inline]
    fn acting(&mut self) -> Option<&mut Port> {
        if self.port.is_none() {
            self.failure = Some(MAY_NOT_ACT.into());
        }
        self.port.as_deref_mut()
    }

    /// Logs what the guest has written of a line that it has not ended.
    pub fn end_line(&mut self, pid: Pid) {
        end_line(&self.loaded, pid, &mut self.line);
    }

    fn schema_of(&self, tag: Tag) -> Option<SchemaId> {
        self.loaded.tags.get(tag)
    }

    fn pid(&self) -> Pid {
        self.port.as_ref().map_or(self.subject, |port| port.pid())
    }

    fn custom_reason(&self, tag: Tag, value: &[u8]) -> Result<ExitReason, SendStatus> {
        if tag == Tag(0) {
            return Ok(ExitReason::Normal);
        }
        let id = self.schema_of(tag).ok_or(SendStatus::NeedSchema)?;
        if value.len() > SCHEMA_MAX {
            return Err(SendStatus::TooLarge);
        }
        let schema = self.loaded.types.schema(id).ok_or(SendStatus::NeedSchema)?;
        Ok(ExitReason::Custom { type_name: schema.name(), schema: schema.encode(), value: value.to_vec() })
    }

    fn head(message: &Message, index: u32) -> MessageHead {
        MessageHead {
            seq: message.seq,
            reference: message.reference.0,
            from: message.from,
            class: message.class as u32,
            index,
            ..MessageHead::default()
        }
    }

    /// A message was found: gives it to the guest, resolved if need be. `None`: its value does not fit, look again.
    fn hand_out(
        &mut self,
        seq: u64,
        index: u32,
        reader: SchemaId,
        fit: Fit,
        look: bool,
        room: usize,
    ) -> Option<Found2> {
        let types = &self.loaded.types;
        let port = self.port.as_deref_mut()?;
        let message = port.message(seq)?;
        let convert = fit == Fit::Convert;
        let length = if convert {
            match types.convert(reader, message.schema, message.payload.as_slice()) {
                Ok(bytes) => self.scratch = bytes,
                Err(error) => {
                    if let Some(message) = port.take(seq) {
                        port.request(Action::Refuse(Box::new(message), error));
                    }
                    return None;
                }
            }
            self.scratch.len()
        } else {
            message.payload.len()
        };
        if length > room {
            return Some(Found2::TooLarge(length));
        }
        let head = Self::head(message, index);
        self.taken = if look { Some(message.clone()) } else { port.take(seq) };
        Some(if convert { Found2::Converted(head) } else { Found2::AsIs(head) })
    }

    fn answer(&mut self, reference: Ref, reader: SchemaId, fit: Fit, room: usize) -> Found2 {
        let types = &self.loaded.types;
        let Some(port) = self.port.as_deref_mut() else { return Found2::Failed };
        let Some(message) = port.answer(reference) else { return Found2::Failed };
        if fit == Fit::Same {
            let length = message.payload.len();
            if length > room {
                return Found2::TooLarge(length);
            }
            let head = Self::head(message, 0);
            self.taken = port.take_answer(reference);
            return Found2::AsIs(head);
        }
        let converted = match fit {
            Fit::No => Err(types.mismatch(&[reader], message.schema)),
            _ => types.convert(reader, message.schema, message.payload.as_slice()),
        };
        match converted {
            Ok(bytes) if bytes.len() > room => Found2::TooLarge(bytes.len()),
            Ok(bytes) => {
                let head = Self::head(message, 0);
                self.scratch = bytes;
                port.take_answer(reference);
                Found2::Converted(head)
            }
            Err(error) => {
                port.take_answer(reference);
                self.scratch.clear();
                error.encode(&mut self.scratch);
                Found2::Failed
            }
        }
    }

    fn failed_call(&mut self, reference: Ref, room: usize) -> Found2 {
        let Some(port) = self.port.as_deref_mut() else { return Found2::Failed };
        match port.failure(reference) {
            Some(error) if error.len() > room => Found2::TooLarge(error.len()),
            _ => {
                self.scratch = port.take_failure(reference).unwrap_or_default();
                Found2::Failed
            }
        }
    }
}

/// What a look gave, without borrows.
enum Found2 {
    AsIs(MessageHead),
    Converted(MessageHead),
    TooLarge(usize),
    Failed,
}

impl Host for Guest {
    #[inline]
    fn send(&mut self, to: Pid, class: Class, reference: Ref, tag: Tag, payload: &[u8]) -> SendStatus {
        let Some(schema) = self.schema_of(tag) else { return SendStatus::NeedSchema };
        let Some(port) = self.acting() else { return SendStatus::OutboxFull };
        match port.send(to, class, reference, schema, Payload::new(payload)) {
            Ok(()) => SendStatus::Queued,
            Err(status) => status,
        }
    }

    fn send_after(&mut self, delay_ns: u64, to: Pid, tag: Tag, payload: &[u8]) -> Result<Ref, SendStatus> {
        let schema = self.schema_of(tag).ok_or(SendStatus::NeedSchema)?;
        let port = self.acting().ok_or(SendStatus::OutboxFull)?;
        port.send_after(delay_ns, to, schema, Payload::new(payload))
    }

    fn cancel_timer(&mut self, timer: Ref) -> bool {
        self.acting().is_some_and(|port| port.cancel_timer(timer))
    }

    fn declare(&mut self, tag: Tag, schema: &[u8]) -> Result<(), Stop> {
        if schema.len() > SCHEMA_MAX {
            return Err(Stop(format!("a schema of {} bytes was declared; the limit is {SCHEMA_MAX}", schema.len())));
        }
        let schema = Schema::decode(schema).map_err(|e| Stop(format!("a damaged schema was declared: {e}")))?;
        let id = self.loaded.types.intern(schema).map_err(|e| Stop(e.to_string()))?;
        self.loaded.tags.set(tag, id).map_err(Stop)
    }

    fn take(&mut self, receive: ReceiveId, spec: &TakeSpec, tags: &[Tag], room: usize) -> Taken<'_> {
        let mut readers = [SchemaId(0); TakeSpec::TAGS_MAX as usize];
        let count = tags.len().min(readers.len());
        for (index, tag) in tags[..count].iter().enumerate() {
            match self.schema_of(*tag) {
                Some(schema) => readers[index] = schema,
                None => return Taken::NeedSchema(index as u32),
            }
        }
        let look = Look {
            receive,
            readers: &readers[..count],
            reference: Ref(spec.reference),
            after_seq: spec.after_seq,
            timeout_ns: spec.timeout_ns,
            flags: spec.flags,
        };
        let only_look = spec.flags & take_flags::LOOK != 0;
        let found = loop {
            let Some(port) = self.port.as_deref_mut() else { return Taken::TimedOut };
            let found = port.look(&look, &*self.loaded.types);
            break match found {
                Found::Pending => return Taken::Pending,
                Found::TimedOut => return Taken::TimedOut,
                Found::Message(seq, index, fit) => {
                    match self.hand_out(seq, index, readers[index as usize], fit, only_look, room) {
                        Some(found) => found,
                        None => continue,
                    }
                }
                Found::Answer(fit) => self.answer(look.reference, readers[0], fit, room),
                Found::Failed => self.failed_call(look.reference, room),
            };
        };
        match found {
            Found2::AsIs(head) => {
                let bytes = self.taken.as_ref().map_or(&[][..], |message| message.payload.as_slice());
                Taken::Message(head, bytes)
            }
            Found2::Converted(head) => Taken::Message(head, &self.scratch),
            Found2::TooLarge(length) => Taken::TooLarge(length),
            Found2::Failed => Taken::Failed(&self.scratch),
        }
    }

    #[inline]
    fn hand_over(&mut self, receive: ReceiveId, room: usize) -> Option<(MessageHead, &[u8], bool)> {
        let (seq, index, reader, fit) = self.port.as_deref()?.offered(receive, &*self.loaded.types)?;
        let found = self.hand_out(seq, index, reader, fit, false, room)?;
        let (head, bytes) = match found {
            Found2::AsIs(head) => (head, self.taken.as_ref()?.payload.as_slice()),
            Found2::Converted(head) => (head, self.scratch.as_slice()),
            Found2::TooLarge(_) | Found2::Failed => return None,
        };
        let port = self.port.as_deref_mut()?;
        port.handed_over(receive);
        self.handed = Some((receive, seq));
        Some((head, bytes, !port.mailbox().is_empty()))
    }

    fn put_back(&mut self, receive: ReceiveId) {
        // Another take has its message in the same place: then what was handed over counts as read.
        if let Some((_, seq)) = self.handed.take_if(|(to, _)| *to == receive)
            && let Some(message) = self.taken.take_if(|message| message.seq == seq)
            && let Some(port) = self.port.as_deref_mut()
        {
            port.put_back(receive, message);
        }
    }

    #[inline]
    fn over(&mut self, receive: ReceiveId) {
        if self.handed.take_if(|(to, _)| *to == receive).is_some()
            && let Some(port) = self.port.as_deref_mut()
        {
            port.over(receive);
        }
    }

    fn accept(&mut self, receive: ReceiveId, seq: u64) -> bool {
        let Some(port) = self.port.as_deref_mut() else { return false };
        let taken = port.take(seq).is_some();
        port.cancel(receive, &*self.loaded.types);
        taken
    }

    fn cancel(&mut self, receive: ReceiveId) {
        if let Some(port) = self.port.as_deref_mut() {
            port.cancel(receive, &*self.loaded.types);
        }
    }

    fn reference(&mut self) -> Ref {
        self.port.as_deref_mut().map_or(Ref::NONE, Port::reference)
    }

    fn spawn(&mut self, entry: &str, arguments: &[u8], link: bool, monitor: bool) -> Result<(Pid, Ref), Stop> {
        let Some(index) = self.loaded.entry(entry) else {
            return Err(Stop(format!("`{}` has no entry `{}` to spawn", self.loaded.name, shortened(entry))));
        };
        let arguments = arguments.to_vec();
        let port = self.port()?;
        if !port.has_room() {
            return Err(Stop(
                "one poll spawned and sent more than its outbox holds; await `flush()` in between".into(),
            ));
        }
        Ok(port.spawn(index, arguments, link, monitor))
    }

    fn exit(&mut self, tag: Tag, reason: &[u8]) -> SendStatus {
        match self.custom_reason(tag, reason) {
            Ok(reason) => {
                self.exit = Some(reason);
                SendStatus::Queued
            }
            Err(status) => status,
        }
    }

    fn exit_process(&mut self, to: Pid, tag: Tag, reason: &[u8]) -> SendStatus {
        match self.custom_reason(tag, reason) {
            Ok(reason) => self.request(Action::Exit(to, reason)),
            Err(status) => status,
        }
    }

    fn kill(&mut self, to: Pid) {
        self.request(Action::Kill(to));
    }

    fn link(&mut self, to: Pid) {
        self.request(Action::Link(to));
    }

    fn unlink(&mut self, to: Pid) {
        self.request(Action::Unlink(to));
    }

    fn monitor(&mut self, to: Pid) -> Ref {
        self.acting().map_or(Ref::NONE, |port| port.monitor(to))
    }

    fn demonitor(&mut self, monitor: Ref) {
        let down = self.loaded.types.known().down;
        if let Some(port) = self.port.as_deref_mut() {
            port.flush_monitor(|message| {
                message.schema == down
                    && Down::decode(&mut Reader::new(message.payload.as_slice())).is_ok_and(|d| d.monitor == monitor)
            });
        }
        self.request(Action::Demonitor(monitor));
    }

    fn trap_exit(&mut self, on: bool) {
        self.request(Action::TrapExit(on));
    }

    fn ask(&mut self, question: Question) -> Ref {
        self.acting().map_or(Ref::NONE, |port| port.ask(question))
    }

    fn self_pid(&self) -> Pid {
        self.pid()
    }

    fn become_latest(&mut self, entry: &str, tag: Tag, state: &[u8]) -> Result<Ref, SendStatus> {
        let schema = self.schema_of(tag).ok_or(SendStatus::NeedSchema)?;
        let port = self.acting().ok_or(SendStatus::OutboxFull)?;
        port.become_latest(shortened(entry).to_owned(), schema, state.to_vec())
    }

    fn log(&mut self, level: u32, line: &str) {
        let pid = self.pid();
        self.loaded.logs.push(pid, level, line);
    }

    fn panicked(&mut self, message: &str, location: &str) {
        self.panic = Some((message.to_owned(), location.to_owned()));
    }

    fn failed(&mut self, message: &str) {
        self.failure = Some(message.to_owned());
    }

    fn output(&mut self, stream: u32, bytes: &[u8]) {
        const LINE_MAX: usize = 4096;
        let level = if stream == 2 { 2 } else { 3 };
        for part in bytes.split_inclusive(|b| *b == b'\n') {
            self.line.extend_from_slice(&part[..part.len().min(LINE_MAX - self.line.len().min(LINE_MAX))]);
            if part.ends_with(b"\n") || self.line.len() >= LINE_MAX {
                let line = String::from_utf8_lossy(&self.line).trim_end_matches('\n').to_owned();
                self.line.clear();
                self.log(level, &line);
            }
        }
    }

    fn clock(&mut self, clock: Clock) -> u64 {
        self.loaded.clock.read(clock == Clock::Real)
    }

    fn random(&mut self, bytes: &mut [u8]) {
        let pid = self.pid();
        let secret = &self.loaded.secret;
        let seed = || *blake3::keyed_hash(secret, &pid.to_bytes()).as_bytes();
        self.random.get_or_insert_with(|| Box::new(ChaCha20Rng::from_seed(seed()))).fill_bytes(bytes);
    }

    fn overrun(&mut self, ticks: u64) -> Result<(), Stop> {
        if let Some(deadline) = self.deadline
            && Instant::now() >= deadline
        {
            return Err(Stop("it took longer than an upgrade may".into()));
        }
        if ticks == 1 {
            self.overrun_since = processor_time();
            return Ok(());
        }
        match self.baton.take() {
            Some(baton @ Baton::Shard(_)) if processor_time() < self.overrun_since + SLICE => {
                self.baton = Some(baton);
                Ok(())
            }
            Some(Baton::Shard(shard)) => match Shard::hand_over(shard) {
                Ok(gone) => {
                    self.baton = Some(gone);
                    Ok(())
                }
                Err((shard, stop)) => {
                    self.baton = Some(Baton::Shard(shard));
                    stop.map_or(Ok(()), Err)
                }
            },
            Some(Baton::Gone(flag, inbox)) => {
                let stop = flag.load(Ordering::Relaxed);
                self.baton = Some(Baton::Gone(flag, inbox));
                // Others have the processor too: a guest that does not come back is not in a hurry.
                std::thread::yield_now();
                if stop { Err(Stop("it was killed".into())) } else { Ok(()) }
            }
            None => Ok(()),
        }
    }
}

impl Guest {
    fn request(&mut self, action: Action) -> SendStatus {
        let queued = self.acting().is_some_and(|port| port.request(action));
        if queued { SendStatus::Queued } else { SendStatus::OutboxFull }
    }
}

/// Processor time that this thread has used.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live `timespec`, and every Linux has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A guest's text, cut to what a name may have.
fn shortened(text: &str) -> &str {
    let mut end = text.len().min(NAME_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
