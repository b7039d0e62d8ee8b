//! The known sessions and shards. Pure: the time is an argument.
//!
//! A session counts as alive until it is ended in the API server, by its own replica or by a replica that has seen no renewal
//! for the session's whole TTL. No wall clock is involved: the time counts since *this* replica last saw a renewal. A missing
//! watch event is no proof: before the shards of an unknown session are taken, the session is read from the API server.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    assign::Candidate,
    lease::{Read, Session, Shard, identity, shard_name},
    plan::Own,
};

#[derive(Debug)]
pub(super) struct SeenSession {
    pub(super) session: Session,
    /// When its version last changed, by our clock.
    pub(super) changed: Duration,
}

/// The owner of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner<'a> {
    Me,
    /// Another session that may be alive.
    Other(&'a str),
    /// No owner: it was released, or its session has ended.
    Nobody,
}

/// Sessions and shards as they were last read.
#[derive(Debug)]
pub struct LeaseTable {
    pub(super) shards: u16,
    pub(super) sessions: BTreeMap<String, SeenSession>,
    pub(super) owners: BTreeMap<u16, Shard>,
    /// Since when a shard has had no owner.
    pub(super) free: BTreeMap<u16, Duration>,
    /// Since when a shard has had no Lease.
    pub(super) missing: BTreeMap<u16, Duration>,
    /// Sessions known to have ended, and when. An ended session never becomes alive again.
    over: BTreeMap<String, Duration>,
    /// Shards whose Lease has existed.
    pub(super) founded: BTreeSet<u16>,
}

impl LeaseTable {
    /// An empty table.
    #[must_use]
    pub fn new(shards: u16) -> Self {
        Self {
            shards,
            sessions: BTreeMap::new(),
            owners: BTreeMap::new(),
            free: BTreeMap::new(),
            missing: BTreeMap::new(),
            over: BTreeMap::new(),
            founded: BTreeSet::new(),
        }
    }

    /// Records a Lease that was read at `now`, unless a later version is known. Responses and watch events may arrive in any
    /// order.
    pub fn put(&mut self, read: Read, now: Duration) {
        match read {
            Read::Shard(shard) => {
                self.founded.insert(shard.index);
                let known = self.owners.get(&shard.index);
                if known.is_none_or(|known| !is_later(known.version.as_ref(), shard.version.as_ref())) {
                    self.owners.insert(shard.index, shard);
                }
            }
            Read::Session(session) => {
                let known = self.sessions.get(&session.identity);
                let changed = match known {
                    Some(known) if is_later(known.session.version.as_ref(), session.version.as_ref()) => return,
                    Some(known) if known.session.version == session.version => known.changed,
                    _ => now,
                };
                let former = known.map(|known| &known.session.holder);
                if let Some(ended) = former.filter(|former| !former.is_empty() && **former != session.holder) {
                    self.over.insert(ended.clone(), now);
                }
                self.sessions
                    .insert(session.identity.clone(), SeenSession { session, changed });
            }
        }
    }

    /// Records the state at `now` of a session that owns a shard but was unknown.
    pub fn look(&mut self, holder: &str, live: Option<Session>, now: Duration) {
        let end = match &live {
            Some(live) if live.holder == holder => None,
            Some(_) => Some(now),
            // Its Lease was deleted manually, so it may still act until its TTL has passed.
            None => Some(now + self.longest()),
        };
        if let Some(end) = end {
            self.over.entry(holder.to_owned()).or_insert(end);
        }
        if let Some(live) = live {
            self.put(Read::Session(live), now);
        }
    }

    /// Unknown sessions that own a shard.
    pub(super) fn unknown(&self, own: &Own) -> BTreeSet<String> {
        let holders = self.owners.values().map(|shard| &shard.holder);
        let unknown = holders.filter(|holder| {
            let seen = self.sessions.get(identity(holder));
            let lives = seen.is_some_and(|seen| seen.session.holder == **holder);
            !(holder.is_empty() || **holder == own.session || lives || self.over.contains_key(*holder))
        });
        unknown.cloned().collect()
    }

    /// Records that the Lease of this name was deleted.
    pub fn remove_named(&mut self, name: &str) {
        if let Some(identity) = name.strip_prefix("kanary-session-") {
            self.sessions.remove(identity);
        } else {
            self.owners.retain(|index, _| shard_name(self.shards, *index) != name);
        }
    }

    /// Restarts the TTL of all sessions, because their renewals were missed while the API server was unreachable.
    pub fn look_anew(&mut self, now: Duration) {
        self.sessions.values_mut().for_each(|seen| seen.changed = now);
        self.missing.clear();
    }

