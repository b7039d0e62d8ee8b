//! The rollout history of a target.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::PodTemplateSpec, apimachinery::pkg::apis::meta::v1::LabelSelector};
use kanary_core::{
    ParsedKanary,
    api::{KanaryStatus, names::PROMOTED_BY},
    hash,
    spec::Spec,
};
use kube::{
    Api, Resource, ResourceExt,
    api::{DynamicObject, ListParams},
    core::Selector,
};
use serde_json::Value;

use super::Observer;
use crate::{
    cache::{Revision, Workload},
    cluster::{
        client::{CALL_TIMEOUT, within},
        error::ApiError,
    },
};

impl Observer<'_> {
    /// The rollout history of the target, the newest revision first.
    pub(super) async fn history<K: Workload>(
        &self,
        kanary: &ParsedKanary,
        spec: &Spec,
        target: &DynamicObject,
    ) -> Result<Vec<Past>, ApiError> {
        let namespace = &kanary.key.namespace;
        let selector: LabelSelector = target
            .data
            .pointer("/spec/selector")
            .and_then(|selector| serde_json::from_value(selector.clone()).ok())
            .unwrap_or_default();
        let Ok(selector) = Selector::try_from(selector) else {
            return Ok(Vec::new());
        };
        let api: Api<K::Revision> = Api::namespaced(self.client.clone(), namespace);
        let history = within(CALL_TIMEOUT, api.list(&ListParams::default().labels_from(&selector))).await;
        let history = history
            .map_err(|error| ApiError::new("list", K::Revision::kind(&()), namespace, &spec.target.name, error))?;
        let is_targets = |revision: &K::Revision| {
            revision
                .owner_references()
                .iter()
                .any(|owner| Some(&owner.uid) == target.metadata.uid.as_ref())
        };
        let mut history: Vec<_> = history.items.into_iter().filter(is_targets).collect();
        history.sort_by_key(|revision| std::cmp::Reverse(revision.number()));
        Ok(history.iter().map(Past::of).collect())
    }
}

/// A revision in the rollout history.
pub(super) struct Past {
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) template: Option<PodTemplateSpec>,
}

impl Past {
    pub(super) fn of(revision: &impl Revision) -> Self {
        Self {
            annotations: revision.annotations().clone(),
            template: revision.template(),
        }
    }
}

/// The newest revision other than the promoted one, as in `kubectl rollout undo`; its controller may not have created the
/// promoted one yet. `None` if the promotion changed nothing, because that revision would then be older than the previous
/// state.
///
/// A run in place stores which template the target had, so that is the one.
pub(super) fn former_template(history: &[Past], status: &KanaryStatus) -> Option<Value> {
    if let Some(record) = &status.in_place {
        return with_hash(history, &record.former_hash);
    }
    let mut templates = history.iter().filter_map(template);
    let promoted = status.promoted_hash.as_ref()?;
    if status.target_hash.as_ref() == Some(promoted) {
        return None;
    }
    templates.find(|template| hash::of(template) != *promoted)
}

/// The template that a run in place gave the target. `written` is its hash, if it is known. Otherwise it is the first one with the
/// annotation of the run, which the revision got from the target.
pub(super) fn tried_template(history: &[Past], kanary: &ParsedKanary, written: Option<&String>) -> Option<Value> {
    if let Some(written) = written {
        return with_hash(history, written);
    }
    let begun = kanary.status.in_place.as_ref()?.begun();
    let is_of_run = |past: &&Past| past.annotations.get(PROMOTED_BY) == Some(&begun);
    template(history.iter().rev().find(is_of_run)?)
}

fn with_hash(history: &[Past], wanted: &str) -> Option<Value> {
    history
        .iter()
        .filter_map(template)
        .find(|template| hash::of(template) == wanted)
}

fn template(past: &Past) -> Option<Value> {
    serde_json::to_value(past.template.as_ref()?).ok()
}
