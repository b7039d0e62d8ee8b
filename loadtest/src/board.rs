//! What the load generator saw of each canary, and when.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use kanary_core::api::names::canary_name;
use tokio::sync::Notify;

use crate::{api::Object, plan::Operator, workload};

/// The times of one canary by the clock of this machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Canary {
    /// Its target is available, so that the test may begin.
    pub(crate) has_target: bool,
    /// When its Kanary was to be created. All delays count from here, so that a load generator that is late itself hides
    /// nothing.
    pub(crate) intended: Option<Timestamp>,
    /// The Kanary exists: the reply to the creation or its first event, whichever came first.
    pub(crate) created: Option<Timestamp>,
    /// The canary Deployment exists.
    pub(crate) started: Option<Timestamp>,
    pub(crate) available: Option<Timestamp>,
    /// `status.deadline` of the Kanary; for the floor, when its wait ends.
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) verdict: Option<Timestamp>,
    /// The target has the new template.
    pub(crate) promoted: Option<Timestamp>,
    /// The canary Deployment is gone.
    pub(crate) cleaned: Option<Timestamp>,
    /// The Kanary shows the end of the run.
    pub(crate) ended: Option<Timestamp>,
    /// Why it failed.
    pub(crate) failure: Option<String>,
}

impl Canary {
    fn is_over(&self, operator: Operator) -> bool {
        match operator {
            Operator::Kanary => self.ended.is_some() && (self.cleaned.is_some() || self.started.is_none()),
            Operator::Floor => self.cleaned.is_some() && (self.promoted.is_some() || self.failure.is_some()),
        }
    }
}

/// Counts of all canaries of a board.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) targets: usize,
    pub(crate) created: usize,
    pub(crate) canaries: usize,
    pub(crate) promoted: usize,
    pub(crate) over: usize,
}

/// All canaries of one namespace.
#[derive(Debug)]
pub(crate) struct Board {
    pub(crate) namespace: String,
    operator: Operator,
    canaries: Mutex<Vec<Canary>>,
    /// For the tasks of the floor.
    available: Vec<Notify>,
}

/// Kind of an object that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Deployment,
    Kanary,
}

impl Board {
    pub(crate) fn new(namespace: String, operator: Operator, canaries: usize) -> Self {
        Self {
            namespace,
            operator,
            canaries: Mutex::new(vec![Canary::default(); canaries]),
            available: (0..canaries).map(|_| Notify::new()).collect(),
        }
    }

    fn all(&self) -> MutexGuard<'_, Vec<Canary>> {
        self.canaries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of everything.
    pub(crate) fn canaries(&self) -> Vec<Canary> {
        self.all().clone()
    }

    /// Changes what is known of canary `number`.
    pub(crate) fn note(&self, number: usize, change: impl FnOnce(&mut Canary)) {
        if let Some(canary) = self.all().get_mut(number) {
            change(canary);
        }
    }

    pub(crate) fn progress(&self) -> Progress {
        let mut progress = Progress::default();
        for canary in self.all().iter() {
            progress.targets += usize::from(canary.has_target);
            progress.created += usize::from(canary.created.is_some());
            progress.canaries += usize::from(canary.started.is_some());
            progress.promoted += usize::from(canary.promoted.is_some());
            progress.over += usize::from(canary.is_over(self.operator));
        }
        progress
    }

    /// Waits until canary `number` is available.
    pub(crate) async fn available(&self, number: usize) {
        let Some(notify) = self.available.get(number) else {
            return;
        };
        loop {
            let told = notify.notified();
            if self.all().get(number).is_none_or(|canary| canary.available.is_some()) {
                return;
            }
            told.await;
        }
    }

    /// Takes note of an object as of an event or a list.
    pub(crate) fn saw(&self, kind: Kind, object: &Object, at: Timestamp) {
        let Some(number) = workload::number(&object.metadata.name) else {
            return;
        };
        let mut canaries = self.all();
        let Some(canary) = canaries.get_mut(number) else { return };
        match kind {
            Kind::Kanary => kanary(canary, object, at),
            Kind::Deployment if is_canary(&object.metadata.name) => {
                canary.started.get_or_insert(at);
                if object.status.available_replicas > 0 {
                    canary.available.get_or_insert(at);
                    if let Some(notify) = self.available.get(number) {
                        notify.notify_one();
                    }
                }
            }
            Kind::Deployment => {
                canary.has_target |= object.status.available_replicas > 0;
                if object.image() == Some(workload::image(workload::NEW).as_str()) {
                    canary.promoted.get_or_insert(at);
                }
            }
        }
    }

