//! What is known of sessions and shards. Pure: the time is an argument.
//!
//! A session counts as alive until somebody ended it in the API server: its replica, or whoever saw it unrenewed for its
//! whole time. Nobody's wall clock takes part: what counts is how long *this* replica has seen no renewal. What a watch has
//! not told yet is no proof: a session of which nothing is known is looked at in the API server before its shards are taken.

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
    /// When its version changed, by our clock.
    pub(super) changed: Duration,
}

/// Who owns a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner<'a> {
    Me,
    /// Another session that may be alive.
    Other(&'a str),
    /// Nobody: it was given away, or its session is over.
    Nobody,
}

/// Sessions and shards as they were last read.
#[derive(Debug)]
pub struct LeaseTable {
    pub(super) shards: u16,
    pub(super) sessions: BTreeMap<String, SeenSession>,
    pub(super) owners: BTreeMap<u16, Shard>,
    /// Since when a shard has no owner.
    pub(super) free: BTreeMap<u16, Duration>,
    /// Since when a shard has no Lease.
    pub(super) missing: BTreeMap<u16, Duration>,
    /// Sessions of which it is known that they are over, from then on. None comes back.
    over: BTreeMap<String, Duration>,
    /// Shards whose Lease was there.
    pub(super) founded: BTreeSet<u16>,
}

impl LeaseTable {
    /// Nothing is known yet.
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

    /// Takes in a Lease as it was read at `now`, unless a later version is known: replies to calls and the watch are not in
    /// step.
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

    /// Takes in the Lease that the API server has for a session at `now`, which owns something and was not known.
    pub fn look(&mut self, holder: &str, live: Option<Session>, now: Duration) {
        let end = match &live {
            Some(live) if live.holder == holder => None,
            Some(_) => Some(now),
            // Its Lease was deleted by hand, and it may still act for as long as it was granted.
            None => Some(now + self.longest()),
        };
        if let Some(end) = end {
            self.over.entry(holder.to_owned()).or_insert(end);
        }
        if let Some(live) = live {
            self.put(Read::Session(live), now);
        }
    }

    /// Sessions that own something, and of which nothing is known.
    pub(super) fn unknown(&self, own: &Own) -> BTreeSet<String> {
        let holders = self.owners.values().map(|shard| &shard.holder);
        let unknown = holders.filter(|holder| {
            let seen = self.sessions.get(identity(holder));
            let lives = seen.is_some_and(|seen| seen.session.holder == **holder);
            !(holder.is_empty() || **holder == own.session || lives || self.over.contains_key(*holder))
        });
        unknown.cloned().collect()
    }

    /// A Lease of this name is gone.
    pub fn remove_named(&mut self, name: &str) {
        if let Some(identity) = name.strip_prefix("kanary-session-") {
            self.sessions.remove(identity);
        } else {
            self.owners.retain(|index, _| shard_name(self.shards, *index) != name);
        }
    }

    /// The API server was out of reach: what others did meanwhile was not seen, so their time starts anew.
    pub fn look_anew(&mut self, now: Duration) {
        self.sessions.values_mut().for_each(|seen| seen.changed = now);
        self.missing.clear();
    }

    /// The Lease of a shard, as it was last read.
    #[must_use]
    pub fn shard(&self, index: u16) -> Option<&Shard> {
        self.owners.get(&index)
    }

    /// The session of a replica, as it was last read.
    #[must_use]
    pub fn session(&self, identity: &str) -> Option<&Session> {
        self.sessions.get(identity).map(|seen| &seen.session)
    }

    /// Sessions that are over and own nothing: their Leases are of no use.
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

    /// A session that may be alive and counts the shards differently: beside it nobody may begin one.
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

    /// The longest time that any session lasts.
    pub(super) fn longest(&self) -> Duration {
        let ttls = self.sessions.values().map(|seen| ttl(&seen.session));
        ttls.max().unwrap_or(Duration::from_secs(15))
    }

    /// Notes since when things are as they are.
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

    /// Who has each shard, or is to have it by a word that still holds.
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
                    // A container that was started again takes up what its predecessor had.
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

/// Versions of one object grow, and compare as numbers (KEP-5504).
fn is_later(known: Option<&String>, read: Option<&String>) -> bool {
    let number = |version: Option<&String>| version.and_then(|version| version.parse::<u64>().ok());
    number(known) > number(read)
}
