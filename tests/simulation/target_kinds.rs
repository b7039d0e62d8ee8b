//! The kinds of targets and of Kanaries that storms mix. A kind of targets is one line of [`TARGETS`], and a kind of Kanaries that a
//! controller serves only if it is told to one of [`OPTIONAL`].

use std::collections::{BTreeMap, BTreeSet};

use kanary_core::api::{KanaryKind, WorkloadKind};
use serde_json::{Value, json};

use crate::{
    case::{Case, End, Maker, merge},
    daemons,
    kinds::{Kind, passes},
    placed, sets,
    world::served,
};

/// A kind of targets, as its users know it.
#[derive(Debug)]
pub(crate) struct TargetKind {
    /// `kind` in a manifest.
    pub(crate) name: &'static str,
    /// The kind in the cluster: `deployments.apps`, …
    pub(crate) resource: &'static str,
    /// The field of a Kanary that names such a target, besides `targetRef`. Empty if there is none.
    pub(crate) field: &'static str,
    /// Whether its status has the time since when it is available.
    pub(crate) has_times: bool,
    /// How often a storm has it, in comparison with the others.
    weight: u8,
    /// Adds to a case what only this kind has.
    shape: fn(&mut fastrand::Rng, &mut Case),
    /// Cases that only this kind has.
    own: &'static [Kind],
}

/// Every kind. Deployments come first, and StatefulSets in place last.
pub(crate) static TARGETS: [TargetKind; 4] = [
    kind("Deployment", "deployments.apps", "deploymentName", 5, |_, _| {}, &[]),
    kind(
        "StatefulSet",
        "statefulsets.apps",
        "statefulSetName",
        2,
        sets::shape,
        sets::OWN,
    ),
    kind("DaemonSet", "daemonsets.apps", "", 2, daemons::shape, daemons::OWN),
    kind(
        "StatefulSet",
        "statefulsets.apps",
        "statefulSetName",
        2,
        placed::shape,
        placed::OWN,
    ),
];

/// Kanaries in another group, by `apiVersion` and `kind`.
const OPTIONAL: [(&str, &str); 2] = [
    ("kanary.k8s.io/v1alpha1", "KanaryDeployment"),
    ("kanary.k8s-operators.dev/v1alpha1", "KanaryDaemonset"),
];

const fn kind(
    name: &'static str,
    resource: &'static str,
    field: &'static str,
    weight: u8,
    shape: fn(&mut fastrand::Rng, &mut Case),
    own: &'static [Kind],
) -> TargetKind {
    TargetKind {
        name,
        resource,
        field,
        has_times: matches!(name.as_bytes(), b"Deployment"),
        weight,
        shape,
        own,
    }
}

impl TargetKind {
    /// The kind with this `kind` in a manifest.
    pub(crate) fn named(name: &str) -> &'static Self {
        let mut kinds = TARGETS.iter();
        kinds.find(|kind| kind.name == name).unwrap()
    }

    /// StatefulSets that run the template on some of their pods.
    pub(crate) fn in_place() -> &'static Self {
        &TARGETS[TARGETS.len() - 1]
    }

    /// The kind of an object in the cluster, if it is a kind of targets.
    pub(crate) fn of_resource(resource: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|kind| kind.resource == resource)
    }

    /// The kind with this part of a path: `deployments`, …
    pub(crate) fn of_plural(plural: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|kind| kind.plural() == plural)
    }

    /// `deployments`, …
    pub(crate) fn plural(&self) -> &'static str {
        self.resource.split('.').next().unwrap_or_default()
    }

    /// A case that passes, on a target of this kind.
    pub(crate) fn case(&'static self, make: &mut Maker<'_>, what: &'static str, ends: &[End]) -> Case {
        let case = passes(make).on(make.rng, self);
        case.with(|truth| (truth.what, truth.ends, truth.plain) = (what, ends.to_vec(), false))
    }

    fn any(rng: &mut fastrand::Rng) -> &'static Self {
        let sum: u8 = TARGETS.iter().map(|kind| kind.weight).sum();
        let mut left = rng.u8(..sum);
        let mut kinds = TARGETS.iter();
        let found = kinds.find(|kind| {
            let is_it = left < kind.weight;
            left = left.saturating_sub(kind.weight);
            is_it
        });
        found.unwrap()
    }
}

impl Default for &'static TargetKind {
    fn default() -> Self {
        &TARGETS[0]
    }
}

/// Whether a request creates a workload of a kind of targets: a canary, or a target that was missing.
pub(crate) fn creates_workload(head: &http::request::Parts) -> bool {
    let plural = head.uri.path().rsplit('/').next().unwrap_or_default();
    head.method == http::Method::POST && TargetKind::of_plural(plural).is_some()
}

