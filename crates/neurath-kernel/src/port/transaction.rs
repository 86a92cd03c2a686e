//! A try: what new code does with a port can be undone, message for message.

use super::*;

impl Port {
    /// Notes the present state, and starts without receives and channels: new code is about to try.
    pub fn begin(&mut self) {
        let mut calls: Vec<_> = self.calls.iter().map(|(r, c)| (*r, c.clone())).collect();
        calls.sort_unstable_by_key(|(r, _)| *r);
        let mut open_calls: Vec<_> = self.open_calls.keys().copied().collect();
        open_calls.sort_unstable();
        self.savepoint = Some(Box::new(Savepoint {
            waiting: core::mem::take(&mut self.waiting),
            ready: core::mem::take(&mut self.ready),
            calls,
            open_calls,
            timers: self.timers.clone(),
            taken: Vec::new(),
            channels: self.mailbox.take_channels(),
        }));
        self.calls.clear();
        self.takes = 0;
    }

    /// Keeps what was done since [`Port::begin`]. The new code has no port of the channels that were open before.
    pub fn commit(&mut self) {
        let Some(savepoint) = self.savepoint.take() else { return };
        if let Some(channels) = savepoint.channels {
            let mut gone: Vec<Message> = channels.messages().cloned().collect();
            gone.sort_by_key(|m| m.seq);
            self.close(gone);
        }
    }

    /// Undoes what was done since [`Port::begin`].
    pub fn rollback(&mut self) {
        let Some(savepoint) = self.savepoint.take() else { return };
        let Savepoint { waiting, ready, calls, open_calls, timers, taken, channels } = *savepoint;
        self.timers = timers;
        self.waiting = waiting;
        self.ready = ready;
        self.calls = calls.into_iter().collect();
        self.open_calls = open_calls.into_iter().map(|key| (key, ())).collect();
        self.mailbox.return_channels(channels);
        let taken = taken.into_iter().filter(|m| m.class != Class::Port);
        for message in taken {
            self.mailbox.restore(message);
        }
        self.outbox.clear();
        self.outbox_bytes = 0;
        self.self_sends = 0;
        // Whoever had asked for too much before was ended then.
        self.exceeded = false;
    }
}
