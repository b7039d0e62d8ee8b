//! Labels and annotations that a canary Deployment inherits from its template and its target.

use super::labels::Labels;
use crate::api::names::{self, POD_TEMPLATE_HASH};

/// Domains of labels and annotations that tools use to track, adopt, prune or change Deployments. A GitOps tool or a
/// release manager would take a canary with them for its own object and delete it, or a tool would change the canary
/// during validation.
const OF_TOOLS: [&str; 28] = [
    // Kubernetes and kubectl keep these for the individual object.
    "addonmanager.kubernetes.io",
    "applyset.kubernetes.io",
    "deployment.kubernetes.io",
    "kubectl.kubernetes.io",
    // Tools that apply, track and prune objects.
    "argoproj.io",
    "cattle.io",
    "cli-utils.sigs.k8s.io",
    "config.k8s.io",
    "config.kubernetes.io",
    "configmanagement.gke.io",
    "configsync.gke.io",
    "coreos.com",
    "devspace.sh",
    "fluxcd.io",
    "helm.sh",
    "k14s.io",
    "open-cluster-management.io",
    "pulumi.com",
    "skaffold.dev",
    "tilt.dev",
    "werf.io",
    // Tools that change the pod template or the replicas.
    "downscaler",
    "flagger.app",
    "image.openshift.io",
    "keel.sh",
    "pusher.com",
    "stakater.com",
    "zalando.org",
];

/// Further labels and annotations, by full name.
const BY_NAME: [&str; 5] = [
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "kubernetes.io/cluster-service",
    names::CHANGE_CAUSE,
    POD_TEMPLATE_HASH,
];

/// No policy requires a longer annotation, and all of them are kept in memory.
const LONGEST: usize = 1024;

fn is_carried(name: &str, value: &str) -> bool {
    let domain = name.split_once('/').map(|(domain, _)| domain);
    let of_tool = |tool: &&str| {
        domain.is_some_and(|domain| {
            domain
                .strip_suffix(*tool)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
    };
    value.len() <= LONGEST
        && !names::marks_canaries(name)
        && !BY_NAME.contains(&name)
        && !name.starts_with("olm.")
        && !OF_TOOLS.iter().any(of_tool)
}

/// The labels or annotations of an object that a canary may inherit.
#[must_use]
pub fn of(all: &Labels) -> Labels {
    all.iter()
        .filter(|(name, value)| is_carried(name, value))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_users_and_policies_write_is_carried_and_what_tools_track_and_change_by_is_not() {
        for (name, carried) in [
            ("team", true),
            ("cost-center", true),
            ("app", true),
            ("app.kubernetes.io/name", true),
            ("app.kubernetes.io/part-of", true),
            ("example.com/owner", true),
            ("nothelm.sh/chart", true),
            ("app.kubernetes.io/instance", false),
            ("app.kubernetes.io/managed-by", false),
            ("argocd.argoproj.io/instance", false),
            ("argocd.argoproj.io/tracking-id", false),
            ("meta.helm.sh/release-name", false),
            ("helm.sh/chart", false),
            ("helm.toolkit.fluxcd.io/name", false),
            ("kustomize.toolkit.fluxcd.io/name", false),
            ("fluxcd.io/sync-gc-mark", false),
            ("kubectl.kubernetes.io/last-applied-configuration", false),
            ("deployment.kubernetes.io/revision", false),
            ("kubernetes.io/change-cause", false),
            ("applyset.kubernetes.io/part-of", false),
            ("kapp.k14s.io/app", false),
            ("objectset.rio.cattle.io/hash", false),
            ("keel.sh/policy", false),
            ("reloader.stakater.com/auto", false),
            ("image.openshift.io/triggers", false),
            ("olm.owner", false),
            ("kanary.k8s-operators.dev/name", false),
            ("kanary.k8s-operators.dev/promoted-by", false),
            ("kanary.k8s.io/iskanary", false),
            ("kanary.k8s.io/mine", true),
            ("pod-template-hash", false),
        ] {
            assert_eq!(is_carried(name, "x"), carried, "{name}");
        }
        assert!(!is_carried("notes", &"x".repeat(1025)));
    }
}
