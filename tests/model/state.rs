//! The state: the replicas, the objects in the API server, and the requests in flight.

/// Capacity of a state. A model may use fewer.
pub(crate) const REPLICAS: usize = 3;
pub(crate) const SHARDS: usize = 2;

/// A replica's role for a shard, as it believes. The number is the epoch it was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Role {
    #[default]
    Stranger,
    Owner(u8),
    /// It starts no more writes and has sent its release. It may not know whether the release succeeded.
    Draining(u8),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Replica {
    pub(crate) up: bool,
    /// Number of its current or next session. (replica, boot) identifies a session.
    pub(crate) boot: u8,
    /// Whether it believes that the session is open.
    pub(crate) session: bool,
    /// Now + call timeout <= fence.
    pub(crate) fence: bool,
    pub(crate) roles: [Role; SHARDS],
}

/// The objects of a shard: its Lease, one Kanary that stands for all its Kanaries, and that Kanary's target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Shard {
    /// (replica, boot)
    pub(crate) holder: Option<(usize, u8)>,
    pub(crate) epoch: u8,
    pub(crate) status_epoch: u8,
    /// Number of times that each effect happened.
    pub(crate) verdicts: u8,
    pub(crate) promotions: u8,
    pub(crate) finished: bool,
    /// For the properties, not visible to replicas: the highest epoch that any session was given ...
    pub(crate) granted: u8,
    /// ... and the highest epoch with an effect.
    pub(crate) effective: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Request {
    Open,
    Renew,
    Seize,
    Take { shard: usize, epoch: u8 },
    Release { shard: usize },
    Verdict { shard: usize, epoch: u8 },
    Promote { shard: usize, epoch: u8 },
    Finish { shard: usize, epoch: u8 },
}

/// The object that a request writes. The request carries its resourceVersion (for the target: its template).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Object {
    Session(usize),
    Lease(usize),
    Kanary(usize),
    Target(usize),
}

/// A request in flight. It passed all checks of the replica, and is executed now, much later, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Message {
    /// The sender. For a seize the sender does not matter, so this is the replica whose session is seized.
    pub(crate) of: usize,
    pub(crate) boot: u8,
    /// Whether the sender still waits for the response.
    pub(crate) awaited: bool,
    /// Whether the precondition still matches the API server's state. Versions are only compared with the current one, so
    /// the model needs no version numbers, which would grow without bound.
    pub(crate) fresh: bool,
    pub(crate) request: Request,
}

impl Message {
    pub(crate) fn object(&self) -> Object {
        match self.request {
            Request::Open | Request::Renew | Request::Seize => Object::Session(self.of),
            Request::Take { shard, .. } | Request::Release { shard } => Object::Lease(shard),
            Request::Verdict { shard, .. } | Request::Finish { shard, .. } => Object::Kanary(shard),
            Request::Promote { shard, .. } => Object::Target(shard),
        }
    }

    pub(crate) fn shard(&self) -> Option<usize> {
        match self.object() {
            Object::Session(_) => None,
            Object::Lease(shard) | Object::Kanary(shard) | Object::Target(shard) => Some(shard),
        }
    }

    /// The shard and epoch of a write to a shard's objects.
    pub(crate) fn effect(&self) -> Option<(usize, u8)> {
        match self.request {
            Request::Verdict { shard, epoch }
            | Request::Promote { shard, epoch }
            | Request::Finish { shard, epoch } => Some((shard, epoch)),
            _ => None,
        }
    }

    fn shard_mut(&mut self) -> Option<&mut usize> {
        match &mut self.request {
            Request::Open | Request::Renew | Request::Seize => None,
            Request::Release { shard }
            | Request::Take { shard, .. }
            | Request::Verdict { shard, .. }
            | Request::Promote { shard, .. }
            | Request::Finish { shard, .. } => Some(shard),
        }
    }

    fn epoch_mut(&mut self) -> Option<(usize, &mut u8)> {
        match &mut self.request {
            Request::Take { shard, epoch }
            | Request::Verdict { shard, epoch }
            | Request::Promote { shard, epoch }
            | Request::Finish { shard, epoch } => Some((*shard, epoch)),
            _ => None,
        }
    }
}

