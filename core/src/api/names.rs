//! Every name that Kanary puts on objects: labels, annotations and the names of the objects it creates.

/// API group of the Kanary kinds.
pub const GROUP: &str = "kanary.k8s-operators.dev";
/// API group in which `KanaryDeployment` was published first.
pub const OLD_GROUP: &str = "kanary.k8s.io";
/// API group of `CanaryDeployment`.
pub const CANARY_DEPLOYMENT_GROUP: &str = "kanarini.nilebox.github.com";
/// API group of `CanaryApp`.
pub const CANARY_APP_GROUP: &str = "canary.atze.io";
/// Served and stored version of the Kanary kinds.
pub const VERSION: &str = "v1alpha1";

/// Label `"true"` on every object that Kanary creates for a run.
pub const IS_KANARY: &str = "kanary.k8s-operators.dev/iskanary";
/// Label with the Kanary's name on every object that Kanary creates for a run.
pub const KANARY_NAME: &str = "kanary.k8s-operators.dev/name";
/// Label with the Kanary's kind on every object that Kanary creates for a run: two kinds may share a name.
pub const KANARY_KIND: &str = "kanary.k8s-operators.dev/kind";
/// Label `"true"` that the first published operator put on canaries. Objects of a Kanary of [`OLD_GROUP`] have it too, for the
/// Services, monitors and queries that select by it.
pub const OLD_IS_KANARY: &str = "kanary.k8s.io/iskanary";
/// The same for the name of the Kanary.
pub const OLD_KANARY_NAME: &str = "kanary.k8s.io/name";
/// The same on the pods of canaries, `"true"`.
pub const OLD_CANARY_POD: &str = "kanary.k8s.io/canary-pod";
/// Label with the run's identity on the canary and its pods, so that pods of an earlier run are never judged.
pub const RUN: &str = "kanary.k8s-operators.dev/run";

/// Label with the slot, `00` to `ff`, on every Kanary and on the objects created for it. The slot is a hash of the target's
/// namespace and name, and determines which replica owns the Kanary. Kanary restores the label if it is changed.
pub const SLOT: &str = "kanary.k8s-operators.dev/slot";

/// Label on every Lease that Kanary uses to assign work: `session` or `shard`.
pub const LEASE: &str = "kanary.k8s-operators.dev/lease";
/// Annotation on a session: hash of the pod template that the replica runs.
pub const LEASE_TEMPLATE: &str = "kanary.k8s-operators.dev/template";
/// Annotation on a session: how many shards the replica knows. Replicas with different numbers would act on the same Kanaries.
pub const LEASE_SHARDS: &str = "kanary.k8s-operators.dev/shards";
/// Annotation on a session: the replica is shutting down.
pub const LEASE_DRAINING: &str = "kanary.k8s-operators.dev/draining";
/// Annotation on a session: shards that the replica has read and can take over immediately, like `3,7`.
pub const LEASE_READY: &str = "kanary.k8s-operators.dev/ready";
/// Annotation on a shard: the session that should own it next.
pub const LEASE_NEXT: &str = "kanary.k8s-operators.dev/next-holder";

/// Label on the tracks of a Kanary that keeps both its canary and its target: digest of what was written to them.
pub const APPLIED: &str = "kanary.k8s-operators.dev/applied";
/// Annotation on the canary: hash of the target's pod template when the run started.
pub const TARGET_HASH: &str = "kanary.k8s-operators.dev/target-template-hash";
/// Annotation on the canary: the source of its traffic. A canary is only judged with the traffic source it was created for.
pub const TRAFFIC: &str = "kanary.k8s-operators.dev/traffic";
/// Annotation on the canary of a DaemonSet: `<generation>/<number>/<digest>`. The generation is that of the canary since Kanary chose
/// its nodes last, the number is how many nodes the target had then, and the digest is that of the names of the chosen nodes.
pub const NODES: &str = "kanary.k8s-operators.dev/nodes";
/// Annotation on a route: what Kanaries changed in it, and what was there before. It is removed with the last change.
pub const SHARES: &str = "kanary.k8s-operators.dev/shares";
/// Finalizer of a Kanary while a route may hold something of its run.
pub const ROUTE_FINALIZER: &str = "kanary.k8s-operators.dev/route";
/// Finalizer of a Kanary while some pods of its target run the template in place.
pub const IN_PLACE_FINALIZER: &str = "kanary.k8s-operators.dev/in-place";
/// Annotation on a Kanary with that finalizer: `<run> <kind of the route>/<name of the route>`.
pub const ROUTE: &str = "kanary.k8s-operators.dev/route";
/// Annotation that `kubectl kanary migrate` puts on a Kanary until it replaces one of [`OLD_GROUP`]: the uid of that one.
pub const MIGRATES: &str = "kanary.k8s-operators.dev/migrates";
/// Annotation on a Kanary that is read as `v1`: how it is written in `v1alpha1`. Made by [`convert`](crate::convert).
pub const AS_V1ALPHA1: &str = "kanary.k8s-operators.dev/as-v1alpha1";
/// The same for one that is read as `v1alpha1`.
pub const AS_V1: &str = "kanary.k8s-operators.dev/as-v1";
/// Annotation on the target: `<uid of the Kanary>/<run>` of the last promotion.
pub const PROMOTED_BY: &str = "kanary.k8s-operators.dev/promoted-by";
/// Annotation on a target that a Kanary created because it was missing: `<uid of the Kanary>/<run>`.
pub const CREATED_BY: &str = "kanary.k8s-operators.dev/created-by";
/// Annotation that `kubectl rollout history` shows as the cause of a revision.
pub const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";

/// Annotation on an Event: id of the run's trace.
pub const TRACE_ID: &str = "kanary.k8s-operators.dev/trace-id";

/// Annotation in which the Deployment controller counts the revisions of a Deployment.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
/// Label that Kubernetes gives the pods of a StatefulSet: the name of their revision.
pub const POD_REVISION: &str = "controller-revision-hash";

/// Label with which the Deployment controller separates the pods of a Deployment's revisions.
pub const POD_TEMPLATE_HASH: &str = "pod-template-hash";

/// Whether only Kanary sets this label or annotation.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    name.strip_prefix(GROUP).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether a selector with this label is about canaries: a reserved one, or one of the first published operator.
#[must_use]
pub fn marks_canaries(name: &str) -> bool {
    is_reserved(name) || [OLD_IS_KANARY, OLD_KANARY_NAME, OLD_CANARY_POD].contains(&name)
}

/// Field manager of every write.
pub const FIELD_MANAGER: &str = "kanary";

/// Name of the canary workload of Kanary `kanary` on `target`.
#[must_use]
pub fn canary_name(target: &str, kanary: &str) -> String {
    format!("{target}-kanary-{kanary}")
}

/// Default name of the Service in front of the canary alone.
#[must_use]
pub fn kanary_service_name(service: &str, kanary: &str) -> String {
    format!("{service}-kanary-{kanary}")
}
