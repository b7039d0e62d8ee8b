//! What a run in place cannot have: it has no canary beside the target, and its pods are in production.

use crate::{
    api::{TrafficSource, WorkloadKind},
    spec::Spec,
};

/// Problems with `spec.scale.inPlace`.
pub(super) fn problems(spec: &Spec) -> Vec<String> {
    if spec.scale.in_place().is_none() {
        return Vec::new();
    }
    let in_place = "spec.scale.inPlace runs the template on pods of the target";
    let problems = [
        (spec.target.kind != WorkloadKind::StatefulSet).then(|| {
            format!(
                "which only a StatefulSet can do, and the target is {}: use another scale",
                spec.target
            )
        }),
        (!matches!(spec.traffic, TrafficSource::None | TrafficSource::Service)).then(|| {
            format!(
                "and these pods keep their place in production, so they can get no requests of their own: use spec.traffic.source \
                 service or none instead of {}",
                spec.traffic
            )
        }),
        spec.retain_failed
            .then(|| "so there is no canary that could be kept: remove spec.rollout.onFailure retain".to_owned()),
        spec.promote_over_change.then(|| {
            "and a change by somebody else ends that: remove spec.rollout.onTargetChange promote".to_owned()
        }),
        spec.dry_run
            .then(|| "and a dry-run leaves the target alone: use another scale, or no dry-run".to_owned()),
    ];
    let problems = problems.into_iter().flatten();
    problems.map(|why| format!("{in_place}, {why}")).collect()
}
