//! Checks that no more canaries run at the same time than the limit allows. What runs is read from Deployments and from the end
//! of runs, not from what the controller says of places.

use std::collections::{BTreeMap, BTreeSet};

use kanary_core::api::names::{IS_KANARY, RUN};
use kanary_sim::cluster::Event;

use super::{Checker, Invariant};
use crate::history::text;

/// The canaries that exist.
#[derive(Default)]
pub(crate) struct Canaries {
    /// How many may run at the same time, if that is limited.
    pub(crate) limit: Option<usize>,
    /// Kanary and run of each, by the uid of the Deployment.
    there: BTreeMap<String, (String, String)>,
}

impl Checker {
    /// Notes canaries, and checks the limit when one is created.
    pub(super) fn check_limit(&mut self, event: &Event) {
        let Some(limit) = self.canaries.limit else { return };
        let Some(object) = event.change.new.as_ref().or(event.change.last.as_ref()) else {
            return;
        };
        let value = object.json();
        let labels = &value["metadata"]["labels"];
        let stays = event.change.new.as_ref().is_some_and(|new| !new.meta.deleting);
        if !stays || text(&labels[IS_KANARY]) != "true" {
            self.canaries.there.remove(&object.meta.uid);
            return;
        }
        let owner = text(&value["metadata"]["ownerReferences"][0]["uid"]).to_owned();
        let run = text(&labels[RUN]).to_owned();
        self.canaries.there.insert(object.meta.uid.clone(), (owner, run));
        if event.change.old.is_some() {
            return;
        }
        let running: BTreeSet<&str> = self
            .canaries
            .there
            .values()
            .filter(|(uid, run)| self.is_under_way(uid, run))
            .filter_map(|(uid, _)| Some(self.books.get(uid)?.name.as_str()))
            .collect();
        if running.len() > limit {
            let what = format!("{} canaries run, and {limit} may: {running:?}", running.len());
            let name = text(&labels[kanary_core::api::names::KANARY_NAME]).to_owned();
            self.violated(Invariant::Limit, event.at, &name, &what);
        }
    }

    /// Whether this run of an existing Kanary has not ended.
    fn is_under_way(&self, uid: &str, run: &str) -> bool {
        self.books.get(uid).is_some_and(|book| {
            let number = book.status.run.unwrap_or(1).to_string();
            !book.deleted && book.status.completed_at.is_none() && run.rsplit('-').next() == Some(&number)
        })
    }
}
