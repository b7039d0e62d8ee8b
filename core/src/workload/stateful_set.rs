//! StatefulSets as targets.

use serde_json::{Map, Value, json};

use super::{Adapter, HeldBack, since_last};
use crate::{
    api::{Reason, WorkloadRef},
    observation::{Pod, Workload},
    template::WorkloadTemplate,
};

/// The label with which a StatefulSet marks the pods of a revision holds its name and 11 more characters, and a label value has at
/// most 63.
const LONGEST: usize = 52;

pub(super) struct StatefulSet;

impl Adapter for StatefulSet {
    fn refuses_name(&self, name: &str) -> Option<String> {
        if name.len() > LONGEST {
            return Some(format!(
                "the canary's name {name} has {} characters, and the name of a StatefulSet with pods has at most {LONGEST}: give the \
                 Kanary a shorter name",
                name.len()
            ));
        }
        name.contains('.').then(|| {
            format!(
                "the canary's name {name} has a dot, and the pods of a StatefulSet have its name as their host name: give the Kanary a \
                 name without dots"
            )
        })
    }

    fn isolate(&self, spec: &mut Map<String, Value>) {
        // With `OnDelete`, `status.currentRevision` stays the revision that the canary was created with, so it shows for ever whether
        // somebody has changed the template.
        spec.insert("updateStrategy".to_owned(), json!({"type": "OnDelete"}));
        let gone = json!({"whenDeleted": "Delete", "whenScaled": "Delete"});
        spec.insert("persistentVolumeClaimRetentionPolicy".to_owned(), gone);
    }

    fn differs(&self, template: &WorkloadTemplate, name: &WorkloadRef, target: &Workload) -> Option<String> {
        let set = target.set.as_ref()?;
        let wanted = claims(template.spec().get("volumeClaimTemplates"));
        let present = claims(serde_json::from_str(&set.claims).ok().as_ref());
        let names = wanted.keys().chain(present.keys());
        let other = names
            .into_iter()
            .find(|claim| wanted.get(*claim) != present.get(*claim))?;
        let shown = |claims: &Map<String, Value>| claims.get(other).map_or_else(|| "none".to_owned(), Value::to_string);
        Some(format!(
            "spec.template.spec.volumeClaimTemplates differs from that of {name} in {other} ({} instead of {}), and Kubernetes lets nobody \
             change it: write it as the target has it",
            shown(&wanted),
            shown(&present)
        ))
    }

    fn has_claims(&self, template: &WorkloadTemplate) -> bool {
        !claims(template.spec().get("volumeClaimTemplates")).is_empty()
    }

    fn claims_begin(&self, template: &WorkloadTemplate, canary: &str) -> Vec<String> {
        let claims = claims(template.spec().get("volumeClaimTemplates"));
        claims.keys().map(|claim| format!("{claim}-{canary}-")).collect()
    }

    fn held_back(&self, target: &WorkloadRef, seen: &Workload) -> Option<HeldBack> {
        let set = seen.set.as_ref().filter(|_| !seen.rolled_out)?;
        if set.on_delete {
            return Some(HeldBack {
                reason: Reason::TargetOnDelete,
                why: "does not replace its pods, because its updateStrategy is OnDelete".to_owned(),
                mend: format!("delete the pods of StatefulSet {} one after the other", target.name),
            });
        }
        (set.partition > 0).then(|| HeldBack {
            reason: Reason::TargetPartitioned,
            why: format!(
                "keeps the former template on some of its pods, because its updateStrategy.rollingUpdate.partition is {}",
                set.partition
            ),
            mend: "set the partition to 0 to roll the template out".to_owned(),
        })
    }

    fn about_undo(&self) -> &'static str {
        ""
    }

    fn after_rollback(&self, target: &Workload) -> &'static str {
        match &target.set {
            Some(set) if set.on_delete => super::ON_DELETE,
            _ => {
                "; with podManagementPolicy OrderedReady, Kubernetes does not replace a pod that is not ready: delete such pods"
            }
        }
    }

    fn complete(&self, canary: &mut Workload, pods: &[Pod]) {
        if let Some(set) = canary.set.as_ref().filter(|set| set.whole) {
            canary.available_since = since_last(pods.iter(), set.replicas, set.min_ready);
        }
    }
}

