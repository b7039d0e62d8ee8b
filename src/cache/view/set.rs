//! Status of a StatefulSet: whether it is available and rolled out, and who rolls it out. It has no times.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{StatefulSet as KubeStatefulSet, StatefulSetStatus};
use kanary_core::observation::{Cause, SetRevision, SetView, Versions, Workload};

use super::{common, is_kanary};

/// Trims a StatefulSet.
#[must_use]
pub(in crate::cache) fn stateful_set(object: &KubeStatefulSet) -> Workload {
    let spec = object.spec.as_ref();
    Workload {
        rolled_out: rolled_out(object),
        versions: versions(object),
        cause: edited(object).map(Box::new),
        set: Some(Box::new(SetView {
            claims: claims(object),
            service: spec
                .and_then(|spec| spec.service_name.clone())
                .unwrap_or_default()
                .into(),
            on_delete: is_on_delete(object),
            partition: partition(object),
            start: spec.and_then(|spec| spec.ordinals.as_ref()?.start).unwrap_or_default(),
            min_ready: Duration::from_secs(
                spec.and_then(|spec| u64::try_from(spec.min_ready_seconds?).ok())
                    .unwrap_or_default(),
            ),
            forgets: spec.is_some_and(|spec| spec.revision_history_limit == Some(0)),
            replicas: object.status.as_ref().map_or(0, |status| status.replicas),
            whole: is_whole(object),
            at_rest: observed(object).is_some_and(|status| status.current_revision == status.update_revision),
            revision: observed(object).and_then(revision),
        })),
        ..common(object)
    }
}

fn claims(object: &KubeStatefulSet) -> Box<str> {
    let templates = object
        .spec
        .as_ref()
        .and_then(|spec| spec.volume_claim_templates.as_ref());
    templates
        .and_then(|templates| serde_json::to_string(templates).ok())
        .unwrap_or_default()
        .into()
}

fn is_on_delete(object: &KubeStatefulSet) -> bool {
    let strategy = object.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
    strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete")
}

fn partition(object: &KubeStatefulSet) -> i32 {
    let strategy = object.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    rolling.and_then(|rolling| rolling.partition).unwrap_or_default()
}

/// The status, if it is about the newest spec.
fn observed(object: &KubeStatefulSet) -> Option<&StatefulSetStatus> {
    let status = object.status.as_ref()?;
    let is_newest = status.observed_generation.unwrap_or_default() >= object.metadata.generation.unwrap_or_default();
    is_newest.then_some(status)
}

fn revision(status: &StatefulSetStatus) -> Option<SetRevision> {
    let of = |count: Option<i32>| count.unwrap_or_default();
    Some(SetRevision {
        name: status.update_revision.clone()?.into(),
        pods: [
            status.replicas,
            of(status.ready_replicas),
            of(status.available_replicas),
            of(status.updated_replicas),
        ],
    })
}

/// As in `kubectl rollout status`, whatever the update strategy: all replicas run the current template and are available.
fn rolled_out(object: &KubeStatefulSet) -> bool {
    let wanted = object.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    observed(object).is_some_and(|status| {
        let is_wanted = |count: Option<i32>| count.unwrap_or_default() == wanted;
        let counts = [
            status.updated_replicas,
            status.available_replicas,
            Some(status.replicas),
        ];
        counts.into_iter().all(is_wanted)
    })
}

/// How many pod templates a canary has had: with `OnDelete`, the current revision stays the first one. It says nothing else about
/// other StatefulSets.
fn versions(object: &KubeStatefulSet) -> Versions {
    if object.metadata.generation.is_some_and(|generation| generation <= 1) {
        return Versions::Untouched;
    }
    match observed(object).map(|status| (&status.current_revision, &status.update_revision)) {
        Some((Some(current), Some(update))) if current == update => Versions::One,
        Some((Some(_), Some(_))) => Versions::Several,
        _ => Versions::Unknown,
    }
}

fn is_edited(object: &KubeStatefulSet) -> bool {
    is_kanary(object.metadata.labels.as_ref()) && !is_on_delete(object)
}

/// Why a canary does not count as available.
fn edited(object: &KubeStatefulSet) -> Option<Cause> {
    is_edited(object).then(|| Cause {
        reason: "StrategyChanged".to_owned(),
        message: "spec.updateStrategy was changed, and it shows whether a canary was changed only if it is OnDelete"
            .to_owned(),
    })
}

