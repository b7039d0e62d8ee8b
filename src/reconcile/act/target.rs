//! Writes to a target: its template and its field ownership.

use kanary_core::{
    ParsedKanary,
    api::{
        WorkloadRef,
        names::{CHANGE_CAUSE, FIELD_MANAGER, PROMOTED_BY},
    },
    decision::SetTemplate,
    hash,
    observation::{Created, Likeness, LiveTarget},
    ownership,
    spec::Spec,
};
use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{Writer, json_patch, made, send::of};
use crate::{
    cache::{Workload, for_kind, template_hash},
    cluster::error::{ApiError, Class},
    shard::Right,
};

pub(super) fn json_pointer(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

impl Writer {
    /// The only write to a target's template. Its `test` operations ensure that it applies at most once, and only to the version
    /// that was read. Returns the hash of the resulting template from the response, because the cache may already contain a
    /// later version.
    pub(super) async fn set_template<K: Workload>(
        &self,
        namespace: &str,
        change: &SetTemplate,
        right: Right,
    ) -> Result<Option<Created>, ApiError> {
        let SetTemplate {
            target,
            uid,
            former,
            generation,
            ..
        } = change;
        let (verb, name) = ("set the template of", &target.name);
        let patch = json_patch(template_patch(change)).map_err(|e| {
            let error = kube::Error::SerdeError(e);
            ApiError::new(verb, K::kind(&()), namespace, name, error)
        })?;
        let done = self.patch::<K>(namespace, name, patch, verb, right).await;
        let error = match done {
            Ok(target) => return Ok(Some(made(&target))),
            Err(error) => error,
        };
        if error.class() != Class::Invalid {
            return Err(error);
        }
        // Find out whether the template was refused or the target has changed since it was read. Only a refused template is
        // reported to the user; after a change, the controller decides again.
        let Ok(now) = self.read::<K>(namespace, name).await else {
            return Err(error);
        };
        let same_version = generation.is_none() || now.meta().generation == *generation;
        let unchanged = same_version
            && now.meta().uid.as_ref() == Some(uid)
            && template_hash(&now) == hash::of(&typed_template(former));
        Err(if unchanged { error } else { error.into_conflict() })
    }

    /// Returns the target with the run's template as the API server would store it, with defaults and changes by admission
    /// policies. This is a dry run.
    ///
    /// # Errors
    ///
    /// The right ended, the target changed since it was read, or the request failed or timed out.
    pub async fn compare(
        &self,
        kanary: &ParsedKanary,
        spec: &Spec,
        live: &LiveTarget,
        right: Right,
    ) -> Result<Likeness, ApiError> {
        let namespace = &kanary.key.namespace;
        let failed = |error| {
            let verb = "dry-run the promotion of";
            let WorkloadRef { kind, name } = &spec.target;
            ApiError::new(verb, kind.as_str().into(), namespace, name, error)
        };
        let mut patch = unchanged(&live.uid, live.generation, &live.template).to_vec();
        patch.push(json!({"op": "replace", "path": "/spec/template", "value": spec.template.pod_template()}));
        let patch = json_patch(patch).map_err(|e| failed(kube::Error::SerdeError(e)))?;
        let params = PatchParams {
            dry_run: true,
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let sent = for_kind!(spec.target.kind, K => {
            let request = of::<K>(namespace).patch(&spec.target.name, &params, &patch);
            let sent = self.send::<K>(request, "patch", right).await;
            sent.map(|target| template_hash(&target))
        });
        match sent.map_err(failed) {
            Ok(hash) if hash == live.template_hash => Ok(Likeness::Same),
            Ok(_) => Ok(Likeness::Other),
            Err(error) if error.class() == Class::Invalid => Ok(Likeness::Unknown),
            Err(error) => Err(error),
        }
    }

    /// Transfers our ownership of template fields to the manager that applies the target, if there still is one.
    pub(super) async fn hand_over<K: Workload>(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
        right: Right,
    ) -> Result<(), ApiError> {
        let verb = "hand over the fields of";
        let failed = |error| ApiError::new(verb, K::kind(&()), namespace, name, error);
        let live = self.read::<K>(namespace, name).await.map_err(failed)?;
        let Some(entries) = ownership::hand_over(live.managed_fields()) else {
            return Ok(());
        };
        let patch = vec![
            json!({"op": "test", "path": "/metadata/uid", "value": uid}),
            json!({"op": "replace", "path": "/metadata/resourceVersion", "value": live.resource_version()}),
            json!({"op": "replace", "path": "/metadata/managedFields", "value": entries}),
        ];
        let patch: Patch<Value> = json_patch(patch).map_err(|e| failed(kube::Error::SerdeError(e)))?;
        let done = self.patch::<K>(namespace, name, patch, verb, right).await;
        done.map(drop)
    }
}

/// Tests that a target is as it was read: the generation counts the changes of its spec, so a template that was replaced and
/// restored is found too.
///
/// The API server compares values as text, after it has escaped `&`, `<` and `>` of its own. A test of the template itself would
/// therefore fail if it contains one of them. It is only the fallback for an object without a generation.
fn unchanged(uid: &str, generation: Option<i64>, template: &Value) -> [Value; 2] {
    let version = generation.map_or_else(
        || json!({"op": "test", "path": "/spec/template", "value": template}),
        |generation| json!({"op": "test", "path": "/metadata/generation", "value": generation}),
    );
    [json!({"op": "test", "path": "/metadata/uid", "value": uid}), version]
}

/// The JSON Patch of a promotion.
fn template_patch(change: &SetTemplate) -> Vec<Value> {
    let SetTemplate {
        uid,
        former,
        generation,
        template,
        annotated,
        marker,
        cause,
        partition,
        strategy_is_bare,
        version,
        ..
    } = change;
    let at = |annotation: &str| format!("/metadata/annotations/{}", json_pointer(annotation));
    let mut patch = unchanged(uid, *generation, former).to_vec();
    if let Some(version) = version {
        patch.push(json!({"op": "replace", "path": "/metadata/resourceVersion", "value": version}));
    }
    patch.push(json!({"op": "replace", "path": "/spec/template", "value": template}));
    if let Some(partition) = partition {
        let block = "/spec/updateStrategy/rollingUpdate";
        if *strategy_is_bare {
            patch.push(json!({"op": "add", "path": block, "value": {}}));
        }
        patch.push(json!({"op": "add", "path": format!("{block}/partition"), "value": partition}));
    }
    let annotations = [(PROMOTED_BY, marker), (CHANGE_CAUSE, cause)].into_iter();
    let annotations = annotations.filter(|(_, value)| !value.is_empty());
    if *annotated {
        patch.extend(annotations.map(|(name, value)| json!({"op": "add", "path": at(name), "value": value})));
    } else {
        let annotations: serde_json::Map<_, _> = annotations
            .map(|(name, value)| (name.to_owned(), json!(value)))
            .collect();
        patch.push(json!({"op": "add", "path": "/metadata/annotations", "value": annotations}));
    }
    patch
}

/// A template as this build parses it. Hashes are computed from this form.
#[must_use]
pub fn typed_template(template: &Value) -> Value {
    // Parsed from text like responses, because a second way to deserialize the type would double its compile time.
    serde_json::from_str::<k8s_openapi::api::core::v1::PodTemplateSpec>(&template.to_string())
        .and_then(serde_json::to_value)
        .unwrap_or_else(|_| template.clone())
}
