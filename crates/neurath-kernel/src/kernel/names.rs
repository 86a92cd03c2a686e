//! Names. Shard 0 keeps them for the whole node; the others ask it, and so do other nodes.
//!
//! Invariant: a name has one owner, and is free when that owner has ended, or its node cannot be reached.

use neurath_proto::name::check_process_name;

use super::*;

impl Kernel {
    /// Something for the registrar of this node: names and groups.
    pub(super) fn registrar(&mut self, signal: Signal) {
        if self.place.shard != 0 {
            self.effects.push_back(Effect::ToShard(0, signal));
            return;
        }
        match signal {
            Signal::Name { request, name, from, reference } => self.name(request, name, from, reference),
            Signal::NameGone { name, pid } => {
                if self.names.get(&name) == Some(&pid) {
                    self.names.remove(&name);
                }
            }
            other => self.group(other),
        }
    }

    /// Something for the registrar of some node.
    pub(super) fn tell_registrar(&mut self, node: NodeId, signal: Signal) {
        if node == self.place.node {
            self.registrar(signal);
        } else {
            self.effects.push_back(Effect::ToNode(node, signal));
        }
    }

    fn name(&mut self, request: NameRequest, name: String, from: Pid, reference: Ref) {
        let registrar = self.place.node;
        let owner = self.names.get(&name).copied();
        let answer = match (request, owner) {
            (NameRequest::Register(_), None) if check_process_name(&name).is_err() => NameAnswer::NoName,
            (NameRequest::Register(pid), None) => {
                if self.names.len() as u32 >= self.config.names {
                    NameAnswer::TooMany
                } else {
                    self.names.insert(name.clone(), pid);
                    // A process of this node answers itself, when it has heard of its name. Another node may go before
                    // it does, and whoever asked may be connected with this one only.
                    let is_here = pid.node == registrar;
                    let asked = if is_here { reference } else { Ref::NONE };
                    self.route(Signal::Named { to: pid, name, registrar, from, reference: asked });
                    if is_here {
                        return;
                    }
                    NameAnswer::Done
                }
            }
            (NameRequest::Register(_) | NameRequest::Whereis, Some(owner)) => NameAnswer::Owner(owner),
            (NameRequest::Unregister, Some(owner)) => {
                self.names.remove(&name);
                self.route(Signal::Unnamed { to: owner, name, registrar });
                NameAnswer::Done
            }
            (NameRequest::Unregister | NameRequest::Whereis, None) => NameAnswer::Unknown,
        };
        self.answer_name(from, reference, answer);
    }

    pub(super) fn answer_name(&mut self, to: Pid, reference: Ref, answer: NameAnswer) {
        if reference.is_some() {
            self.answer(to, reference, &Answer::Name { answer });
        }
    }

    /// Answers a question that was asked of this node.
    pub(super) fn answer(&mut self, to: Pid, reference: Ref, answer: &Answer) {
        let mut payload = Vec::new();
        answer.encode(&mut payload);
        let from = Pid::new(self.place.node, self.place.incarnation, Serial(0));
        self.route(Signal::Message(Envelope {
            class: Class::Reply,
            from,
            to,
            epoch: Epoch(0),
            reference,
            schema: self.known.answer,
            trace: TraceId(0),
            payload: Payload::from(payload),
            attachments: None,
        }));
    }

    /// Whose name it is; only shard 0 knows.
    pub fn whereis(&self, name: &str) -> Option<Pid> {
        self.names.get(name).copied()
    }

    /// All names, in order; only shard 0 knows them.
    pub fn names(&self) -> impl Iterator<Item = (&str, Pid)> {
        self.names.iter().map(|(name, pid)| (name.as_str(), *pid))
    }
}
