//! A Kanary of the old group is replaced in steps, each of which may be the last: the command then goes on where it was.
//!
//! 1. The successor is created, paused and marked with the uid of the old Kanary. The controller creates nothing for it.
//! 2. The successor gets a status with the former run, if there was one. The controller does not run its template again.
//! 3. The old Kanary is deleted in the version that was judged. Until then nothing is lost.
//! 4. The mark and the pause are taken off.

use std::time::Duration;

use anyhow::{Context, bail};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kanary_core::{
    ParsedKanary,
    api::{Kanary, KanaryKind, names::MIGRATES},
    decision::ObjectKind,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, Preconditions},
    core::{ApiResource, GroupVersionKind},
    runtime::{conditions, wait::await_condition},
};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    manifest,
    rewrite::{Rewritten, rewrite},
    standing::Standing,
};
use crate::{
    check::Checker,
    cluster::{Cluster, said},
};

/// How often a status is written anew because the controller wrote about the successor in between.
const ATTEMPTS: usize = 5;

/// How long the old Kanary may take to go.
const PATIENCE: Duration = Duration::from_mins(1);

const MANAGER: &str = "kubectl-kanary";

/// Kinds of what a canary has beside it.
const BESIDE: [Listed<'_>; 2] = [
    ("", "v1", "Service", "services"),
    (
        "autoscaling",
        "v2",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
    ),
];

/// The same, for a canary that KEDA scales. The kind need not exist otherwise.
const SCALED_OBJECTS: Listed<'_> = ("keda.sh", "v1alpha1", "ScaledObject", "scaledobjects");

/// What is to be done about a Kanary of the old group.
pub(super) enum Move {
    /// It cannot be replaced.
    Blocked(String),
    /// Its run has to end first.
    Waits(String),
    Ready(Box<Ready>),
}

/// A Kanary that can be replaced.
pub(super) struct Ready {
    old: Kanary,
    new: Value,
    standing: Standing,
    /// What changes.
    pub(super) details: Vec<String>,
}

/// How far a replacement came.
pub(super) enum Moved {
    Done,
    /// It has to be judged anew.
    Stopped(String),
}

/// Whether the migration to this Kanary has begun and not ended.
pub(super) fn is_begun(new: &Kanary) -> bool {
    new.annotations().contains_key(MIGRATES)
}

/// Whether `new` replaces `old`.
pub(super) fn is_of(new: &Kanary, old: &Kanary) -> bool {
    new.namespace() == old.namespace() && old.uid().is_some_and(|uid| mark(new).0 == uid)
}

/// The uid in the mark, and whether the successor is to stay paused.
fn mark(new: &Kanary) -> (String, bool) {
    let text = new.annotations().get(MIGRATES).map(String::as_str).unwrap_or_default();
    match text.split_once(' ') {
        Some((uid, _)) => (uid.to_owned(), true),
        None => (text.to_owned(), false),
    }
}

/// A kind of objects, such as `("apps", "v1", "Deployment", "deployments")`.
type Listed<'a> = (&'a str, &'a str, &'a str, &'a str);

/// The names of the objects of a kind that a Kanary owns.
async fn owned(
    cluster: &Cluster,
    namespace: &str,
    uid: &str,
    (group, version, kind, plural): Listed<'_>,
) -> anyhow::Result<Vec<String>> {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
    let api: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), namespace, &resource);
    let listed = api.list_metadata(&ListParams::default()).await;
    let listed = listed.map_err(|error| said(error, &format!("could not list {plural} in {namespace}")))?;
    let is_owner = |meta: &ObjectMeta| meta.owner_references.iter().flatten().any(|owner| owner.uid == uid);
    let owned = listed.items.into_iter().filter(|object| is_owner(&object.metadata));
    Ok(owned.map(|object| object.name_any()).collect())
}

fn kanaries(cluster: &Cluster, kind: KanaryKind, namespace: &str) -> Api<Kanary> {
    Api::namespaced_with(cluster.client.clone(), namespace, &kind)
}