/// Events for the reachability properties. They are recorded only for models that check those.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(clippy::struct_excessive_bools, reason = "each event is independent")]
pub(crate) struct Story {
    pub(crate) seized: bool,
    pub(crate) handed_over: bool,
    pub(crate) late_write_refused: bool,
    pub(crate) promoted_for_another: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct State {
    pub(crate) replicas: [Replica; REPLICAS],
    /// The boot that each session Lease names, if any.
    pub(crate) sessions: [Option<u8>; REPLICAS],
    pub(crate) shards: [Shard; SHARDS],
    pub(crate) messages: Vec<Message>,
    /// An effect happened after one with a higher epoch.
    pub(crate) late_effect: bool,
    /// A status was written after one with a higher epoch.
    pub(crate) late_status: bool,
    /// An epoch was given twice.
    pub(crate) epoch_twice: bool,
    pub(crate) story: Story,
    /// Counted only in random walks, which would otherwise end when they revisit a state.
    pub(crate) steps: u32,
}

impl State {
    /// A session that its Lease does not name is dead and stays dead, because a boot number is used once.
    pub(crate) fn live(&self, (replica, boot): (usize, u8)) -> bool {
        self.sessions[replica] == Some(boot)
    }

    /// The replica's current session.
    pub(crate) fn own(&self, replica: usize) -> (usize, u8) {
        (replica, self.replicas[replica].boot)
    }

    /// Whether the replica waits for a response about the shard, or (`None`) about its session.
    pub(crate) fn awaits(&self, replica: usize, shard: Option<usize>) -> bool {
        self.messages
            .iter()
            .any(|m| m.awaited && m.of == replica && m.shard() == shard)
    }

    /// Whether the replica may write to the shard as far as it knows, or waits for a write to it.
    pub(crate) fn acts(&self, replica: usize, shard: usize) -> bool {
        let Replica { fence, roles, .. } = self.replicas[replica];
        let awaited = |m: &Message| m.awaited && m.of == replica && m.effect().is_some_and(|(of, _)| of == shard);
        fence && (matches!(roles[shard], Role::Owner(_)) || self.messages.iter().any(awaited))
    }

    /// Boots are only compared for equality, so those in use are renumbered from 0. The number of restarts is therefore
    /// unbounded.
    pub(crate) fn renumber_boots(&mut self) {
        for replica in 0..REPLICAS {
            let mut boots = Numbers::default();
            boots.add(self.replicas[replica].boot);
            self.sessions[replica].iter().for_each(|boot| boots.add(*boot));
            self.shards
                .iter()
                .filter_map(|s| s.holder)
                .filter(|h| h.0 == replica)
                .for_each(|h| boots.add(h.1));
            self.messages
                .iter()
                .filter(|m| m.of == replica)
                .for_each(|m| boots.add(m.boot));

            let renumber = |boot: &mut u8| *boot = boots.lower(*boot);
            let holders = self.shards.iter_mut().filter_map(|s| s.holder.as_mut());
            holders.filter(|h| h.0 == replica).for_each(|h| renumber(&mut h.1));
            renumber(&mut self.replicas[replica].boot);
            self.sessions[replica].iter_mut().for_each(renumber);
            self.messages
                .iter_mut()
                .filter(|m| m.of == replica)
                .for_each(|m| renumber(&mut m.boot));
        }
    }

    /// Epochs are only compared by order and increase by one from that of the Lease, so gaps below it are closed. The
    /// number of takes is therefore unbounded.
    pub(crate) fn renumber_epochs(&mut self) {
        for shard in 0..SHARDS {
            let present = self.shards[shard].epoch;
            let mut epochs = Numbers::default();
            epochs.add(0);
            self.each_epoch(shard, |epoch| epochs.add(*epoch));
            self.each_epoch(shard, |epoch| {
                *epoch = epochs.lower(present.min(*epoch)) + epoch.saturating_sub(present);
            });
        }
    }

