//! The Leases as stored: a session for each replica, which is renewed, and one Lease for each shard, which is not.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kanary_core::api::names::{LEASE, LEASE_DRAINING, LEASE_NEXT, LEASE_READY, LEASE_SHARDS, LEASE_TEMPLATE};
use kube::ResourceExt;

/// Name of the leader's Lease. The leader only makes proposals.
pub const LEADER: &str = "kanary-leader";

/// A replica's session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// `--identity` of the replica. Only one process at a time may use it.
    pub identity: String,
    /// `<identity>/<boot>`; empty after the session has ended.
    pub holder: String,
    /// `resourceVersion` of the Lease as read.
    pub version: Option<String>,
    /// When this session began, in seconds.
    pub since: i64,
    /// Time of the last renewal, for display only.
    pub renewed: Option<Timestamp>,
    /// How long it lasts without renewal, in seconds.
    pub ttl: i32,
    /// Hash of the pod template that the replica runs.
    pub template: String,
    /// How many shards it knows; 0 if unknown.
    pub shards: u16,
    /// The replica is shutting down.
    pub draining: bool,
    /// Shards that it has read and can take immediately.
    pub ready: BTreeSet<u16>,
}

/// The owner of a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shard {
    /// Number of the shard.
    pub index: u16,
    /// The session that owns it; empty if it was released.
    pub holder: String,
    /// Fencing token. Increases with each change of owner.
    pub epoch: i64,
    /// The session that should own it next.
    pub next: Option<String>,
    /// `resourceVersion` of the Lease as read.
    pub version: Option<String>,
}

/// A Lease that belongs to Kanary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// Session of a replica.
    Session(Session),
    /// Ownership of a shard.
    Shard(Shard),
}

/// Whether a replica may have this identity, which is part of the name of a Lease.
#[must_use]
pub fn is_identity(name: &str) -> bool {
    let may = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let inside = name.chars().all(|c| may(c) || c == '-' || c == '.');
    inside && name.starts_with(may) && name.ends_with(may) && !name.contains("..") && session_name(name).len() <= 253
}

/// The identity in `<identity>/<boot>`.
#[must_use]
pub fn identity(session: &str) -> &str {
    session.rsplit_once('/').map_or(session, |(identity, _)| identity)
}

/// Name of the Lease of a replica's session.
#[must_use]
pub fn session_name(identity: &str) -> String {
    format!("kanary-session-{identity}")
}

/// Name of the Lease of a shard in a layout of `shards` shards.
#[must_use]
pub fn shard_name(shards: u16, index: u16) -> String {
    format!("kanary-shard-{shards}-{index}")
}

/// Parses a Lease; `None` if it is not a Kanary Lease, or belongs to a layout with another number of shards.
#[must_use]
pub fn read(lease: &Lease, shards: u16) -> Option<Read> {
    let name = lease.name_any();
    let spec = lease.spec.clone().unwrap_or_default();
    let holder = spec.holder_identity.unwrap_or_default();
    let version = lease.resource_version();
    let annotation = |name: &str| lease.annotations().get(name).cloned();
    match lease.labels().get(LEASE).map(String::as_str) {
        Some("session") => Some(Read::Session(Session {
            identity: name.strip_prefix("kanary-session-")?.to_owned(),
            holder,
            version,
            since: spec.acquire_time.map_or(0, |time| time.0.as_second()),
            renewed: spec.renew_time.map(|time| time.0),
            ttl: spec.lease_duration_seconds.unwrap_or_default(),
            template: annotation(LEASE_TEMPLATE).unwrap_or_default(),
            shards: annotation(LEASE_SHARDS)
                .and_then(|shards| shards.parse().ok())
                .unwrap_or_default(),
            draining: annotation(LEASE_DRAINING).is_some(),
            ready: annotation(LEASE_READY)
                .unwrap_or_default()
                .split(',')
                .filter_map(|shard| shard.parse().ok())
                .collect(),
        })),
        Some("shard") => {
            let (of, index) = name.strip_prefix("kanary-shard-")?.split_once('-')?;
            let index = index.parse().ok().filter(|index| *index < shards)?;
            (of.parse() == Ok(shards)).then(|| {
                Read::Shard(Shard {
                    index,
                    holder,
                    epoch: spec.lease_transitions.map_or(0, i64::from),
                    next: annotation(LEASE_NEXT).filter(|next| !next.is_empty()),
                    version,
                })
            })
        }
        _ => None,
    }
}

