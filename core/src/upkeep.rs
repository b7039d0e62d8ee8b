//! Objects that a front end keeps beyond its runs: creates those that are missing, puts the fields of the front end back, and touches
//! none that belong to somebody else. Nothing watches most of them, so they are read before a run and now and then. `moving` deletes
//! those of a former spec.

mod moving;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::{
    decision::{Action, Decision, Keep, KeepWhat, Need},
    front_ends::{Frame, Kept},
    integrity::{self, controller, controls},
    observation::{KeptFound, KeptSeen, Refusal, RouteFound},
    problem::Problem,
    step::Step,
    template::without_nulls,
};
use crate::api::{Reason, names::SHARES};

/// The objects are read again after this time.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_mins(5);
/// The same while something is wrong with one.
const LOOK_SOON: SignedDuration = SignedDuration::from_secs(10);

/// What the objects need.
pub(super) enum Upkeep {
    /// Nothing before this time.
    Fine(Option<Timestamp>),
    /// This first.
    First(Box<Decision>),
    /// Something that only a user can change, so that nothing may begin.
    Blocked(Refusal),
}

/// Compares the objects of a front end with what they should be. An unsound spec does not say that.
pub(super) fn look(step: &Step<'_>) -> Upkeep {
    let Some(frame) = step.spec.frame.as_deref().filter(|_| step.spec.is_sound()) else {
        return Upkeep::Fine(None);
    };
    if step.refused().is_some() || frame.kept.is_empty() || moving::waits_for_run(step) {
        return Upkeep::Fine(None);
    }
    let read = || Upkeep::First(Box::new(Decision::needing(Need::Kept)));
    let seen = step.seen.kept.as_ref();
    let Some(seen) = seen.filter(|seen| seen.generation == step.kanary.generation) else {
        return read();
    };
    let Some(left) = moving::left(step, frame, seen) else {
        return read();
    };
    let (mut writes, mut problems) = (Vec::new(), Vec::new());
    for kept in &frame.kept {
        match compare(step, kept, seen, !left.is_empty()) {
            None => return read(),
            Some(Ok(write)) => writes.extend(write),
            Some(Err(problem)) => problems.push(problem),
        }
    }
    let patience = match (problems.as_slice(), left.as_slice()) {
        ([], []) => LOOK_AGAIN,
        ([], _) => moving::patience(seen),
        _ => LOOK_SOON,
    };
    let next = seen.at.checked_add(patience).ok();
    let is_old = next.is_some_and(|next| next <= step.now) || !writes.is_empty() || is_contradicted(step, frame);
    if is_old && !seen.live {
        return read();
    }
    if let Some(problem) = Problem::all(problems) {
        return blocked(step, problem, next);
    }
    if !left.is_empty() {
        return moving::next(step, (frame, seen), (writes, &left), next);
    }
    if writes.is_empty() {
        return Upkeep::Fine(next);
    }
    moving::last(step, (frame, seen), writes)
}

fn blocked(step: &Step<'_>, Problem { reason, message }: Problem, next: Option<Timestamp>) -> Upkeep {
    Upkeep::Blocked(Refusal {
        reason,
        message,
        retry_at: next.unwrap_or(step.now),
        uncreated_since: None,
        about: step.kept_objects(),
    })
}

fn write(writes: Vec<Keep>) -> Upkeep {
    Upkeep::First(Box::new(Decision {
        actions: writes.into_iter().map(Action::Keep).collect(),
        ..Decision::default()
    }))
}

/// What one object needs. `None` if it is not known. `moves` says that objects of a former spec are still there.
fn compare(step: &Step<'_>, kept: &Kept, seen: &KeptSeen, moves: bool) -> Option<Result<Option<Keep>, Problem>> {
    let what = format!("{} {}", kept.resource.kind, kept.name);
    let problem = |reason, message| Some(Err(Problem::new(reason, message)));
    match seen.objects.get(&kept.key())? {
        KeptFound::Missing => Some(Ok(created(step, kept))),
        KeptFound::NoKind => {
            let (plural, group) = (kept.resource.plural, kept.resource.group);
            let message = format!(
                "{what} is needed, and this cluster does not have the CustomResourceDefinition {plural}.{group}: install it"
            );
            problem(Reason::RouteKindMissing, message)
        }
        KeptFound::Forbidden(why) => problem(
            Reason::RouteForbidden,
            format!("{why}: give Kanary the rights of the value kinds of the chart"),
        ),
        KeptFound::There(object) => Some(match foreign(step, object, &what) {
            Some(problem) => Err(problem),
            None if moves && kept.changes_last => Ok(None),
            None => Ok(put_back(kept, object, of_run(kept, object))),
        }),
    }
}

/// Why an object of this name is not touched.
fn foreign(step: &Step<'_>, object: &Value, what: &str) -> Option<Problem> {
    let controller = controller(object);
    if controls(step, object) {
        let is_deleting = object.pointer("/metadata/deletionTimestamp").is_some();
        return is_deleting.then(|| {
            let message = format!("{what} is being deleted: it is created again once it is gone");
            Problem::new(Reason::NameTaken, message)
        });
    }
    let text = |owner: &Value, field: &str| owner[field].as_str().unwrap_or_default().to_owned();
    let whose = controller.map_or_else(
        || "has no owner, so it is not this Kanary's".to_owned(),
        |owner| {
            format!(
                "belongs to {}/{}, not to this Kanary",
                text(owner, "kind"),
                text(owner, "name")
            )
        },
    );
    let message = format!("{what} exists and {whose}: delete it, or give this Kanary another name");
    Some(Problem::new(Reason::NameTaken, message))
}