/// Which targets the cases of a scenario have.
#[derive(Clone, Copy)]
pub(crate) enum Targets {
    /// All kinds, also in cases that only one of them has.
    All,
    /// All kinds.
    Mixed,
    /// One kind.
    Only(&'static str),
    /// StatefulSets, in place where a case can, also in cases of their own.
    InPlace,
}

impl Case {
    /// The same case for a target of another kind.
    pub(crate) fn on(mut self, rng: &mut fastrand::Rng, kind: &'static TargetKind) -> Self {
        self.truth.kind = kind;
        self.name_target(rng.bool());
        (kind.shape)(rng, &mut self);
        self
    }

    /// Adds fields to the spec of the target and to the template.
    pub(crate) fn shape(&mut self, spec: &Value) {
        merge(&mut self.target_patch, &json!({ "spec": spec }));
        merge(&mut self.manifest["spec"]["template"]["spec"], spec);
    }

    /// Writes into the Kanary which target it has.
    fn name_target(&mut self, by_reference: bool) {
        let (kind, name) = (self.truth.kind, self.truth.target.clone());
        let mut names = json!({"deploymentName": null, "statefulSetName": null, "targetRef": null});
        if kind.field.is_empty() {
            let is_default = !by_reference && self.manifest["kind"] == "KanaryDaemonset";
            daemons::name(&mut names, &name, is_default);
        } else if by_reference {
            names["targetRef"] = json!({"kind": kind.name, "name": name});
        } else {
            names[kind.field] = json!(name);
        }
        merge(&mut self.manifest["spec"], &names);
    }
}

/// Gives the cases targets of all kinds, and some of them Kanaries of an optional kind.
pub(crate) fn mix(rng: &mut fastrand::Rng, cases: &mut [Case], targets: Targets) {
    if matches!(targets, Targets::Only("Deployment")) {
        return;
    }
    for case in &mut *cases {
        let kind = match targets {
            Targets::Only(name) => TargetKind::named(name),
            Targets::InPlace => TargetKind::in_place(),
            _ => TargetKind::any(rng),
        };
        if kind.name != case.truth.kind.name {
            *case = case.clone().on(rng, kind);
        }
        if case.manifest["kind"] == "KanaryDeployment" && rng.u8(..4) == 0 {
            let (api_version, kind) = OPTIONAL[rng.usize(..OPTIONAL.len())];
            (case.manifest["apiVersion"], case.manifest["kind"]) = (json!(api_version), json!(kind));
            case.name_target(rng.bool());
        }
    }
    share_names(rng, cases);
    for case in cases
        .iter_mut()
        .filter(|_| matches!(targets, Targets::All | Targets::InPlace))
    {
        let kind = case.truth.kind;
        if !kind.own.is_empty() && rng.u8(..4) == 0 {
            *case = own(rng, case, kind);
        }
    }
}

/// A case that only this kind of targets has, in the place of another one.
fn own(rng: &mut fastrand::Rng, case: &Case, kind: &'static TargetKind) -> Case {
    let make = kind.own[rng.usize(..kind.own.len())];
    let mut maker = Maker {
        rng,
        name: case.name.clone(),
        target: case.app.clone(),
        suffix: "",
    };
    make(&mut maker)
}

/// Gives some targets the name of a target of another kind.
fn share_names(rng: &mut fastrand::Rng, cases: &mut [Case]) {
    let place = |case: &Case| (case.truth.kind.name, case.truth.target.clone());
    let mut taken: BTreeSet<_> = cases.iter().map(place).collect();
    let targets: BTreeMap<_, _> = cases
        .iter()
        .map(|case| (case.app.clone(), case.truth.kind.name))
        .collect();
    for case in cases {
        let mut others = targets.iter().filter(|(_, kind)| **kind != case.truth.kind.name);
        let other = others.find(|(name, _)| !taken.contains(&(case.truth.kind.name, (*name).clone())));
        if rng.u8(..3) > 0 || case.truth.target != case.app {
            continue;
        }
        if let Some((name, _)) = other {
            case.truth.target.clone_from(name);
            case.name_target(rng.bool());
            taken.insert(place(case));
        }
    }
}

/// Whether some target got the name of another one, and each of these that of a Deployment.
pub(crate) fn has_namesakes(cases: &[Case]) -> bool {
    let is_deployment = |case: &Case| case.truth.kind.name == "Deployment";
    let is_taken = |name: &str| {
        cases
            .iter()
            .any(|case| is_deployment(case) && case.truth.target == name)
    };
    let mut renamed = cases.iter().filter(|case| case.truth.target != case.app).peekable();
    renamed.peek().is_some() && renamed.all(|case| !is_deployment(case) && is_taken(&case.truth.target))
}

/// The kinds that replicas have to serve for these cases.
pub(crate) fn needed<'a>(cases: impl Iterator<Item = &'a Case>) -> (BTreeSet<KanaryKind>, BTreeSet<WorkloadKind>) {
    let mut kinds = served();
    for case in cases {
        let text = |field: &str| case.manifest[field].as_str().unwrap_or_default();
        kinds.0.extend(KanaryKind::of(text("apiVersion"), text("kind")));
        kinds.1.extend(WorkloadKind::parse(case.truth.kind.name));
    }
    kinds
}
