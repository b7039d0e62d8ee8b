//! Checks of shard ownership: epochs, writes of replicas that had lost their shard, and effects of former owners.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kanary_core::{
    api::{
        Layout, Slot,
        names::{IS_KANARY, KANARY_NAME, SLOT},
    },
    status::Phase,
};
use kanary_sim::{cluster::Event, object::Meta};
use serde_json::Value;

use super::{Book, Checker, Invariant};
use crate::{history::text, world::NAMESPACE};

/// A period in which a session owned a shard.
struct Term {
    session: String,
    epoch: i64,
    since: Timestamp,
    until: Option<Timestamp>,
    /// Whether it had an effect in the shard.
    acted: bool,
}

/// Sessions, owners and effects as written.
#[derive(Default)]
pub(crate) struct Owners {
    /// Number of shards.
    parts: u16,
    /// The sessions of each process, latest last.
    sessions: BTreeMap<String, Vec<String>>,
    /// Ended sessions, with the time of their end.
    over: BTreeMap<String, Timestamp>,
    /// Holder and epoch of each shard, and since when.
    pub(crate) shards: BTreeMap<u16, (String, i64, Timestamp)>,
    /// All owners of each shard, latest last.
    terms: BTreeMap<u16, Vec<Term>>,
    /// The highest epoch with an effect on each object.
    effects: BTreeMap<(String, String), i64>,
    /// Number of writes that took effect after a later owner had acted in the shard. Each was sent while its sender owned
    /// the shard, and must not change anything that the later owner relies on: a status has the version that was read, a
    /// promotion tests the target, a delete has a UID. The later owner observes objects that are created this late, and
    /// deletes them if their run is over. The checker verifies that no later owner had written the object itself.
    pub(crate) late: u32,
    /// Number of ownership changes.
    pub(crate) moves: u32,
    /// Periods in which a shard had no owner, after its first one.
    pub(crate) gaps: Vec<(u16, Timestamp, Timestamp)>,
    free_since: BTreeMap<u16, Timestamp>,
}

impl Owners {
    /// For this number of shards.
    pub(crate) fn of(parts: u16) -> Self {
        Self {
            parts,
            ..Self::default()
        }
    }

    /// The shard of a target.
    pub(super) fn shard_of(&self, target: &str) -> u16 {
        Layout::new(self.parts).unwrap().shard_of(Slot::of(NAMESPACE, target))
    }

    /// Since when a process has owned a shard, if it owns it at a time.
    pub(super) fn in_charge(&self, shard: u16, actor: &str, at: Timestamp) -> Option<Timestamp> {
        let sessions = self.sessions.get(actor)?;
        let terms = self.terms.get(&shard)?.iter().rev();
        let term = terms
            .into_iter()
            .find(|term| sessions.contains(&term.session) && term.since <= at)?;
        Some(term.since)
    }

    /// Records an effect of a process's write and returns the epoch at which it was sent, or `None` if the process did
    /// not own the shard then.
    fn note_effect(&mut self, shard: u16, actor: &str, sent: Timestamp) -> Option<i64> {
        let (sessions, over) = (self.sessions.get(actor)?, &self.over);
        let owned = |term: &Term| {
            let over = over.get(&term.session).copied();
            let until = term.until.into_iter().chain(over).min();
            sessions.contains(&term.session) && term.since <= sent && until.is_none_or(|until| sent <= until)
        };
        let terms = self.terms.get_mut(&shard)?;
        let index = terms.iter().rposition(owned)?;
        self.late += u32::from(terms.iter().skip(index + 1).any(|term| term.acted));
        let term = terms.get_mut(index)?;
        term.acted = true;
        Some(term.epoch)
    }
}