/// Templates of claims by name, without what the API server adds. What is left cannot be promoted.
fn claims(templates: Option<&Value>) -> Map<String, Value> {
    let templates = templates.and_then(Value::as_array).into_iter().flatten();
    templates
        .map(|template| {
            let metadata = |field: &str| {
                template
                    .pointer(&format!("/metadata/{field}"))
                    .cloned()
                    .unwrap_or_default()
            };
            let mut spec = template.get("spec").cloned().unwrap_or_default();
            if let Some(fields) = spec.as_object_mut() {
                fields.entry("volumeMode").or_insert_with(|| json!("Filesystem"));
            }
            let mut claim = json!({"spec": spec, "labels": metadata("labels"), "annotations": metadata("annotations")});
            if let Some(fields) = claim.as_object_mut() {
                fields.retain(|_, value| !value.is_null() && *value != json!({}));
            }
            (metadata("name").as_str().unwrap_or_default().to_owned(), claim)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::{api::WorkloadKind, observation::SetView};

    fn target(view: SetView) -> Workload {
        Workload {
            set: Some(Box::new(view)),
            ..Workload::default()
        }
    }

    fn data(size: &str) -> Value {
        json!({"metadata": {"name": "data"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}},
        }})
    }

    fn differs(wanted: &[Value], present: &[Value]) -> Option<String> {
        let template = crate::api::Template {
            metadata: None,
            spec: json!({"volumeClaimTemplates": wanted, "template": {"spec": {"containers": [{}]}}}),
        };
        let template = WorkloadTemplate::read(template, &mut Vec::new()).template;
        let view = SetView {
            claims: json!(present).to_string().into(),
            ..SetView::default()
        };
        StatefulSet.differs(
            &template,
            &WorkloadRef::new(WorkloadKind::StatefulSet, "web"),
            &target(view),
        )
    }

    #[test]
    fn what_the_api_server_adds_to_a_claim_is_no_difference() {
        let mut stored = data("1Gi");
        stored["apiVersion"] = json!("v1");
        stored["kind"] = json!("PersistentVolumeClaim");
        stored["metadata"]["creationTimestamp"] = Value::Null;
        stored["spec"]["volumeMode"] = json!("Filesystem");
        stored["status"] = json!({"phase": "Pending"});
        assert_eq!(differs(&[data("1Gi")], &[stored]), None);
        assert_eq!(differs(&[], &[]), None);
    }

    #[test]
    fn a_claim_that_is_larger_new_or_gone_cannot_be_promoted() {
        for (wanted, present) in [
            (vec![data("2Gi")], vec![data("1Gi")]),
            (vec![data("1Gi")], vec![]),
            (vec![], vec![data("1Gi")]),
        ] {
            let why = differs(&wanted, &present).unwrap();
            assert!(why.contains("differs from that of StatefulSet web in data"), "{why}");
        }
    }

    #[test]
    fn a_target_that_waits_for_its_user_says_for_what() {
        let of = |view: SetView, rolled_out| {
            let target = Workload {
                rolled_out,
                ..target(view)
            };
            let name = WorkloadRef::new(WorkloadKind::StatefulSet, "web");
            StatefulSet.held_back(&name, &target).map(|held| held.reason)
        };
        let (plain, on_delete, partition) = (
            SetView::default(),
            SetView {
                on_delete: true,
                ..SetView::default()
            },
            SetView {
                partition: 2,
                ..SetView::default()
            },
        );
        assert_eq!(of(plain, false), None);
        assert_eq!(of(on_delete.clone(), false), Some(Reason::TargetOnDelete));
        assert_eq!(of(partition, false), Some(Reason::TargetPartitioned));
        assert_eq!(of(on_delete.clone(), true), None, "all pods were replaced by hand");
        let note = StatefulSet.after_rollback(&target(on_delete));
        assert!(note.contains("OnDelete"), "{note}");
    }

    #[test]
    fn a_canary_is_available_since_its_last_pod_is() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let pod = |since: Option<i64>| Pod {
            ready: since.is_some(),
            ready_second: since.and_then(|since| u32::try_from(since).ok()?.try_into().ok()),
            ..Pod::default()
        };
        let since = |pods: &[Pod], replicas, whole| {
            let mut canary = target(SetView {
                replicas,
                whole,
                min_ready: Duration::from_secs(5),
                ..SetView::default()
            });
            StatefulSet.complete(&mut canary, pods);
            canary.available_since
        };
        let two = [pod(Some(10)), pod(Some(20))];
        assert_eq!(since(&two, 2, true), Some(at(25)));
        assert_eq!(since(&two, 3, true), None, "a pod is not known yet");
        assert_eq!(since(&two, 2, false), None);
        assert_eq!(since(&[pod(Some(10)), pod(None)], 2, true), None);
    }

    #[test]
    fn a_name_that_leaves_no_room_for_the_names_of_pods_is_refused() {
        let canary = |name: &str| StatefulSet.refuses_name(name);
        assert_eq!(canary(&"x".repeat(52)), None);
        assert!(canary(&"x".repeat(53)).unwrap().contains("at most 52"));
        assert!(canary("web-kanary-a.b").unwrap().contains("without dots"));
    }
}
