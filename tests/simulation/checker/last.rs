//! Checks of the final state, after the last fault.

use std::collections::BTreeMap;

use kanary_core::{
    api::names::{GROUP, IS_KANARY, KANARY_NAME},
    status::{ERRORED, FAILED, Phase, find, is_true},
};
use kanary_sim::{cluster::Cluster, object::string_map};
use serde_json::Value;

use super::{
    Book, Checker, Invariant,
    evidence::{LEAVING, selects},
};
use crate::{
    case::{End, failed},
    history::text,
    target_kinds::TARGETS,
    world::NAMESPACE,
};

impl Book {
    /// The state of a Kanary.
    fn end(&self) -> End {
        let status = &self.status;
        match Phase::of(status) {
            _ if self.deleted => End::Deleted,
            Phase::Failed => End::Failed(find(status, FAILED).map(|c| c.reason.clone()).unwrap_or_default()),
            Phase::DeploymentUpdated => End::Updated,
            Phase::Succeeded if status.completed_at.is_some() => End::DryRun,
            _ if is_true(status, ERRORED) => End::Errored,
            Phase::Scheduled => End::Scheduled,
            Phase::Running => End::Running,
            Phase::Succeeded => End::Promoting,
        }
    }
}

/// Whether a Service other than the canary's own selects a pod with these labels.
fn is_served(cluster: &Cluster, labels: &BTreeMap<String, String>) -> bool {
    let services = cluster.objects("services", Some(NAMESPACE));
    let mut selectors = services
        .iter()
        .map(|service| string_map(&service.json()["spec"]["selector"]));
    selectors.any(|selector| {
        let is_ours = selector.keys().any(|name| name.starts_with(GROUP));
        !is_ours && selects(&selector, labels)
    })
}

impl Checker {
    /// Whether every Kanary is in an allowed final state and no leftover object exists.
    pub(crate) fn is_settled(&self, cluster: &Cluster) -> bool {
        self.unsettled().is_empty() && self.orphans(cluster).is_empty()
    }

    fn unsettled(&self) -> Vec<(String, End)> {
        let present = self
            .truths
            .iter()
            .map(|(name, truth)| (name, truth, self.latest(name).map_or(End::Missing, Book::end)));
        present
            .filter(|(_, truth, _)| !truth.hostile)
            .filter(|(name, truth, end)| !truth.ends.contains(end) && !self.is_overtaken(name, end))
            .map(|(name, _, end)| (name.clone(), end))
            .collect()
    }

    /// The most recent Kanary with this name.
    fn latest(&self, name: &str) -> Option<&Book> {
        let named = self.books.values().filter(|book| book.name == name);
        named.max_by_key(|book| book.number)
    }

    /// Whether a Kanary was recreated while a promotion of its predecessor was in flight, so that its target may change.
    fn is_overtaken(&self, name: &str, end: &End) -> bool {
        let mut formers = self.books.iter().filter(|(_, book)| book.name == name && book.deleted);
        *end == failed("TargetChanged") && formers.any(|(uid, _)| self.promotions(uid) > 0)
    }

    /// Objects of ended runs, by the name of their Kanary.
    fn orphans(&self, cluster: &Cluster) -> Vec<(String, String)> {
        let mut orphans = Vec::new();
        if self.obstructed {
            return orphans;
        }
        orphans.extend(self.left_claims());
        orphans.extend(self.left_in_place(cluster));
        let workloads: Vec<_> = TARGETS.iter().map(|kind| kind.resource).collect();
        let others = [
            "services",
            "horizontalpodautoscalers.autoscaling",
            "scaledobjects.keda.sh",
            "pods",
        ];
        for resource in workloads.iter().copied().chain(others) {
            for object in cluster.objects(resource, Some(NAMESPACE)) {
                let labels = &object.meta.labels;
                let name = labels.get(KANARY_NAME).cloned().unwrap_or_default();
                if labels.get(IS_KANARY).is_none_or(|is| is != "true") {
                    continue;
                }
                let truth = self.truth(&name);
                let over = self.is_over(&name);
                let kept = self.retains(&name) && (resource == "pods" || workloads.contains(&resource));
                if over && !kept {
                    orphans.push((name.clone(), format!("{resource} {} is left", object.meta.name)));
                }
                if over && resource == "pods" && truth.in_service && is_served(cluster, labels) {
                    orphans.push((name, format!("pod {} is behind the Service", object.meta.name)));
                }
            }
        }
        orphans
    }

    /// Whether a Kanary is deleted, even if a finalizer still holds it.
    pub(super) fn is_over(&self, name: &str) -> bool {
        let book = self.latest(name);
        let goes = |book: &Book| book.deleted || book.object["metadata"]["deletionTimestamp"].is_string();
        book.is_none_or(|book| goes(book) || book.status.completed_at.is_some())
    }

    /// Whether the user asked to retain a failed canary, in a hostile case at any time.
    pub(super) fn retains(&self, name: &str) -> bool {
        let (mut named, truth) = (self.books.values().filter(|book| book.name == name), self.truth(name));
        truth.retain || truth.hostile && named.any(|book| book.ever("/spec/rollout/onFailure", &"retain".into()))
    }

    /// Runs all final checks.
    pub(crate) fn finish(&mut self, cluster: &Cluster) {
        let now = cluster.now();
        for (name, end) in self.unsettled() {
            let allowed = self.truth(&name).ends;
            let what = format!("it ended as {end:?}, expected one of {allowed:?}");
            self.violated(Invariant::Lost, now, &name, &what);
        }
        for (name, what) in self.orphans(cluster) {
            self.violated(Invariant::Orphan, now, &name, &what);
        }
        let uids: Vec<_> = self.books.keys().cloned().collect();
        for uid in uids {
            self.check_events(cluster, &uid);
            self.check_target(cluster, &uid);
        }
        for exposed in self.evidence.exposed(now) {
            if exposed.long <= LEAVING + self.truth(&exposed.kanary).obstructed {
                continue;
            }
            self.violated(Invariant::Exposed, exposed.at, &exposed.kanary, &exposed.what);
        }
        self.check_shares(now);
    }

    /// Checks that no Event is sent more often than there were runs.
    fn check_events(&mut self, cluster: &Cluster, uid: &str) {
        let Some(book) = self.books.get(uid) else { return };
        let (runs, name) = (book.runs, book.name.clone());
        for reason in ["Started", "Promoted", "Failed", "Succeeded"] {
            let announced = self
                .announced
                .get(&(uid.to_owned(), reason.to_owned()))
                .copied()
                .unwrap_or_default();
            if i64::from(announced) > runs {
                let what = format!("{reason} was announced {announced} times in {runs} runs");
                self.violated(Invariant::Doubled, cluster.now(), &name, &what);
            }
        }
    }

    /// Checks that the target has the template if the status says so, unless another client changed it.
    fn check_target(&mut self, cluster: &Cluster, uid: &str) {
        let Some(book) = self.books.get(uid) else { return };
        let (name, end, image) = (book.name.clone(), book.end(), book.image());
        let truth = self.truth(&name);
        if end != End::Updated || truth.shared {
            return;
        }
        let runs = self.image_of(&truth).map(|(_, image)| image.clone());
        if runs.as_ref() != Some(&image) && self.promotions(uid) < 1 {
            let what = format!("the status is DeploymentUpdated, but the target runs {runs:?}");
            self.violated(Invariant::Lost, cluster.now(), &name, &what);
        }
    }
}

/// A metadata field of an object as text.
pub(super) fn named(object: &Value, field: &str) -> String {
    text(&object["metadata"][field]).to_owned()
}
