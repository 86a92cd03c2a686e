//! Every setting of the file: its name, its bounds, what it is, and where its value lives.
//!
//! Invariant: what is read, what is refused and what `neurath config` prints all come from this one table.

use std::net::SocketAddr;
use std::time::Duration;

use super::{LogFormat, LogLevel, Settings};

/// One setting.
pub(super) struct Setting {
    /// The table of the file that it is in.
    pub section: &'static str,
    /// Its name there, the unit last.
    pub key: &'static str,
    /// Of a number, the least and the most.
    pub range: (u64, u64),
    /// What it is, and what happens there.
    pub about: &'static str,
    /// Where its value is.
    pub field: fn(&mut Settings) -> Field<'_>,
}

/// The value of a setting.
pub(super) enum Field<'a> {
    U8(&'a mut u8),
    U32(&'a mut u32),
    U64(&'a mut u64),
    Usize(&'a mut usize),
    /// Milliseconds.
    Time(&'a mut Duration),
    /// Microseconds.
    Micros(&'a mut Duration),
    /// Nanoseconds here, milliseconds in the file.
    Ns(&'a mut u64),
    /// Zero in the file is one for each core.
    Cores(&'a mut u32),
    Bool(&'a mut bool),
    /// The empty text is none.
    Address(&'a mut Option<SocketAddr>),
    /// The empty text is none.
    Text(&'a mut Option<String>),
    Format(&'a mut LogFormat),
    Level(&'a mut LogLevel),
}

/// The second is at least so many times the first, and so much more, or the node could not work.
pub(super) const AT_LEAST: &[(&str, &str, u64, u64)] = &[
    ("hibernation.awake_min", "hibernation.awake_max", 1, 0),
    ("api.call_within_ms", "api.call_within_max_ms", 1, 0),
    ("process.message_bytes", "session.message_bytes", 1, 64 << 10),
    ("session.message_bytes", "session.large_window_bytes", 1, 64 << 10),
    ("session.backoff_min_ms", "session.backoff_max_ms", 1, 0),
    ("session.ping_after_ms", "session.silence_max_ms", 1, 1),
    ("session.grace_ms", "membership.suspect_to_down_ms", 1, 0),
    ("membership.probe_timeout_ms", "membership.probe_period_ms", 2, 1),
];

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Milliseconds.
const DAY: u64 = 24 * 60 * 60 * 1000;

/// What the tables of the file are about, in the order in which they are printed.
pub(super) const SECTIONS: &[(&str, &str)] = &[
    ("node", "The node as a whole."),
    ("cluster", "Other nodes. Without `listen` there are none."),
    ("process", "Each process."),
    ("shard", "Each shard: a thread with its own processes."),
    ("hibernation", "Processes that wait are kept as images, some kilobytes each."),
    ("upgrade", "Changes of code."),
    ("api", "The control API."),
    ("log", "What the node writes on standard error, and the lines of processes."),
    ("trace", "`neurath trace`."),
    ("metrics", "What Prometheus reads. The control API has the same under /metrics."),
    ("session", "What is said to each other node."),
    ("membership", "Which nodes there are, and which of them are down."),
    ("transport", "Connections between nodes."),
];

macro_rules! settings {
    ($($section:ident { $($key:ident: $kind:ident($($place:ident).+), $range:expr, $about:expr;)* })*) => {
        &[$($(Setting {
            section: stringify!($section),
            key: stringify!($key),
            range: $range,
            about: $about,
            field: |settings| Field::$kind(&mut settings.$($place).+),
        },)*)*]
    };
}

/// For settings that are no numbers.
const NONE: (u64, u64) = (0, 0);

pub(super) const TABLE: &[Setting] = settings! {
    node {
        shards: Cores(node.shards), (0, 1024), "Threads that run processes; 0 is one for each core.";
        names: U32(node.kernel.names), (1, 1 << 24), "Names that processes may have. Beyond, registering fails.";
        group_members: U32(node.kernel.group_members), (1, 1 << 24),
            "Members of groups, of all nodes. Beyond, joining fails.";
        module_bytes: Usize(node.module_bytes), (KIB, 256 * MIB), "A module's wasm. Longer ones are refused.";
        native_cache_bytes: U64(node.native_cache_bytes), (0, 1024 * GIB),
            "Compiled code on disk. Beyond, what was unused for longest goes.";
        events: Usize(node.events), (1, 1 << 20),
            "Deaths, and changes of code, that are remembered for listings. The counts go on.";
        perf_map: Bool(node.perf_map), NONE, "Tell Linux's `perf` the names of guests' functions.";
    }
    cluster {
        listen: Text(cluster.listen), NONE, "Where the node listens for others, such as \"10.0.0.1:7700\". As --listen.";
        advertise: Text(cluster.advertise), NONE,
            "Where others reach it, if that is another address than it listens at. As --advertise.";
        name: Text(cluster.name), NONE,
            "What it is called when it joins a cluster. A node that has joined keeps its name. As --name.";
    }
    process {
        memory_bytes: U64(node.memory_bytes), (256 * KIB, 4 * GIB), "Linear memory. Beyond, growing fails.";
        stack_bytes: Usize(node.stack_bytes), (64 * KIB, 1536 * KIB), "Native stack. Beyond, the process traps.";
        mailbox_messages: U32(node.kernel.port.mailbox_messages), (1, 1 << 24),
            "Messages in its mailbox at which senders are held. At four times this, messages are refused.";
        mailbox_bytes: U64(node.kernel.port.mailbox_bytes), (KIB, 16 * GIB), "The same in bytes.";
        message_bytes: U32(node.kernel.port.message_bytes), (KIB, 32 * MIB), "One message. Longer ones are not sent.";
        outbox_actions: U32(node.kernel.port.outbox_actions), (1, 1 << 20),
            "What it may ask for in one step. Beyond, sends fail until `flush().await`.";
        outbox_bytes: U64(node.kernel.port.outbox_bytes), (KIB, GIB), "The same in bytes.";
        takes_per_poll: U32(node.kernel.port.takes_per_poll), (1, 1 << 20),
            "Messages that it takes in one step before others have their turn.";
        waiting: U32(node.kernel.port.waiting), (1, 1 << 24), "Its receives and calls that wait at once. Beyond, calls fail.";
    }
    shard {
        processes: U32(node.kernel.processes), (1, 1 << 24), "Processes. Beyond, none is started.";
        detached: Usize(node.detached_max), (1, 1024),
            "Processes that keep a thread because they compute on and on. The next one is ended.";
        refusals: Usize(node.kernel.refusals), (1, 1 << 20),
            "Refused and undeliverable messages that are remembered. The counts go on.";
        turns_between_upgrades: U32(node.kernel.turns_between_upgrades), (0, 1 << 20),
            "Ordinary turns between two changes of code, so that many changes are no pause.";
        watch_us: Micros(node.watch), (0, 10_000),
            "How long it watches connections awake, when answers have been coming soon, before it sleeps.";
    }
    hibernation {
        after_ms: Time(node.hibernation.after), (10, DAY), "How long a process waits before it is kept as an image.";
        awake_min: Usize(node.hibernation.awake_min), (0, 1 << 24),
            "So many processes of a shard stay awake however long they wait.";
        awake_max: Usize(node.hibernation.awake_max), (1, 1 << 24),
            "Beyond so many, those hibernate first that waited longest.";
        image_bytes: Usize(node.image_bytes), (MIB, 4 * GIB), "An image. A process with a longer one stays awake.";
    }
    upgrade {
        time_ms: Time(node.upgrade_time), (1, DAY), "Converting and starting of one process. Beyond, it is rolled back.";
        patience_ms: Time(node.upgrade_patience), (0, DAY),
            "How long to wait for servers that are in the middle of a message. They stay at the old version.";
        state_bytes: Usize(node.state_bytes), (KIB, 4 * GIB), "A state. Beyond, its process is rolled back.";
    }
    api {
        request_bytes: Usize(node.api.request_bytes), (64 * KIB, 16 * MIB), "A request without a module. Longer ones are refused.";
        call_within_ms: Time(node.api.call_within), (1, DAY), "How long a call waits for its answer if it does not say.";
        call_within_max_ms: Time(node.api.call_within_max), (1, DAY), "How long it may say.";
        processes: Usize(node.api.processes), (1, 1 << 24), "Processes in one answer. The rest are only counted.";
        visitors: Usize(node.api.visitors), (1, 1 << 14),
            "Connections of operators over the network, and of nodes that pass requests on. Beyond, they are closed.";
    }
    log {
        format: Format(log.format), NONE, "\"text\" or \"json\", one object a line.";
        level: Level(log.level), NONE, "\"off\", \"error\", \"warn\", \"info\", \"debug\" or \"trace\".";
        processes: Level(log.processes), NONE, "Also write the lines of processes, of this level and above.";
        lines: Usize(node.log_lines), (1, 1 << 24),
            "Lines of processes that are kept for `neurath logs`. Beyond, the oldest go.";
    }
    trace {
        traces: Usize(node.traces), (1, 1024), "Traces at a time. Beyond, they are refused.";
    }
    metrics {
        listen: Address(node.metrics_listen), NONE,
            "An address such as \"127.0.0.1:9464\" to serve metrics at, to everyone who reaches it; \"\" is nowhere.";
    }
    session {
        message_bytes: U32(session.limits.message_bytes_max), (64 * KIB, 64 * MIB), "The longest message that is taken.";
        small_window_bytes: U32(session.limits.small_window_bytes), (64 * KIB, GIB),
            "Bytes of small messages that a peer may have on their way.";
        large_window_bytes: U32(session.limits.large_window_bytes), (64 * KIB, GIB), "The same of large ones.";
        grace_ms: Ns(session.grace_ns), (0, DAY),
            "How long a broken connection may stay away before messages are given back unconfirmed.";
        handshake_ms: Ns(session.handshake_ns), (1, DAY), "How long a connection may take to become the live one.";
        dial_ms: Ns(session.dial_ns), (1, DAY), "How long making a connection may take.";
        backoff_min_ms: Ns(session.backoff_min_ns), (1, DAY), "The pause after a first failed attempt; it doubles.";
        backoff_max_ms: Ns(session.backoff_max_ns), (1, DAY), "Its bound.";
        ping_after_ms: Ns(session.ping_after_ns), (1, DAY), "A peer that was silent for so long is asked.";
        silence_max_ms: Ns(session.silence_max_ns), (2, DAY), "One that was silent for so long loses its connection.";
        ack_delay_ms: Ns(session.ack_delay_ns), (0, DAY), "What arrived is acknowledged after at most this.";
        ack_bytes: U64(session.ack_bytes), (1, GIB), "So many bytes are acknowledged at once.";
        ack_frames: U64(session.ack_frames), (1, 1 << 20), "So many frames are acknowledged at once.";
        sent_frames: Usize(session.sent_frames_max), (1, 1 << 24), "Frames that may be unacknowledged. Beyond, messages wait.";
        sent_bytes: Usize(session.sent_bytes_max), (64 * KIB, 16 * GIB), "The same in bytes.";
        held_bytes: U64(session.held_bytes_max), (64 * KIB, 16 * GIB),
            "Bytes that wait or are unacknowledged at which senders are held. At four times this, messages are refused.";
        write_bytes: Usize(session.write_bytes), (KIB, 16 * MIB), "One write ends when it has so many bytes.";
        handshakes: Usize(session.handshakes_max), (1, 1024),
            "Connections of each side that may be on their way to become the live one. Beyond, the oldest goes.";
    }
    membership {
        probe_period_ms: Ns(membership.probe_period_ns), (10, DAY), "How often another member is asked whether it is there.";
        probe_timeout_ms: Ns(membership.probe_timeout_ns), (1, DAY),
            "How long it may take before others are asked to ask it; less than half of the period.";
        indirect_probes: Usize(membership.indirect_probes), (1, 64), "How many others are asked to ask it.";
        suspect_to_down_ms: Ns(membership.suspect_to_down_ns), (1, DAY),
            "How long a suspicion may stay unrefuted before the member is down.";
        gossip_ms: Ns(membership.gossip_ns), (1, DAY), "How often news is passed on.";
        gossip_members: Usize(membership.gossip_members), (1, 64), "To how many.";
        transmissions: U8(membership.transmissions_max), (1, 255), "How often a piece of news is passed on.";
        announce_ms: Ns(membership.announce_ns), (1, DAY), "How often a member is asked for the others that it knows.";
        announce_down_ms: Ns(membership.announce_down_ns), (1, DAY), "How often one that is down is tried again.";
        forget_down_ms: Ns(membership.forget_down_ns), (1, 365 * DAY),
            "After how long one that is down, or has left, is forgotten.";
        members: Usize(membership.members_max), (1, 1 << 16), "Others that are known. Beyond, new ones are not taken.";
        packet_bytes: Usize(membership.packet_bytes_max), (KIB, 64 * KIB), "The longest packet, in and out.";
    }
    transport {
        half_open: Usize(transport.half_open_max), (1, 1 << 20),
            "Accepted connections that are not established yet. Beyond, the oldest is closed.";
        handshake_ms: U64(transport.handshake_ms), (1, DAY), "How long establishing one may take. Then it is closed.";
        dials: Usize(transport.dials_max), (1, 1 << 20), "Dials at a time. Beyond, they fail.";
        dial_ms: U64(transport.dial_ms), (1, DAY), "How long one may take, over all addresses. Then it fails.";
        joins: Usize(transport.joins_max), (1, 1 << 16),
            "Requests to join that wait for their answer. Beyond, they are told to come back.";
    }
};
