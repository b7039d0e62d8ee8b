//! Edits of a Kanary's spec that apply only to the version on which they were decided.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use kanary_core::api::{Kanary, KanaryKind};
use kube::{
    api::{Patch, PatchParams},
    runtime::wait::await_condition,
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    cluster::{Cluster, Found, said},
    exit::Exit,
    run,
    terminal::print,
};

/// How often an edit is decided anew because the Kanary changed in between.
const ATTEMPTS: usize = 5;

/// How long the controller may take to report on an edit.
const PATIENCE: Duration = Duration::from_secs(30);

/// Flags of commands that edit a Kanary.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Guard {
    /// Only if this is the present run, as `status` shows it. Without this flag it is the run that the command reads.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) run: Option<i64>,
    /// Say what would be done, and have the API server check it, but store nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// What a command does to a Kanary.
#[derive(Debug, PartialEq)]
pub(crate) enum Plan {
    /// Nothing, for this reason.
    Nothing(String),
    /// One edit.
    Edit(Edit),
    /// Two edits. The controller has to see the first before the second, or it would count the verdict for an earlier run.
    Renew(Edit, Edit),
}

/// An edit: operations of a JSON patch, and what they come to.
#[derive(Debug, PartialEq)]
pub(crate) struct Edit {
    pub(crate) operations: Vec<Value>,
    pub(crate) done: String,
}

enum Written {
    Stored(Box<Found>),
    /// Somebody else was faster.
    Changed,
}

/// Decides on a fresh copy of the Kanary and edits it. The decision is made again if the Kanary changes in between, but never for
/// another run or another spec than the one that was there at first.
pub(crate) async fn apply(
    cluster: &Cluster,
    name: &str,
    guard: &Guard,
    decide: impl Fn(&Found) -> anyhow::Result<Plan>,
) -> anyhow::Result<Exit> {
    let mut found = cluster.find(name).await?;
    let first = found.parsed.clone();
    if let Some(wanted) = guard.run {
        let number = run::number(&first);
        ensure!(
            number == wanted && run::Outcome::of(&first) != run::Outcome::Unseen,
            "run {wanted} of {name} is not the present one (run {number}, status {}): look at it again with `kubectl kanary status \
             {name}`",
            run::shown(&first).0
        );
    }
    for _ in 0..ATTEMPTS {
        let (edit, then) = match decide(&found)? {
            Plan::Nothing(why) => {
                print(&format!("{name}: nothing to do: {why}\n"))?;
                return Ok(Exit::Done);
            }
            Plan::Edit(edit) => (edit, None),
            Plan::Renew(first, then) => (first, Some(then)),
        };
        possible(found.parsed.key.kind, &edit)?;
        if let Written::Stored(stored) = write(cluster, &found, &edit, guard.dry_run).await? {
            announce(name, &edit, guard.dry_run)?;
            if let Some(then) = then {
                renew(cluster, *stored, &then, guard.dry_run).await?;
            }
            return Ok(Exit::Done);
        }
        found = cluster.find(name).await?;
        let now = &found.parsed;
        ensure!(
            (&now.uid, now.generation, now.status.run) == (&first.uid, first.generation, first.status.run),
            "{name} was changed by somebody else at the same time, and nothing was done: look at it again with `kubectl kanary \
             status {name}`"
        );
    }
    bail!("the status of {name} changes too fast: nothing was done; try again")
}

/// A front end has fields of its own, and an API server drops others without a word.
fn possible(kind: KanaryKind, edit: &Edit) -> anyhow::Result<()> {
    let paths = edit
        .operations
        .iter()
        .filter_map(|operation| operation["path"].as_str());
    let mut missing = paths.filter(|path| path.starts_with("/spec/") && *path != "/spec/retry");
    if let Some(path) = missing.next().filter(|_| kind.is_front_end()) {
        bail!(
            "a {} has no {}: nothing was done",
            kind.as_str(),
            path.trim_start_matches('/').replace('/', ".")
        );
    }
    Ok(())
}

