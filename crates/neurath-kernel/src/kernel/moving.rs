//! A process as data: handed from shard to shard, exported, taken in.

use super::*;

impl Kernel {
    /// Takes a process out of this shard; what comes for it goes to shard `to` from now on.
    ///
    /// The record must reach that shard before anything that is forwarded after this call: send it the same way.
    /// `None` if the process is not here or being polled at this moment.
    pub fn release(&mut self, pid: Pid, to: u32) -> Option<(Slot, ProcessRecord)> {
        let slot = self.slot_of(pid)?;
        let record = self.export(pid)?;
        for (timer, _, _) in &record.timers {
            if let Some(key) = self.send_timers.remove(&(pid.serial, *timer)) {
                self.timers.cancel(key);
            }
        }
        self.processes[slot.0 as usize] = None;
        self.free.push(slot.0);
        self.by_serial.remove(&pid.serial);
        self.forget_watcher_of_nodes(pid);
        let home = (pid.serial.0 % u64::from(self.place.shards)) as u32;
        if home == self.place.shard {
            self.moved.insert(pid.serial, to);
        }
        Some((slot, record))
    }

    /// Notes that a process born here lives on another shard now (`None`: it is back, or has ended).
    pub fn set_moved(&mut self, pid: Pid, to: Option<u32>) {
        match to.filter(|shard| *shard != self.place.shard) {
            Some(shard) => self.moved.insert(pid.serial, shard),
            None => self.moved.remove(&pid.serial),
        };
    }

    /// The kernel's part of a process as data. `None` if it is not here or being polled at this moment.
    pub fn export(&self, pid: Pid) -> Option<ProcessRecord> {
        let slot = self.slot_of(pid)?;
        let process = self.processes[slot.0 as usize].as_deref()?;
        let port = process.port.as_ref()?.export(self.now);
        let mut timers: Vec<_> = self
            .send_timers
            .iter()
            .filter(|((serial, _), _)| *serial == pid.serial)
            .filter_map(|((_, timer), key)| match self.timers.get(key)? {
                Timer::Send(envelope, _) => Some((*timer, key.0.saturating_sub(self.now), envelope.clone())),
                Timer::Deadline(..) => None,
            })
            .collect();
        timers.sort_by_key(|(timer, ..)| *timer);
        Some(ProcessRecord {
            port,
            program: process.program.clone(),
            entry: process.entry,
            arguments: match &process.stage {
                Stage::New { arguments } => Some(arguments.clone()),
                Stage::Started => None,
            },
            trap_exit: process.trap_exit,
            parent: process.parent,
            links: process.links.iter().copied().collect(),
            unlinking: process.unlinking.iter().map(|(other, number)| (*other, *number)).collect(),
            unlinks: process.unlinks,
            watchers: process.watchers.iter().copied().collect(),
            watching: process.watching.iter().map(|(r, p)| (*r, *p)).collect(),
            names: process.names.clone(),
            groups: process.groups.clone(),
            waiters: process.waiters.iter().copied().collect(),
            timers,
            counts: process.counts,
        })
    }

    /// Takes a process in that was elsewhere.
    pub fn import(&mut self, record: ProcessRecord) -> Slot {
        let ProcessRecord {
            port,
            program,
            entry,
            arguments,
            trap_exit,
            parent,
            links,
            unlinking,
            unlinks,
            watchers,
            watching,
            names,
            groups,
            waiters,
            timers,
            counts,
        } = record;
        let pid = port.pid;
        let mut port = Box::new(Port::import(port, self.config.port, self.serials.clone(), self.now));
        for (timer, remaining, envelope) in timers {
            let key = self.timers.set(self.now.saturating_add(remaining), Timer::Send(envelope, timer));
            self.send_timers.insert((pid.serial, timer), key);
            port.timer_set(timer);
        }
        self.moved.remove(&pid.serial);
        let stage = arguments.map_or(Stage::Started, |arguments| Stage::New { arguments });
        let slot = self.insert(Process {
            trap_exit,
            links: links.into_iter().collect(),
            unlinking: unlinking.into_iter().collect(),
            unlinks,
            watchers: watchers.into_iter().collect(),
            watching: watching.into_iter().collect(),
            names,
            groups,
            waiters: waiters.into_iter().collect(),
            counts,
            ..Process::new(pid, program, entry, stage, port, parent)
        });
        self.settle(slot);
        slot
    }
}