fn lease(
    name: String,
    kind: &str,
    version: Option<&String>,
    notes: BTreeMap<String, String>,
    spec: LeaseSpec,
) -> Lease {
    Lease {
        metadata: ObjectMeta {
            name: Some(name),
            resource_version: version.cloned(),
            labels: Some(BTreeMap::from([(LEASE.to_owned(), kind.to_owned())])),
            annotations: Some(notes),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
    }
}

impl Session {
    /// The Lease to store, renewed at `now`. Its precondition is the version that was read.
    #[must_use]
    pub fn write(&self, now: Timestamp) -> Lease {
        let mut notes = BTreeMap::new();
        if !self.template.is_empty() {
            notes.insert(LEASE_TEMPLATE.to_owned(), self.template.clone());
        }
        if self.shards > 0 {
            notes.insert(LEASE_SHARDS.to_owned(), self.shards.to_string());
        }
        if self.draining {
            notes.insert(LEASE_DRAINING.to_owned(), "true".to_owned());
        }
        if !self.ready.is_empty() {
            let ready: Vec<_> = self.ready.iter().map(u16::to_string).collect();
            notes.insert(LEASE_READY.to_owned(), ready.join(","));
        }
        let spec = LeaseSpec {
            holder_identity: Some(self.holder.clone()),
            acquire_time: Timestamp::from_second(self.since).ok().map(MicroTime),
            renew_time: Some(MicroTime(now)),
            lease_duration_seconds: Some(self.ttl),
            ..LeaseSpec::default()
        };
        lease(
            session_name(&self.identity),
            "session",
            self.version.as_ref(),
            notes,
            spec,
        )
    }

    /// The same session, ended.
    #[must_use]
    pub fn ended(&self) -> Self {
        Self {
            holder: String::new(),
            ready: BTreeSet::new(),
            ..self.clone()
        }
    }
}

impl Shard {
    /// The Lease to store at `now`. Its precondition is the version that was read.
    #[must_use]
    pub fn write(&self, shards: u16, now: Timestamp) -> Lease {
        let next = self.next.iter().map(|next| (LEASE_NEXT.to_owned(), next.clone()));
        let spec = LeaseSpec {
            holder_identity: Some(self.holder.clone()),
            lease_transitions: Some(i32::try_from(self.epoch).unwrap_or(i32::MAX)),
            acquire_time: Some(MicroTime(now)),
            ..LeaseSpec::default()
        };
        let name = shard_name(shards, self.index);
        lease(name, "shard", self.version.as_ref(), next.collect(), spec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-22T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_session_is_read_as_it_was_written() {
        let session = Session {
            identity: "kanary-7d9f-abcde".to_owned(),
            holder: "kanary-7d9f-abcde/1f".to_owned(),
            version: Some("7".to_owned()),
            since: now().as_second() - 60,
            renewed: Some(now()),
            ttl: 15,
            template: "7d9f".to_owned(),
            shards: 32,
            draining: true,
            ready: BTreeSet::from([3, 11]),
        };
        let read = read(&session.write(now()), 32);
        assert_eq!(read, Some(Read::Session(session)));
    }

    #[test]
    fn a_shard_is_read_as_it_was_written() {
        let shard = Shard {
            index: 31,
            holder: "a/1".to_owned(),
            epoch: 1_790_000_000,
            next: Some("b/1".to_owned()),
            version: Some("8".to_owned()),
        };
        assert_eq!(read(&shard.write(32, now()), 32), Some(Read::Shard(shard.clone())));
        assert_eq!(read(&shard.write(64, now()), 32), None, "of another layout");
    }

    #[test]
    fn an_identity_can_be_part_of_a_name() {
        for name in ["kanary-6f7d9c-2xkzp", "node7.example.com", "0"] {
            assert!(is_identity(name), "{name}");
        }
        let long = "a".repeat(240);
        for name in ["", "My-Laptop", "a_b", "-a", "a-", "a..b", "a b", &long] {
            assert!(!is_identity(name), "{name}");
        }
    }

    #[test]
    fn what_is_not_ours_is_not_read() {
        assert_eq!(read(&Lease::default(), 32), None);
    }
}