/// Makes the second edit once the controller has seen the first.
async fn renew(cluster: &Cluster, first: Found, then: &Edit, dry_run: bool) -> anyhow::Result<()> {
    let name = first.name().to_owned();
    if dry_run {
        return announce(&name, then, true);
    }
    let (kind, generation) = (first.parsed.key.kind, first.parsed.generation);
    let is_seen = move |object: Option<&Kanary>| {
        let observed = object.and_then(|object| object.status.as_ref()?.get("observedGeneration")?.as_i64());
        observed.is_some_and(|observed| observed >= generation)
    };
    let removed = "the verdict of an earlier run was removed, and the new one was not given";
    let seen = await_condition(cluster.kanaries(kind), &name, is_seen);
    let seen = timeout(PATIENCE, seen).await;
    seen.with_context(|| {
        let secs = PATIENCE.as_secs();
        format!("{removed}: the controller did not report on it within {secs} s; see whether it runs, and try again")
    })?
    .with_context(|| removed.to_owned())?;
    let found = cluster.find(&name).await?;
    let (now, then_run) = (&found.parsed, first.parsed.status.run);
    ensure!(
        (&now.uid, now.generation, now.status.run) == (&first.parsed.uid, generation, then_run),
        "{removed}: somebody else changed {name} at the same time; look at it again"
    );
    match write(cluster, &found, then, false).await? {
        Written::Stored(_) => announce(&name, then, false),
        Written::Changed => bail!("{removed}: {name} changed at the same time; look at it, and try again"),
    }
}

fn announce(name: &str, edit: &Edit, dry_run: bool) -> anyhow::Result<()> {
    let suffix = if dry_run { " (dry run: nothing was stored)" } else { "" };
    Ok(print(&format!("{name}: {}{suffix}\n", edit.done))?)
}

async fn write(cluster: &Cluster, found: &Found, edit: &Edit, dry_run: bool) -> anyhow::Result<Written> {
    let parsed = &found.parsed;
    let mut operations = vec![
        json!({"op": "test", "path": "/metadata/uid", "value": parsed.uid}),
        json!({"op": "test", "path": "/metadata/resourceVersion", "value": parsed.resource_version}),
    ];
    operations.extend(edit.operations.iter().cloned());
    let patch = serde_json::from_value(Value::Array(operations)).context("the edit is no JSON patch")?;
    let params = PatchParams {
        dry_run,
        field_manager: Some("kubectl-kanary".to_owned()),
        ..PatchParams::default()
    };
    let kind = parsed.key.kind;
    let api = cluster.kanaries(kind);
    match api.patch(found.name(), &params, &Patch::<Value>::Json(patch)).await {
        Ok(object) => Ok(Written::Stored(Box::new(Found::of(kind, object)?))),
        Err(kube::Error::Api(status)) if matches!(status.code, 409 | 422) => {
            // A failed test and a refused value have the same code.
            let now = cluster.find(found.name()).await?;
            if now.parsed.resource_version == parsed.resource_version {
                return Err(said(
                    kube::Error::Api(status),
                    &format!("could not edit {}", found.name()),
                ));
            }
            Ok(Written::Changed)
        }
        Err(error) => Err(said(error, &format!("could not edit {}", found.name()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_front_end_is_not_edited_in_fields_that_it_does_not_have() {
        let edit = |path: &str| Edit {
            operations: vec![
                json!({"op": "test", "path": "/metadata/uid", "value": "u"}),
                json!({"op": "add", "path": path, "value": true}),
            ],
            done: String::new(),
        };
        possible(KanaryKind::Deployment, &edit("/spec/paused")).unwrap();
        possible(KanaryKind::CanaryApp, &edit("/spec/retry")).unwrap();
        let refused = possible(KanaryKind::CanaryApp, &edit("/spec/paused")).unwrap_err();
        assert_eq!(refused.to_string(), "a CanaryApp has no spec.paused: nothing was done");
    }
}
