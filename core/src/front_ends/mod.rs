//! Front ends: kinds of objects whose spec is translated into that of a Kanary. The object itself is the Kanary of the engine, so there
//! is one run, one verdict and one way to write. Each kind has a `FrontEnd`, in a file of its own.
//!
//! Everything here is pure. What a front end wants beyond a run is a list of manifests ([`Kept`]); `upkeep` compares them with what is
//! there, and decides.

mod canary_app;
mod canary_deployment;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{
    Key,
    decision::{Notice, Resource},
    invalid::Invalid,
    labels::Labels,
    template::WorkloadTemplate,
    track::Tracked,
    validation::Item,
};
use crate::api::{KanaryKind, KanaryStatus, OwnFields};

/// What one kind of front end does in its own way.
pub(crate) trait FrontEnd: Sync {
    /// The fields of the status that no other kind has.
    fn own_fields(&self) -> &'static [&'static str];

    /// Translates a spec. `own` are the fields of the status that was read.
    fn translate(&self, key: &Key, raw: &Value, own: &OwnFields) -> Translated;

    /// Adds to the next status what users of this kind read: its own fields, and conditions. The rest of the status is that of the
    /// engine. The result depends on nothing else, so that it comes to rest.
    fn tell(&self, told: &Told<'_>, next: &mut KanaryStatus);

    /// Events that no other kind has, from a stored status.
    fn notices(&self, _: &KanaryStatus) -> Vec<Notice> {
        Vec::new()
    }

    /// Terms of the engine in messages, and what users of this kind know instead. The first one that occurs counts.
    fn words(&self) -> &'static [(&'static str, &'static str)];
}

/// The front end of a kind. `None` for the kinds with the spec of a Kanary.
pub(crate) fn of(kind: KanaryKind) -> Option<&'static dyn FrontEnd> {
    match kind {
        KanaryKind::Deployment | KanaryKind::Statefulset | KanaryKind::OldDeployment | KanaryKind::Daemonset => None,
        KanaryKind::CanaryApp => Some(&canary_app::CanaryApp),
        KanaryKind::CanaryDeployment => Some(&canary_deployment::CanaryDeployment),
    }
}

/// A spec in the words of the engine.
pub(crate) struct Translated {
    /// A [`KanarySpec`](crate::api::KanarySpec). What could not be read is absent.
    pub(crate) spec: Value,
    /// What users of a Kanary cannot set.
    pub(crate) frame: Frame,
    /// What is wrong with the fields of the user.
    pub(crate) problems: Vec<Invalid>,
}

/// What a front end adds to its translated spec.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a property of a kind of its own")]
pub struct Frame {
    /// What users call the version in the spec, such as its image.
    pub version: String,
    /// Name of the canary.
    pub canary: String,
    /// Labels of the canary and of its pods, in addition to those of the engine.
    pub canary_labels: Labels,
    /// The tracks, if the canary exists between runs as well.
    pub tracked: Option<Box<Tracked>>,
    /// Whether a query that is not answered fails the run.
    pub fails_unanswered: bool,
    /// The objects that exist beyond a run.
    pub kept: Vec<Kept>,
    /// Kind and name of objects that exist beyond a run with another spec only. They are deleted in this order, each once the one before
    /// it is out of use.
    pub unwanted: Vec<(Resource, String)>,
    /// The subsets of the production Service between which the route splits requests.
    pub subsets: Option<Subsets>,
}

/// Subsets of one Service, as `<Service>/<subset>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subsets {
    /// The target's pods.
    pub production: String,
    /// The canary's pods.
    pub canary: String,
}

/// An object that exists beyond a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// Its kind.
    pub resource: Resource,
    /// Its name.
    pub name: String,
    /// The fields that are put back when somebody changes them. All others belong to whoever sets them.
    pub keep: Value,
    /// The fields that it is created with, in addition to `keep`. `None` if it is not created here.
    pub create: Option<Value>,
    /// Fields of `keep` that belong to the run while it holds something in the object, as JSON pointers. Only a route has any.
    pub of_run: &'static [&'static str],
    /// Whether an object that exists is changed only once those that are not wanted any more are gone.
    pub changes_last: bool,
}

impl Kept {
    /// The object: `Service/shop`.
    #[must_use]
    pub fn key(&self) -> String {
        self.resource.key(&self.name)
    }
}

/// The facts from which a front end tells its users about a run.
pub(crate) struct Told<'a> {
    /// The translated spec's frame.
    pub(crate) frame: &'a Frame,
    /// The template of the spec, and its hash.
    pub(crate) template: (&'a WorkloadTemplate, &'a str),
    /// The validation items of the spec.
    pub(crate) items: &'a [Item],
    /// The status that was read.
    pub(crate) former: &'a KanaryStatus,
    /// `metadata.generation` of the object.
    pub(crate) generation: i64,
    /// Whether the spec is valid.
    pub(crate) is_sound: bool,
    /// The time of the decision, for transitions of conditions.
    pub(crate) now: Timestamp,
}

impl Told<'_> {
    /// Sets a condition that only this kind of front end has.
    pub(crate) fn set(&self, next: &mut KanaryStatus, condition: &str, value: bool, (reason, message): (&str, &str)) {
        let set = Condition {
            type_: condition.to_owned(),
            status: if value { "True" } else { "False" }.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            last_transition_time: Time(self.now),
            observed_generation: Some(self.generation),
        };
        match next.conditions.iter_mut().find(|known| known.type_ == condition) {
            Some(known) => *known = set,
            None => next.conditions.push(set),
        }
    }
}

/// A message of the engine as users of this kind know its terms.
#[must_use]
pub fn in_words_of(kind: KanaryKind, message: String) -> String {
    match of(kind) {
        Some(front) => in_words(front, message),
        None => message,
    }
}

/// A message of the engine in the words of a front end.
pub(crate) fn in_words(front: &dyn FrontEnd, mut message: String) -> String {
    for (term, word) in front.words() {
        if message.contains(term) {
            message = message.replace(term, word);
        }
    }
    message
}

/// Reads the fields of an object, and leaves out those that cannot be read. All fields of `T` have to be optional.
fn fields<T: DeserializeOwned + Default>(raw: &Value, problems: &mut Vec<Invalid>) -> T {
    if let Ok(all) = serde_json::from_value(raw.clone()) {
        return all;
    }
    let mut readable = Map::new();
    for (name, field) in raw.as_object().into_iter().flatten() {
        let alone = Map::from_iter([(name.clone(), field.clone())]);
        match serde_json::from_value::<T>(Value::Object(alone)) {
            Ok(_) => drop(readable.insert(name.clone(), field.clone())),
            Err(error) => problems.push(Invalid::spec(format!("spec.{name}: {error}"))),
        }
    }
    serde_json::from_value(Value::Object(readable)).unwrap_or_default()
}

/// A required field.
fn required<T>(field: Option<T>, name: &str, problems: &mut Vec<Invalid>) -> Option<T> {
    if field.is_none() {
        problems.push(Invalid::spec(format!("spec.{name} is missing: set it")));
    }
    field
}

#[cfg(test)]
mod tests;