    /// The last version read of a shard's Lease.
    #[must_use]
    pub fn shard(&self, index: u16) -> Option<&Shard> {
        self.owners.get(&index)
    }

    /// The last version read of a replica's session.
    #[must_use]
    pub fn session(&self, identity: &str) -> Option<&Session> {
        self.sessions.get(identity).map(|seen| &seen.session)
    }

    /// Sessions that have ended and own nothing. Their Leases can be deleted.
    #[must_use]
    pub fn expired(&self) -> Vec<Session> {
        let owns = |session: &Session| {
            self.owners
                .values()
                .any(|shard| identity(&shard.holder) == session.identity)
        };
        let sessions = self.sessions.values().map(|seen| &seen.session);
        sessions
            .filter(|session| session.holder.is_empty() && !owns(session))
            .cloned()
            .collect()
    }

    /// A session that may be alive and uses another number of shards. No session may begin beside it.
    #[must_use]
    pub fn counting_otherwise(&self, now: Duration) -> Option<&Session> {
        let alive = self
            .sessions
            .values()
            .filter(|seen| !seen.session.holder.is_empty() && now < seen.changed + ttl(&seen.session));
        let mut sessions = alive.map(|seen| &seen.session);
        sessions.find(|session| ![0, self.shards].contains(&session.shards))
    }

    /// Sessions that may be alive.
    #[must_use]
    pub fn members(&self) -> Vec<Candidate> {
        let alive = self.sessions.values().filter(|seen| !seen.session.holder.is_empty());
        alive
            .map(|seen| Candidate {
                session: seen.session.holder.clone(),
                template: seen.session.template.clone(),
                since: seen.session.since,
                draining: seen.session.draining,
            })
            .collect()
    }

    pub(super) fn owner<'a>(&'a self, shard: &'a Shard, own: &Own, now: Duration) -> Owner<'a> {
        if shard.holder.is_empty() {
            return Owner::Nobody;
        }
        if shard.holder == own.session {
            return Owner::Me;
        }
        // It ended, or its replica has begun another one.
        let is_over = self.over.get(&shard.holder).is_some_and(|end| *end <= now);
        if is_over {
            Owner::Nobody
        } else {
            Owner::Other(&shard.holder)
        }
    }

    /// The longest TTL of any session.
    pub(super) fn longest(&self) -> Duration {
        let ttls = self.sessions.values().map(|seen| ttl(&seen.session));
        ttls.max().unwrap_or(Duration::from_secs(15))
    }

    /// Records since when shards have had no owner or no Lease.
    pub(super) fn note(&mut self, own: &Own, now: Duration) {
        let mut free = BTreeMap::new();
        let mut missing = BTreeMap::new();
        let holders: BTreeSet<_> = self.owners.values().map(|shard| &shard.holder).collect();
        self.over.retain(|session, _| holders.contains(session));
        for index in 0..self.shards {
            let Some(shard) = self.owners.get(&index) else {
                missing.insert(index, *self.missing.get(&index).unwrap_or(&now));
                continue;
            };
            if self.owner(shard, own, now) == Owner::Nobody {
                free.insert(index, *self.free.get(&index).unwrap_or(&now));
            }
        }
        (self.free, self.missing) = (free, missing);
    }

    /// The owner of each shard, or its proposed next owner while the proposal is valid.
    pub(super) fn effective(&self, own: &Own, members: &[Candidate], now: Duration) -> Vec<Option<String>> {
        let takes = |session: &String| {
            members
                .iter()
                .any(|member| member.session == *session && !member.draining)
        };
        let of = |index| {
            let shard = self.owners.get(&index)?;
            if let Some(next) = shard.next.as_ref().filter(|next| takes(next)) {
                return Some(next.clone());
            }
            match self.owner(shard, own, now) {
                Owner::Me => Some(own.session.clone()),
                Owner::Other(session) => Some(session.to_owned()),
                Owner::Nobody => {
                    // A container that restarted takes over the shards of its previous session.
                    let again = self.sessions.get(identity(&shard.holder));
                    again.map(|seen| seen.session.holder.clone())
                }
            }
        };
        (0..self.shards).map(of).collect()
    }
}

pub(super) fn ttl(session: &Session) -> Duration {
    Duration::from_secs(u64::try_from(session.ttl).unwrap_or_default().max(1))
}

/// `resourceVersion`s of one object increase and compare as numbers (KEP-5504).
fn is_later(known: Option<&String>, read: Option<&String>) -> bool {
    let number = |version: Option<&String>| version.and_then(|version| version.parse::<u64>().ok());
    number(known) > number(read)
}