/// Whether all its pods run its template and are available. While its controller has not seen the newest spec, such as another number
/// of replicas, it stays as available as it was.
fn is_whole(object: &KubeStatefulSet) -> bool {
    let Some(status) = object.status.as_ref().filter(|_| !is_edited(object)) else {
        return false;
    };
    let wanted = object.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let is_complete = observed(object).is_none() || status.replicas == wanted;
    let counts = [status.updated_replicas, status.available_replicas];
    status.replicas > 0 && is_complete && counts == [Some(status.replicas); 2]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn set(spec: &Value, status: &Value) -> KubeStatefulSet {
        let mut object = json!({
            "metadata": {"name": "web", "generation": 2},
            "spec": {"replicas": 3, "selector": {}, "template": {}},
            "status": {"observedGeneration": 2, "replicas": 3, "readyReplicas": 3, "availableReplicas": 3, "updatedReplicas": 3,
                       "currentRevision": "web-1", "updateRevision": "web-1"},
        });
        for (part, changes) in [("spec", spec), ("status", status)] {
            for (name, value) in changes.as_object().unwrap() {
                object[part][name] = value.clone();
            }
        }
        serde_json::from_value(object).unwrap()
    }

    fn canary(spec: &Value, status: &Value) -> KubeStatefulSet {
        let mut set = set(spec, status);
        let label = (kanary_core::api::names::IS_KANARY.to_owned(), "true".to_owned());
        set.metadata.labels = Some([label].into());
        set
    }

    #[test]
    fn it_has_rolled_out_when_all_its_pods_are_updated_and_available() {
        assert!(rolled_out(&set(&json!({}), &json!({}))));
        for status in [
            json!({"updatedReplicas": 2}),
            json!({"availableReplicas": 2}),
            json!({"replicas": 4}),
            json!({"observedGeneration": 1}),
        ] {
            assert!(!rolled_out(&set(&json!({}), &status)), "{status}");
        }
        // A partition keeps the former template on two of three.
        let partition = json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}});
        let held = stateful_set(&set(&partition, &json!({"updatedReplicas": 1})));
        assert!(!held.rolled_out);
        assert_eq!(held.set.unwrap().partition, 2);
        let numbered = stateful_set(&set(&json!({"ordinals": {"start": 3}}), &json!({})));
        assert_eq!(numbered.set.unwrap().start, 3);
        // With OnDelete, the current revision stays the former one after all pods were replaced.
        let by_hand = json!({"updateRevision": "web-2"});
        assert!(rolled_out(&set(
            &json!({"updateStrategy": {"type": "OnDelete"}}),
            &by_hand
        )));
    }

    #[test]
    fn a_canary_whose_template_was_changed_is_known_by_its_revisions() {
        let strategy = json!({"updateStrategy": {"type": "OnDelete"}});
        let of = |status: &Value| stateful_set(&canary(&strategy, status)).versions;
        assert_eq!(of(&json!({})), Versions::One);
        assert_eq!(of(&json!({"updateRevision": "web-2"})), Versions::Several);
        assert_eq!(of(&json!({"observedGeneration": 1})), Versions::Unknown);
        let rolling = stateful_set(&canary(
            &json!({"updateStrategy": {"type": "RollingUpdate"}}),
            &json!({}),
        ));
        assert!(!rolling.set.unwrap().whole, "its revisions would show nothing");
        assert_eq!(rolling.cause.unwrap().reason, "StrategyChanged");
    }

    #[test]
    fn a_canary_is_whole_with_all_its_pods_also_until_another_number_is_noticed() {
        let strategy = |replicas: i32| json!({"replicas": replicas, "updateStrategy": {"type": "OnDelete"}});
        let whole = |replicas, status: &Value| stateful_set(&canary(&strategy(replicas), status)).set.unwrap().whole;
        assert!(whole(3, &json!({})));
        assert!(whole(5, &json!({"observedGeneration": 1})));
        assert!(!whole(5, &json!({})));
        assert!(!whole(3, &json!({"availableReplicas": 2})));
        assert!(!whole(3, &json!({"updatedReplicas": 2})));
        assert!(!whole(
            0,
            &json!({"replicas": 0, "availableReplicas": 0, "updatedReplicas": 0})
        ));
    }
}