/// Why a Kanary whose name another one has in the new group is left alone.
fn another(there: &Kanary, namespace: &str) -> String {
    let (kind, name) = (KanaryKind::Deployment, there.name_any());
    let delete = format!("kubectl -n {namespace} delete kanarydeployment.kanary.k8s.io {name}");
    if is_begun(there) {
        format!(
            "it was created again after its migration to {kind} {name} had begun, which is held as long as there are two: delete it with \
             `{delete}` once its run has ended, and run this command again"
        )
    } else {
        format!(
            "there is another {kind} {name}, to which this command has not migrated it: it was there before, or a tool has created the \
             old one again. If it replaces the old one, delete that with `{delete}` once its run has ended"
        )
    }
}

impl Move {
    /// What is to be done. Only reads.
    pub(super) async fn plan(cluster: &Cluster, checker: &Checker, old: Kanary) -> anyhow::Result<Self> {
        let (namespace, name, uid) = (
            old.namespace().unwrap_or_default(),
            old.name_any(),
            old.uid().unwrap_or_default(),
        );
        let Rewritten { kanary: new, changes } = rewrite(&manifest(KanaryKind::OldDeployment, &old));
        let report = checker.check(KanaryKind::Deployment, &new).await;
        if !report.problems.is_empty() {
            return Ok(Self::Blocked(report.problems.join("; ")));
        }
        let there = kanaries(cluster, KanaryKind::Deployment, &namespace)
            .get_opt(&name)
            .await;
        let there = there.map_err(|error| said(error, &format!("could not read {name}")))?;
        if let Some(there) = there.filter(|there| !is_of(there, &old)) {
            return Ok(Self::Blocked(another(&there, &namespace)));
        }
        let spec = parsed(&new, &namespace)?.spec;
        // The canary is of the same kind.
        let (target, of_target) = (&spec.target, spec.target.kind);
        let workloads = ("apps", "v1", of_target.as_str(), of_target.plural());
        let canaries = owned(cluster, &namespace, &uid, workloads).await?;
        if canaries.contains(&target.name) {
            return Ok(Self::Blocked(format!(
                "{target} has an ownerReference to it, and would be deleted with it: remove the reference first"
            )));
        }
        let standing = match Standing::of(&old, !canaries.is_empty()) {
            Ok(Standing::UnderWay(why)) => return Ok(Self::Waits(why)),
            Ok(standing) => standing,
            Err(error) => return Ok(Self::Blocked(error.to_string())),
        };
        let mut details = changes;
        let mut go = vec![(of_target.as_str(), canaries)];
        let scaled = (spec.scale.autoscaler() == Some(ObjectKind::ScaledObject)).then_some(SCALED_OBJECTS);
        for beside in BESIDE.into_iter().chain(scaled) {
            go.push((beside.2, owned(cluster, &namespace, &uid, beside).await?));
        }
        for (kind, names) in go {
            let names = names.into_iter();
            details.extend(names.map(|name| format!("{kind} {name} of its canary is deleted with it")));
        }
        Ok(Self::Ready(Box::new(Ready {
            old,
            new,
            standing,
            details,
        })))
    }
}

/// The successor as the controller reads it.
fn parsed(new: &Value, namespace: &str) -> anyhow::Result<ParsedKanary> {
    let mut object: Kanary = serde_json::from_value(new.clone()).context("the new manifest is no object")?;
    object.metadata.namespace.get_or_insert_with(|| namespace.to_owned());
    object.metadata.uid.get_or_insert_default();
    ParsedKanary::parse(KanaryKind::Deployment, &object).map_err(anyhow::Error::msg)
}

impl Ready {
    /// What becomes of its run.
    pub(super) fn outcome(&self) -> String {
        match &self.standing {
            Standing::Settled(run) => run.outcome(),
            Standing::UnderWay(why) => why.clone(),
        }
    }

    /// Replaces the Kanary.
    pub(super) async fn apply(&self, cluster: &Cluster) -> anyhow::Result<Moved> {
        let (namespace, name) = (self.old.namespace().unwrap_or_default(), self.old.name_any());
        let api = kanaries(cluster, KanaryKind::Deployment, &namespace);
        if api.get_opt(&name).await?.is_none() {
            self.create(cluster, &namespace).await?;
        }
        self.write_status(cluster, &api, &name).await?;
        if let Some(why) = self.delete(cluster, &namespace, &name).await? {
            return Ok(Moved::Stopped(why));
        }
        let new = api
            .get(&name)
            .await
            .map_err(|error| said(error, &format!("could not read {name}")))?;
        finish(cluster, &new).await?;
        Ok(Moved::Done)
    }