    /// Reduces epochs that no replica acts with to their order relative to the others.
    pub(crate) fn forget_epochs(&mut self) {
        for shard in 0..SHARDS {
            let mut acting = Numbers::default();
            acting.add(self.shards[shard].epoch);
            for replica in &self.replicas {
                if let Role::Owner(epoch) | Role::Draining(epoch) = replica.roles[shard] {
                    acting.add(epoch);
                }
            }
            let sent = self
                .messages
                .iter()
                .filter_map(Message::effect)
                .filter(|e| e.0 == shard);
            let over = sent.inspect(|e| acting.add(e.1)).count() == 0 && self.shards[shard].finished;

            let Shard {
                status_epoch,
                effective,
                ..
            } = &mut self.shards[shard];
            for past in [status_epoch, effective] {
                *past = if over || acting.lower(*past) == 0 {
                    0
                } else {
                    acting.at_least(*past)
                };
            }
        }
    }

    fn each_epoch(&mut self, shard: usize, mut visit: impl FnMut(&mut u8)) {
        let Shard {
            epoch,
            status_epoch,
            granted,
            effective,
            ..
        } = &mut self.shards[shard];
        [epoch, status_epoch, granted, effective]
            .into_iter()
            .for_each(&mut visit);
        for replica in &mut self.replicas {
            if let Role::Owner(epoch) | Role::Draining(epoch) = &mut replica.roles[shard] {
                visit(epoch);
            }
        }
        for (of, epoch) in self.messages.iter_mut().filter_map(Message::epoch_mut) {
            if of == shard {
                visit(epoch);
            }
        }
    }

    /// Replicas are symmetric, and so are shards: states that differ only in their order are mapped to one
    /// representative.
    pub(crate) fn reorder(&mut self, replicas: usize, shards: usize) {
        if shards == SHARDS && self.look_of_shard(0) > self.look_of_shard(1) {
            self.swap_shards();
        }
        let mut order: [usize; REPLICAS] = [0, 1, 2];
        order[..replicas].sort_by_cached_key(|r| {
            let held = self.shards.map(|s| s.holder.is_some_and(|h| h.0 == *r));
            let sent = self.messages.iter().filter(|m| m.of == *r);
            let sent: Vec<_> = sent.map(|m| (m.request, m.awaited, m.fresh)).collect();
            (self.replicas[*r], self.sessions[*r], held, sent)
        });
        self.replicas = order.map(|r| self.replicas[r]);
        self.sessions = order.map(|r| self.sessions[r]);
        let moved = |r: usize| order.iter().position(|from| *from == r).unwrap();
        self.messages.iter_mut().for_each(|m| m.of = moved(m.of));
        for shard in &mut self.shards {
            shard.holder = shard.holder.map(|(replica, boot)| (moved(replica), boot));
        }
    }

    /// The properties of a shard that do not depend on the order of the replicas.
    fn look_of_shard(&self, shard: usize) -> (Shard, [Role; REPLICAS], usize) {
        let seen = Shard {
            holder: self.shards[shard].holder.map(|_| (0, 0)),
            ..self.shards[shard]
        };
        let mut roles = self.replicas.map(|r| r.roles[shard]);
        roles.sort_unstable();
        (
            seen,
            roles,
            self.messages.iter().filter(|m| m.shard() == Some(shard)).count(),
        )
    }

    fn swap_shards(&mut self) {
        self.shards.swap(0, 1);
        self.replicas.iter_mut().for_each(|r| r.roles.swap(0, 1));
        for message in &mut self.messages {
            if let Some(shard) = message.shard_mut() {
                *shard = 1 - *shard;
            }
        }
    }
}

/// A set of small numbers.
#[derive(Clone, Copy, Default)]
struct Numbers(u64);

impl Numbers {
    fn add(&mut self, number: u8) {
        self.0 |= 1 << number;
    }

    /// How many numbers are lower.
    fn lower(self, than: u8) -> u8 {
        u8::try_from((self.0 & ((1 << than) - 1)).count_ones()).unwrap()
    }

    /// The lowest number that is at least `this`, or `this` if there is none.
    fn at_least(self, this: u8) -> u8 {
        let rest = self.0 >> this;
        if rest == 0 {
            this
        } else {
            this + u8::try_from(rest.trailing_zeros()).unwrap()
        }
    }
}
