//! The demo's view of the Kanaries, built from the cluster's changes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kanary_core::{
    api::{
        Kanary, KanaryKind, KanarySpec, KanaryStatus,
        names::{GROUP, KANARY_KIND, KANARY_NAME, canary_name},
    },
    status::{ERRORED, Phase, RECONCILING, SCHEDULED, find, is_true},
};
use kanary_sim::{cluster::Event, object::Object, store::Place};

use super::{
    phrases,
    script::{Part, Script},
};

/// State of a Kanary, in one self-explanatory word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// Waits for its schedule.
    Scheduled,
    /// The canary's pods are starting.
    #[default]
    Starting,
    /// During the initial delay.
    WarmingUp,
    /// Before the deadline.
    Judging,
    /// After the deadline without a verdict, or paused.
    Waiting,
    /// The canary passed, and the target is rolling out.
    Promoting,
    /// The target runs the new version.
    Promoted,
    /// A dry-run that passed.
    Passed,
    Failed,
    /// An error that is not the canary's verdict.
    Errored,
}

impl State {
    /// All states, the most interesting first.
    pub(super) const ALL: [Self; 10] = [
        Self::Promoted,
        Self::Passed,
        Self::Failed,
        Self::Waiting,
        Self::Errored,
        Self::Promoting,
        Self::Judging,
        Self::WarmingUp,
        Self::Starting,
        Self::Scheduled,
    ];

    /// Whether the run is over.
    pub(super) const fn is_end(self) -> bool {
        matches!(self, Self::Promoted | Self::Passed | Self::Failed)
    }

    fn of(status: &KanaryStatus) -> Self {
        if is_true(status, ERRORED) {
            return Self::Errored;
        }
        let reason = |condition| find(status, condition).map_or("", |condition| condition.reason.as_str());
        match Phase::of(status) {
            Phase::DeploymentUpdated => Self::Promoted,
            Phase::Failed => Self::Failed,
            Phase::Succeeded if status.completed_at.is_some() => Self::Passed,
            Phase::Succeeded => Self::Promoting,
            Phase::Running if is_true(status, RECONCILING) && reason(RECONCILING) == "Validating" => Self::Judging,
            Phase::Running => Self::Waiting,
            Phase::Scheduled => match reason(SCHEDULED) {
                "WaitingForSchedule" => Self::Scheduled,
                "InitialDelay" => Self::WarmingUp,
                _ => Self::Starting,
            },
        }
    }
}

/// The canary's pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pods {
    pub(super) ready: i32,
    pub(super) wanted: i32,
    /// When the canary was created.
    pub(super) since: Option<Timestamp>,
}

/// One Kanary.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub(super) name: String,
    /// Its part in the script.
    pub(super) part: Option<Part>,
    pub(super) spec: KanarySpec,
    pub(super) status: KanaryStatus,
    pub(super) state: State,
    /// When it was created.
    pub(super) created: Timestamp,
    /// When its state last changed.
    pub(super) changed: Timestamp,
    pub(super) pods: Option<Pods>,
    /// The target's image when the Kanary was created.
    pub(super) former: Option<String>,
    pub(super) measured: Measured,
}

impl Row {
    /// The state according to spec and status. Without a status, a Kanary with a schedule is scheduled.
    fn state_at(&self, now: Timestamp) -> State {
        let schedule = self
            .spec
            .schedule
            .as_deref()
            .and_then(|at| at.parse::<Timestamp>().ok());
        match State::of(&self.status) {
            State::Starting if self.status.conditions.is_empty() && schedule.is_some_and(|at| at > now) => {
                State::Scheduled
            }
            state => state,
        }
    }
}

/// The last measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Measured {
    #[default]
    Never,
    NoData,
    Value(f64),
}

impl Measured {
    pub(super) fn value(self) -> Option<f64> {
        match self {
            Self::Value(value) => Some(value),
            Self::Never | Self::NoData => None,
        }
    }
}

/// An event to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct News {
    pub(super) at: Timestamp,
    /// Name of the Kanary.
    pub(super) who: String,
    /// Its new state, or `None` for an action by a user.
    pub(super) state: Option<State>,
    pub(super) text: String,
    /// Short form of the text.
    pub(super) brief: String,
}

/// All Kanaries.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) rows: Vec<Row>,
    /// Indexes of rows, by kind, namespace and name.
    places: BTreeMap<(String, Place), usize>,
    /// Indexes of rows, by the name of the canary.
    canaries: BTreeMap<String, usize>,
    /// Images of the other Deployments.
    images: BTreeMap<Place, String>,
    parts: BTreeMap<String, Part>,
}

impl Model {
    pub(super) fn new(script: &Script) -> Self {
        let parts = script.parts.iter().map(|part| (part.name.clone(), part.clone()));
        Self {
            parts: parts.collect(),
            ..Self::default()
        }
    }

    /// Records a change; returns what is new about a Kanary.
    pub(super) fn notice(&mut self, event: &Event) -> Option<News> {
        let (plural, group) = event.resource.split_once('.').unwrap_or((&event.resource, ""));
        let object = event.change.new.as_ref();
        let place = || {
            let meta = &object.or(event.change.old.as_ref())?.meta;
            Some((meta.namespace.clone(), meta.name.clone()))
        };
        if group == GROUP {
            let kind = KanaryKind::ALWAYS.into_iter().find(|kind| kind.plural() == plural)?;
            let key = (kind.as_str().to_owned(), place()?);
            return match object {
                Some(object) => self.put(&key, object, event.at),
                None => self.remove(&key, event.at),
            };
        }
        if plural == "deployments" {
            self.deployment(place()?, object.map(AsRef::as_ref), event.change.old.as_deref());
        }
        None
    }