    /// Creates the successor, paused and marked.
    async fn create(&self, cluster: &Cluster, namespace: &str) -> anyhow::Result<()> {
        let kind = KanaryKind::Deployment;
        let mut new = self.new.clone();
        let was_paused = new.pointer("/spec/paused") == Some(&json!(true));
        let uid = self.old.uid().unwrap_or_default();
        let mark = if was_paused { format!("{uid} paused") } else { uid };
        kanary_sim::patch::merge(
            &mut new,
            &json!({"metadata": {"annotations": {MIGRATES: mark}}, "spec": {"paused": true}}),
        );
        let object: DynamicObject = serde_json::from_value(new).context("the new manifest is no object")?;
        let gvk = GroupVersionKind::gvk(kind.api_group(), kind.version(), kind.as_str());
        let resource = ApiResource::from_gvk_with_plural(&gvk, kind.plural());
        let api: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), namespace, &resource);
        let params = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        let created = api.create(&params, &object).await;
        created.map_err(|error| said(error, &format!("could not create {kind} {}", object.name_any())))?;
        Ok(())
    }

    /// Gives the successor the record of the former runs. The controller may write about it at the same time.
    async fn write_status(&self, cluster: &Cluster, api: &Api<Kanary>, name: &str) -> anyhow::Result<()> {
        let Standing::Settled(run) = &self.standing else {
            return Ok(());
        };
        for _ in 0..ATTEMPTS {
            let new = api
                .get(name)
                .await
                .map_err(|error| said(error, &format!("could not read {name}")))?;
            let new = ParsedKanary::parse(KanaryKind::Deployment, &new).map_err(anyhow::Error::msg)?;
            let Some(status) = run.status(&new, cluster.now()) else {
                return Ok(());
            };
            let patch = json!([
                {"op": "test", "path": "/metadata/uid", "value": new.uid},
                {"op": "replace", "path": "/metadata/resourceVersion", "value": new.resource_version},
                {"op": "add", "path": "/status", "value": status},
            ]);
            let patch = Patch::<Value>::Json(serde_json::from_value(patch).context("the status is no JSON patch")?);
            match api.patch_status(name, &params(), &patch).await {
                Ok(_) => return Ok(()),
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(said(error, &format!("could not write the status of {name}"))),
            }
        }
        bail!("the status of {name} changes too fast: run the command again")
    }

    /// Deletes the old Kanary in the version that was judged. Returns why it is still there.
    async fn delete(&self, cluster: &Cluster, namespace: &str, name: &str) -> anyhow::Result<Option<String>> {
        let api = kanaries(cluster, KanaryKind::OldDeployment, namespace);
        let uid = self.old.uid().unwrap_or_default();
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(uid.clone()),
                resource_version: self.old.resource_version(),
            }),
            ..DeleteParams::default()
        };
        match api.delete(name, &params).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(None),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                return Ok(Some("it has changed in the meantime, and was left alone".to_owned()));
            }
            Err(error) => return Err(said(error, &format!("could not delete the old {name}"))),
        }
        let gone = timeout(PATIENCE, await_condition(api, name, conditions::is_deleted(&uid))).await;
        Ok(match gone {
            Ok(gone) => {
                gone.with_context(|| format!("could not watch the old {name}"))?;
                None
            }
            Err(_) => Some(format!("the old one is still there after {} s", PATIENCE.as_secs())),
        })
    }
}

fn params() -> PatchParams {
    PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

/// Takes the mark and the pause off a successor whose old Kanary is gone.
pub(super) async fn finish(cluster: &Cluster, new: &Kanary) -> anyhow::Result<()> {
    let (name, (_, stays_paused)) = (new.name_any(), mark(new));
    let api = kanaries(cluster, KanaryKind::Deployment, &new.namespace().unwrap_or_default());
    // Null removes the field.
    let paused = stays_paused.then_some(true);
    let patch = json!({"metadata": {"uid": new.uid(), "annotations": {MIGRATES: null}}, "spec": {"paused": paused}});
    let patched = api.patch(&name, &params(), &Patch::Merge(patch)).await;
    patched.map_err(|error| said(error, &format!("could not resume {name}")))?;
    Ok(())
}
