//! Who acts on what: epochs, and effects of those who were replaced.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kanary::{
    api::names::{IS_KANARY, SLOT},
    shard::{Layout, Slot},
};
use kanary_sim::cluster::Event;
use serde_json::Value;

use super::{Checker, Invariant};
use crate::history::text;

/// Sessions, owners and effects as they were written.
#[derive(Default)]
pub(crate) struct Owners {
    /// Parts that Kanaries are divided into.
    parts: u16,
    /// The sessions of each process, the latest last.
    sessions: BTreeMap<String, Vec<String>>,
    /// Holder and epoch of each shard, and since when.
    pub(crate) shards: BTreeMap<u16, (String, i64, Timestamp)>,
    /// The epoch that each session had of a shard.
    epochs: BTreeMap<(u16, String), i64>,
    /// The highest epoch that had an effect on an object.
    effects: BTreeMap<(String, String), i64>,
    /// Writes that took effect although their shard was another's by then. Each was sent before.
    pub(crate) late: u32,
    /// How often a shard changed its owner.
    pub(crate) moves: u32,
    /// For how long each shard had no owner, since it had one at first.
    pub(crate) gaps: Vec<(u16, Timestamp, Timestamp)>,
    free_since: BTreeMap<u16, Timestamp>,
}

impl Owners {
    /// Where there are so many shards.
    pub(crate) fn of(parts: u16) -> Self {
        Self {
            parts,
            ..Self::default()
        }
    }
}

impl Checker {
    /// Takes in a Lease.
    pub(super) fn look_at_lease(&mut self, event: &Event) {
        let Some(new) = &event.change.new else { return };
        let value = new.value();
        let holder = text(&value["spec"]["holderIdentity"]).to_owned();
        let name = new.meta.name.clone();
        if name.starts_with("kanary-session-") {
            if !holder.is_empty() && holder.starts_with(&*name.replacen("kanary-session-", "", 1)) {
                let sessions = self.owners.sessions.entry(event.actor.to_string()).or_default();
                if sessions.last() != Some(&holder) {
                    sessions.push(holder);
                }
            }
            return;
        }
        let Some(index) = name.strip_prefix(&format!("kanary-shard-{}-", self.owners.parts)) else {
            return;
        };
        let index: u16 = index.parse().unwrap();
        let epoch = value["spec"]["leaseTransitions"].as_i64().unwrap_or_default();
        self.note_owner(index, &holder, epoch, event.at);
    }

    fn note_owner(&mut self, index: u16, holder: &str, epoch: i64, at: Timestamp) {
        let former = self.owners.shards.get(&index).cloned();
        if former.as_ref().is_some_and(|(former, _, _)| former == holder) {
            return;
        }
        if let Some((former, last, _)) = &former {
            let grows = if holder.is_empty() {
                epoch >= *last
            } else {
                epoch > *last
            };
            if !grows {
                let what = format!("shard {index} goes from epoch {last} of {former:?} to {epoch} of {holder:?}");
                self.violated(Invariant::Owner, at, "-", &what);
            }
        }
        let owners = &mut self.owners;
        if holder.is_empty() {
            owners.free_since.insert(index, at);
        } else {
            owners.moves += u32::from(former.is_some());
            owners.epochs.insert((index, holder.to_owned()), epoch);
            if let Some(since) = owners.free_since.remove(&index) {
                owners.gaps.push((index, since, at));
            }
        }
        owners.shards.insert(index, (holder.to_owned(), epoch, at));
    }

    /// A replica's write: its session owns the shard, or did when nobody else had done anything about the object since.
    pub(super) fn check_owner(&mut self, event: &Event) {
        let neutral = ["events", "leases.coordination.k8s.io", "configmaps"].contains(&&*event.resource);
        if self.owners.shards.is_empty() || !super::is_ours(event) || neutral {
            return;
        }
        let Some(object) = event.change.new.as_ref().or(event.change.last.as_ref()) else {
            return;
        };
        let (resource, value) = (&*event.resource, object.value());
        let was = event.change.old.as_ref().map(|old| old.value());
        let is_kanary = resource.starts_with("kanary");
        if is_kanary && was.is_some_and(|was| was["status"] == value["status"]) {
            // Its label: whoever sees that it is wrong may mend it.
            return;
        }
        let slot = slot_of(&value, &object.meta.namespace, &object.meta.name);
        let shard = Layout::new(self.owners.parts).unwrap().shard_of(slot);
        let owners = &mut self.owners;
        let sessions = owners.sessions.get(&*event.actor).cloned().unwrap_or_default();
        // What is carried out late may have been sent in a session that was ended since.
        let mut latest = sessions.iter().rev();
        let owned = latest.find_map(|session| Some((session, *owners.epochs.get(&(shard, session.clone()))?)));
        let Some((session, epoch)) = owned else {
            let what = format!(
                "{} wrote {resource} {} and never owned shard {shard}",
                event.actor, object.meta.name
            );
            self.violated(Invariant::Owner, event.at, "-", &what);
            return;
        };
        owners.late += u32::from(
            owners
                .shards
                .get(&shard)
                .is_some_and(|(holder, _, _)| holder != session),
        );
        let highest = owners
            .effects
            .entry((resource.to_owned(), object.meta.name.clone()))
            .or_insert(epoch);
        // A creation has no precondition but that nothing of its name is there. One that comes so late that its run is over
        // is seen by the new owner, and taken away.
        let created = event.change.old.is_none();
        if epoch < *highest && !created {
            let what = format!(
                "{} wrote {resource} {} with epoch {epoch}, after epoch {highest} of shard {shard} had",
                event.actor, object.meta.name
            );
            self.violated(Invariant::Owner, event.at, "-", &what);
            return;
        }
        *highest = epoch.max(*highest);
    }
}

/// The slot of what is written: by its label; of a target by its name.
fn slot_of(object: &Value, namespace: &str, name: &str) -> Slot {
    let labels = &object["metadata"]["labels"];
    let slot = text(&labels[SLOT]).parse().ok();
    let labelled = text(&labels[IS_KANARY]) == "true" || !object["spec"]["validation"].is_null();
    slot.filter(|_| labelled).unwrap_or_else(|| Slot::of(namespace, name))
}
