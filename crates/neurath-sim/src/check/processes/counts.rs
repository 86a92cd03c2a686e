//! What happened to processes in a run: counts, to see that seeds meet what they are for.

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What happened to processes in a run.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct ProcessCounts { $($(#[$doc])* pub $name: u64,)* }

        impl ProcessCounts {
            /// Adds those of another run.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

counts! {
    /// Processes that were started.
    born,
    /// Processes that ended.
    ended,
    /// Processes whose node crashed.
    crashed,
    /// Messages and calls.
    sent,
    /// Those that were taken.
    taken,
    /// Those that were given back.
    given_back,
    /// Those that were refused to break a cycle of full mailboxes.
    refused,
    /// Monitors that fired with the reason of the end.
    down,
    /// Monitors that fired because the association had ended.
    down_disconnected,
    /// Monitors of processes that were gone.
    down_nobody,
    /// Notices along links, and ends, with the reason of the other's end.
    exit,
    /// Because the association had ended.
    exit_disconnected,
    /// Because there was nobody to link to.
    exit_nobody,
    /// Monitors of nodes that fired.
    node_down,
    /// Calls and questions that were answered.
    answered,
    /// Calls and questions that failed.
    failed,
    /// Times that a process was held.
    held,
    /// Processes that were killed, or asked to exit.
    killed,
    /// Calls and questions whose answer was waited for no longer.
    gave_up,
    /// Times that a process joined a group.
    joined,
    /// Members on other nodes that processes were told of.
    members,
    /// What timers sent and was taken.
    timed,
    /// Timers that were cancelled in time.
    cancelled,
    /// Changes of code.
    upgraded,
    /// Changes that were undone, or refused before they began.
    rolled_back,
}