fn created(step: &Step<'_>, kept: &Kept) -> Option<Keep> {
    let mut body = kept.create.clone()?;
    merge(&mut body, &kept.keep);
    merge(
        &mut body,
        &json!({
            "apiVersion": kept.resource.api_version(),
            "kind": kept.resource.kind,
            "metadata": {
                "name": kept.name,
                "namespace": step.kanary.key.namespace,
                "ownerReferences": [step.kanary.owner_reference()],
            },
        }),
    );
    Some(Keep {
        resource: kept.resource,
        name: kept.name.clone(),
        what: KeepWhat::Create,
        body: without_nulls(body),
    })
}

/// The fields of an object that belong to a run now: those of its route.
fn of_run(kept: &Kept, object: &Value) -> &'static [&'static str] {
    let annotations = object.pointer("/metadata/annotations");
    let has_share = annotations.is_some_and(|all| all.get(SHARES).is_some());
    if has_share { kept.of_run } else { &[] }
}

/// The merge patch that puts the fields of the front end back.
fn put_back(kept: &Kept, object: &Value, of_run: &[&str]) -> Option<Keep> {
    let mut keep = kept.keep.clone();
    for pointer in of_run {
        remove(&mut keep, pointer);
    }
    let mut body = difference(&keep, object, false)?;
    merge(&mut body, &version(object));
    Some(Keep {
        resource: kept.resource,
        name: kept.name.clone(),
        what: KeepWhat::Patch,
        body,
    })
}

/// The version of an object that was read, as the precondition of a write.
fn version(object: &Value) -> Value {
    let metadata = &object["metadata"];
    json!({"metadata": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}})
}

fn remove(value: &mut Value, pointer: &str) {
    let Some((parent, name)) = pointer.rsplit_once('/') else {
        return;
    };
    if let Some(fields) = value.pointer_mut(parent).and_then(Value::as_object_mut) {
        fields.remove(name);
    }
}

/// The merge patch after which everything in `keep` is in `live`. A null in `keep` is a field that is not there, which an API server
/// refuses in a list and in a new object. `exact` says that nothing else may be there: another entry of a
/// selector selects fewer pods.
fn difference(keep: &Value, live: &Value, exact: bool) -> Option<Value> {
    let (Value::Object(keep), Value::Object(live)) = (keep, live) else {
        return (!is_within(keep, live)).then(|| without_nulls(keep.clone()));
    };
    let changed = keep.iter().filter_map(|(name, value)| {
        let present = live.get(name).unwrap_or(&Value::Null);
        Some((name.clone(), difference(value, present, name == "selector")?))
    });
    let others = live.keys().filter(|name| exact && !keep.contains_key(*name));
    let patch: Map<_, _> = changed.chain(others.map(|name| (name.clone(), Value::Null))).collect();
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// Whether everything in `keep` is in `live`. An API server adds defaults to the entries of a list.
fn is_within(keep: &Value, live: &Value) -> bool {
    match (keep, live) {
        (Value::Object(keep), Value::Object(live)) => keep
            .iter()
            .all(|(name, value)| is_within(value, live.get(name).unwrap_or(&Value::Null))),
        (Value::Array(keep), Value::Array(live)) => {
            keep.len() == live.len() && keep.iter().zip(live).all(|(keep, live)| is_within(keep, live))
        }
        (keep, live) => keep == live,
    }
}

fn merge(under: &mut Value, over: &Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (name, value) in over {
                merge(under.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (under, over) => under.clone_from(over),
    }
}

/// Whether what watches report differs from what was read.
fn is_contradicted(step: &Step<'_>, frame: &Frame) -> bool {
    let target = step.seen.target.as_ref().filter(|target| !target.deleting);
    let service = step.seen.service.as_ref().filter(|service| !service.deleting);
    frame.kept.iter().any(|kept| {
        let name = Some(&kept.name);
        match kept.resource.kind {
            "Service" if name == step.spec.service.as_ref() => {
                let selector = service.map(|service| json!(service.selector));
                let ports = service.map(|service| json!(service.ports));
                let at = |field: &str| kept.keep.pointer(field).unwrap_or(&Value::Null);
                selector.as_ref() != Some(at("/spec/selector"))
                    || !ports.is_some_and(|ports| is_within(at("/spec/ports"), &ports))
            }
            "Deployment" if name == Some(&step.spec.target.name) => target.map_or(kept.create.is_some(), |target| {
                let present = json!({"metadata": {"labels": target.labels}, "spec": {"replicas": target.replicas}});
                !integrity::is_ours(step, target.owner.as_ref()) || difference(&kept.keep, &present, false).is_some()
            }),
            kind => step.seen.route.as_ref().is_some_and(|route| match &route.found {
                RouteFound::Missing(route) => route.kind.as_str() == kind && Some(&route.name) == name,
                _ => false,
            }),
        }
    })
}

#[cfg(test)]
mod tests;