    fn put(&mut self, key: &(String, Place), object: &Object, at: Timestamp) -> Option<News> {
        let kanary: Kanary = object.parse()?;
        let status = kanary.status.and_then(|status| serde_json::from_value(status).ok());
        let is_new = !self.places.contains_key(key);
        let place = match self.places.get(key) {
            Some(place) => *place,
            None => self.add(key, at),
        };
        let images = &self.images;
        let row = self.rows.get_mut(place)?;
        let former = step(&row.status);
        row.spec = serde_json::from_value(kanary.spec).unwrap_or_default();
        row.status = status.unwrap_or_default();
        let target = phrases::target(row);
        let state = row.state_at(at);
        let is_next = state == State::Judging && step(&row.status) > former;
        if state == row.state && !is_new && !is_next {
            return None;
        }
        if is_new || state == State::Starting {
            row.former = images.get(&(key.1.0.clone(), target.clone())).cloned();
        }
        self.canaries.insert(canary_name(&target, &key.1.1), place);
        (row.state, row.changed) = (state, at);
        Some(News {
            at,
            who: row.name.clone(),
            state: Some(state),
            text: phrases::news(row),
            brief: phrases::brief(row),
        })
    }

    fn add(&mut self, key: &(String, Place), at: Timestamp) -> usize {
        let (namespace, name) = &key.1;
        let is_default = namespace == super::manifests::NAMESPACE;
        let shown = if is_default {
            name.clone()
        } else {
            format!("{namespace}/{name}")
        };
        let is_scripted = is_default && key.0 == KanaryKind::Deployment.as_str();
        self.places.insert(key.clone(), self.rows.len());
        self.rows.push(Row {
            part: self.parts.get(name).filter(|_| is_scripted).cloned(),
            name: shown,
            created: at,
            changed: at,
            ..Row::default()
        });
        self.rows.len() - 1
    }

    fn remove(&mut self, key: &(String, Place), at: Timestamp) -> Option<News> {
        let gone = self.places.remove(key)?;
        let row = self.rows.remove(gone);
        self.canaries.retain(|_, place| *place != gone);
        for place in self.places.values_mut().chain(self.canaries.values_mut()) {
            *place -= usize::from(*place > gone);
        }
        Some(News {
            at,
            who: row.name,
            state: None,
            text: "is deleted".to_owned(),
            brief: "is deleted".to_owned(),
        })
    }

    fn deployment(&mut self, place: Place, object: Option<&Object>, old: Option<&Object>) {
        let Some(meta) = object.or(old).map(|object| &object.meta) else {
            return;
        };
        let parsed: Option<Deployment> = object.and_then(Object::parse);
        if let (Some(kind), Some(name)) = (meta.labels.get(KANARY_KIND), meta.labels.get(KANARY_NAME)) {
            let key = (kind.clone(), (place.0, name.clone()));
            let row = self.places.get(&key).and_then(|row| self.rows.get_mut(*row));
            if let Some(row) = row {
                row.pods = parsed.as_ref().map(pods);
            }
            return;
        }
        match parsed.and_then(image) {
            Some(image) => self.images.insert(place, image),
            None => self.images.remove(&place),
        };
    }

    /// Records a measurement of a canary.
    pub(super) fn measured(&mut self, canary: &str, value: Option<f64>) {
        let row = self.canaries.get(canary).and_then(|row| self.rows.get_mut(*row));
        if let Some(row) = row {
            row.measured = value.map_or(Measured::NoData, Measured::Value);
        }
    }

    /// Number of Kanaries in each state.
    pub(super) fn counts(&self) -> BTreeMap<State, usize> {
        let mut counts = BTreeMap::new();
        for row in &self.rows {
            *counts.entry(row.state).or_default() += 1;
        }
        counts
    }

    /// Rows of the script, with the user's own last, and the generated rows.
    pub(super) fn in_order(&self) -> (Vec<&Row>, Vec<&Row>) {
        let is_extra = |row: &&Row| row.part.as_ref().is_some_and(|part| part.is_extra);
        let (extras, named) = self.rows.iter().partition(is_extra);
        (named, extras)
    }

    /// The rows to show in `room` lines; of the generated rows, those that changed last.
    pub(super) fn interesting(&self, room: usize) -> Vec<&Row> {
        let (mut shown, mut extras) = self.in_order();
        shown.drain(..shown.len().saturating_sub(room));
        if shown.len() + extras.len() > room {
            extras.sort_by_key(|row| std::cmp::Reverse(row.changed));
            extras.truncate(room - shown.len());
        }
        shown.extend(extras);
        shown
    }
}

/// The step of a route whose requests reach the canary.
fn step(status: &KanaryStatus) -> Option<u32> {
    let traffic = status.traffic.as_ref().filter(|traffic| traffic.since.is_some());
    traffic.map(|traffic| traffic.step)
}

fn pods(deployment: &Deployment) -> Pods {
    let status = deployment.status.as_ref();
    let spec = deployment.spec.as_ref();
    Pods {
        ready: status.and_then(|status| status.ready_replicas).unwrap_or_default(),
        wanted: spec.and_then(|spec| spec.replicas).unwrap_or(1),
        since: deployment.metadata.creation_timestamp.as_ref().map(|time| time.0),
    }
}

fn image(deployment: Deployment) -> Option<String> {
    let pods = deployment.spec?.template.spec?;
    pods.containers.into_iter().next()?.image
}