impl Checker {
    /// Records a Lease.
    pub(super) fn look_at_lease(&mut self, event: &Event) {
        let Some(new) = &event.change.new else { return };
        let holder_of = |value: &Value| text(&value["spec"]["holderIdentity"]).to_owned();
        let (value, name) = (new.json(), new.meta.name.as_str());
        let holder = holder_of(&value);
        if let Some(identity) = name.strip_prefix("kanary-session-") {
            let former = event.change.old.as_ref().map(|old| holder_of(&old.json()));
            if let Some(ended) = former.filter(|former| *former != holder) {
                self.owners.over.entry(ended).or_insert(event.at);
            }
            if !holder.is_empty() && holder.starts_with(identity) {
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
        let terms = owners.terms.entry(index).or_default();
        if let Some(last) = terms.last_mut() {
            last.until.get_or_insert(at);
        }
        if holder.is_empty() {
            owners.free_since.insert(index, at);
        } else {
            terms.push(Term {
                session: holder.to_owned(),
                epoch,
                since: at,
                until: None,
                acted: false,
            });
            owners.moves += u32::from(former.is_some());
            if let Some(since) = owners.free_since.remove(&index) {
                owners.gaps.push((index, since, at));
            }
        }
        owners.shards.insert(index, (holder.to_owned(), epoch, at));
    }

    /// Checks a replica's write: it was sent while its session owned the shard, names that session, and no later owner
    /// has acted on the object before.
    pub(super) fn check_owner(&mut self, event: &Event) {
        let neutral = ["events", "leases.coordination.k8s.io", "configmaps"].contains(&&*event.resource);
        if self.owners.shards.is_empty() || !super::is_ours(event) || neutral {
            return;
        }
        let Some(object) = event.change.new.as_ref().or(event.change.last.as_ref()) else {
            return;
        };
        let (value, was) = (object.json(), event.change.old.as_ref().map(|old| old.json()));
        let (name, slot) = self.slot_of(&event.resource, &object.meta);
        let is_kanary = event.resource.starts_with("kanary");
        let is_label = is_kanary && was.as_ref().is_some_and(|was| was["status"] == value["status"]);
        // The owner of the shard named by a wrong slot label may fix the label.
        let named = was.as_ref().filter(|_| is_label).and_then(|was| slot_in(was));
        let Some(epoch) = self.check_sender(event, &name, named.unwrap_or(slot)) else {
            return;
        };
        let created = event.change.old.is_none();
        let makes = created && object.meta.labels.contains_key(IS_KANARY);
        if (is_label || makes) && slot_in(&value) != Some(slot) {
            let what = format!(
                "{} set a slot label on {} other than {slot}",
                event.actor, object.meta.name
            );
            self.violated(Invariant::Owner, event.at, &name, &what);
        }
        if is_label {
            return;
        }
        if is_kanary && value["status"]["epoch"] != epoch {
            let what = format!(
                "{} owns the shard with epoch {epoch}, but the status has a different one",
                event.actor
            );
            self.violated(Invariant::Owner, event.at, &name, &what);
        }
        // The only precondition of a creation is that the name is free. If it arrives after its run has ended, the new
        // owner observes and deletes the object. A failed canary that can leave production neither by its labels nor by
        // scaling is deleted in whatever version it has. That may arrive after the new owner has scaled it to 0.
        let was_scaled_to_zero = was.as_ref().is_some_and(|was| was["spec"]["replicas"] == 0);
        let has_failed = |book: &Book| book.name == name && Phase::of(&book.status) == Phase::Failed;
        let leaves = event.change.new.is_none()
            && event.resource.starts_with("deployments")
            && object.meta.labels.contains_key(IS_KANARY)
            && was_scaled_to_zero
            && self.books.values().any(has_failed);
        let effects = &mut self.owners.effects;
        let highest = effects.entry((event.resource.to_string(), object.meta.name.clone()));
        let highest = highest.or_insert(epoch);
        if epoch < *highest && !created && !leaves {
            let what = format!(
                "{} wrote {} {} with epoch {epoch} after a write with epoch {highest}",
                event.actor, event.resource, object.meta.name
            );
            self.violated(Invariant::Owner, event.at, &name, &what);
            return;
        }
        *highest = epoch.max(*highest);
    }

    /// The epoch at which the sender of a write owned the slot's shard. Reports a violation if it did not.
    fn check_sender(&mut self, event: &Event, name: &str, slot: Slot) -> Option<i64> {
        let shard = Layout::new(self.owners.parts).unwrap().shard_of(slot);
        let sent = *self.sent.lock().unwrap();
        let sent = sent.unwrap_or(event.at);
        let epoch = self.owners.note_effect(shard, &event.actor, sent);
        if epoch.is_none() {
            let what = format!(
                "{} changed {} by a write sent at {}, when it did not own shard {shard}",
                event.actor,
                event.resource,
                self.history.time(sent)
            );
            self.violated(Invariant::Owner, event.at, name, &what);
        }
        epoch
    }

    /// The name of the Kanary or target that an object belongs to, and its slot. The slot is the hash of the target's
    /// name; labels are ignored.
    fn slot_of(&self, resource: &str, object: &Meta) -> (String, Slot) {
        let labels = &object.labels;
        let is_canary = labels.get(IS_KANARY).is_some_and(|is| is == "true");
        let kanary = labels.get(KANARY_NAME).filter(|_| is_canary).unwrap_or(&object.name);
        let has_target = is_canary || resource.starts_with("kanary");
        let truth = self.truths.get(kanary).filter(|_| has_target);
        let target = truth.map_or(&object.name, |truth| &truth.target);
        (kanary.clone(), Slot::of(&object.namespace, target))
    }

    /// Checks the final state: every shard owner is alive, and every Kanary has its slot label, even if its user changed
    /// it.
    pub(super) fn check_shares(&mut self, at: Timestamp) {
        if self.owners.shards.is_empty() {
            return;
        }
        for shard in 0..self.owners.parts {
            let holder = self.owners.shards.get(&shard).map(|(holder, _, _)| holder.clone());
            let holder = holder.unwrap_or_default();
            if holder.is_empty() || self.owners.over.contains_key(&holder) {
                let what = format!("the owner of shard {shard}, {holder:?}, is dead");
                self.violated(Invariant::Owner, at, "-", &what);
            }
        }
        let slot = |name: &String| Some(Slot::of(NAMESPACE, &self.truths.get(name)?.target));
        let present = self.books.values().filter(|book| !book.deleted);
        let forged = present.filter(|book| slot_in(&book.object) != slot(&book.name));
        let forged: Vec<_> = forged.map(|book| book.name.clone()).collect();
        for name in forged {
            self.violated(Invariant::Owner, at, &name, "its slot label was not restored");
        }
    }
}

/// The slot in a label.
fn slot_in(object: &Value) -> Option<Slot> {
    object["metadata"]["labels"][SLOT].as_str()?.parse().ok()
}