    /// Takes note that an object is gone.
    pub(crate) fn lost(&self, kind: Kind, name: &str, at: Timestamp) {
        if kind == Kind::Deployment && is_canary(name) {
            let Some(number) = workload::number(name) else { return };
            self.note(number, |canary| {
                canary.cleaned.get_or_insert(at);
            });
        }
    }

    /// Takes note that `names` are all objects.
    pub(crate) fn listed(&self, kind: Kind, names: &BTreeSet<String>, at: Timestamp) {
        let has_canary = |(number, canary): (usize, &Canary)| canary.started.is_some().then_some(number);
        let existed: Vec<_> = self.all().iter().enumerate().filter_map(has_canary).collect();
        for number in existed {
            let name = workload::name(number);
            let name = canary_name(&name, &name);
            if !names.contains(&name) {
                self.lost(kind, &name, at);
            }
        }
    }
}

fn is_canary(name: &str) -> bool {
    name.contains("-kanary-")
}

fn kanary(canary: &mut Canary, object: &Object, at: Timestamp) {
    canary.created.get_or_insert(at);
    let status = &object.status;
    if status.deadline.is_some() {
        canary.deadline = status.deadline;
    }
    let failed = status.holds("Failed");
    if status.holds("Succeeded").is_some() || failed.is_some() {
        canary.verdict.get_or_insert(at);
    }
    if let Some(failed) = failed {
        canary
            .failure
            .get_or_insert_with(|| format!("{}: {}", failed.reason, failed.message));
    }
    if failed.is_some() || status.holds("DeploymentUpdated").is_some() {
        canary.ended.get_or_insert(at);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: serde_json::Value) -> Object {
        serde_json::from_value(value).unwrap()
    }

    fn deployment(name: &str, image: &str, available: u32) -> Object {
        object(json!({
            "metadata": {"name": name},
            "spec": {"template": {"spec": {"containers": [{"image": image}]}}},
            "status": {"availableReplicas": available},
        }))
    }

    fn kanary_with(condition: &str) -> Object {
        object(json!({
            "metadata": {"name": "app-00001"},
            "spec": {"template": {"spec": {"template": {}}}},
            "status": {
                "deadline": "2026-01-01T00:01:00Z",
                "conditions": [{"type": condition, "status": "True", "reason": "R", "message": "why"}],
            },
        }))
    }

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_first_time_of_each_step_counts() {
        let board = Board::new("ns".to_owned(), Operator::Kanary, 2);
        let old = workload::image(workload::OLD);
        board.saw(Kind::Deployment, &deployment("app-00001", &old, 1), second(1));
        board.saw(Kind::Kanary, &kanary_with("Running"), second(2));
        for at in [3, 4] {
            board.saw(
                Kind::Deployment,
                &deployment("app-00001-kanary-app-00001", "", 1),
                second(at),
            );
        }
        board.saw(Kind::Kanary, &kanary_with("Succeeded"), second(5));
        let new = workload::image(workload::NEW);
        board.saw(Kind::Deployment, &deployment("app-00001", &new, 1), second(6));
        board.saw(Kind::Kanary, &kanary_with("DeploymentUpdated"), second(7));
        assert_eq!(board.progress().over, 0);
        board.listed(Kind::Deployment, &BTreeSet::from(["app-00001".to_owned()]), second(8));
        let canary = &board.canaries()[1];
        let times = [
            canary.created,
            canary.started,
            canary.verdict,
            canary.promoted,
            canary.ended,
            canary.cleaned,
        ];
        assert_eq!(times, [2, 3, 5, 6, 7, 8].map(|at| Some(second(at))));
        let all = Progress {
            targets: 1,
            created: 1,
            canaries: 1,
            promoted: 1,
            over: 1,
        };
        assert_eq!(board.progress(), all);
    }

    #[test]
    fn a_failed_canary_is_over_and_tells_why() {
        let board = Board::new("ns".to_owned(), Operator::Kanary, 2);
        board.saw(Kind::Kanary, &kanary_with("Failed"), second(1));
        assert_eq!(
            board.progress(),
            Progress {
                created: 1,
                over: 1,
                ..Progress::default()
            }
        );
        assert_eq!(board.canaries()[1].failure.as_deref(), Some("R: why"));
    }

    #[test]
    fn objects_of_others_do_not_count() {
        let board = Board::new("ns".to_owned(), Operator::Kanary, 2);
        for name in ["app-00002", "other", "app-x"] {
            board.saw(Kind::Deployment, &deployment(name, "", 1), second(1));
        }
        assert_eq!(board.progress(), Progress::default());
    }
}
