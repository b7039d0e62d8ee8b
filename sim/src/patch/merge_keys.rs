//! How a strategic merge patch merges the lists of the built-in kinds, as their Go structs declare it.

/// What happens to a list, or to a map, that both the object and the patch have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strategy {
    /// The patch wins.
    Replace,
    /// Values that are missing are added.
    MergeValues,
    /// Elements with the same value in this field are merged.
    MergeBy(&'static str),
}

/// The strategy of the list at `path`: the kind, then the names of fields without the indices of lists.
pub(super) fn of_list(path: &[&str]) -> Strategy {
    let Some((field, above)) = path.split_last() else {
        return Strategy::Replace;
    };
    let parent = above.last().copied().unwrap_or_default();
    match *field {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "volumes"
        | "env"
        | "schedulingGates"
        | "resourceClaims"
        | "resourceClaimStatuses"
        | "allocatedResourcesStatus" => Strategy::MergeBy("name"),
        // A ServiceAccount has one of this name at the top; that one is replaced.
        "imagePullSecrets" if parent == "spec" => Strategy::MergeBy("name"),
        "secrets" if parent == "ServiceAccount" => Strategy::MergeBy("name"),
        "volumeMounts" => Strategy::MergeBy("mountPath"),
        "volumeDevices" => Strategy::MergeBy("devicePath"),
        "ports" if is_container(parent) => Strategy::MergeBy("containerPort"),
        "ports" if above == ["Service", "spec"] => Strategy::MergeBy("port"),
        "topologySpreadConstraints" => Strategy::MergeBy("topologyKey"),
        "hostAliases" | "hostIPs" | "podIPs" => Strategy::MergeBy("ip"),
        "conditions" if parent == "status" => Strategy::MergeBy("type"),
        "addresses" if above == ["Node", "status"] => Strategy::MergeBy("type"),
        "ownerReferences" if parent == "metadata" => Strategy::MergeBy("uid"),
        "finalizers" if parent == "metadata" => Strategy::MergeValues,
        "podCIDRs" => Strategy::MergeValues,
        _ => Strategy::Replace,
    }
}

/// Maps merge, but for this one.
pub(super) fn replaces_map(path: &[&str]) -> bool {
    path == ["PodDisruptionBudget", "spec", "selector"]
}

fn is_container(field: &str) -> bool {
    matches!(field, "containers" | "initContainers" | "ephemeralContainers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_merges_by_what_it_is_part_of() {
        for (path, expected) in [
            (
                "Deployment.spec.template.spec.containers.ports",
                Strategy::MergeBy("containerPort"),
            ),
            ("Pod.spec.initContainers.ports", Strategy::MergeBy("containerPort")),
            ("Service.spec.ports", Strategy::MergeBy("port")),
            ("EndpointSlice.ports", Strategy::Replace),
            ("NetworkPolicy.spec.ingress.ports", Strategy::Replace),
            ("Pod.spec.imagePullSecrets", Strategy::MergeBy("name")),
            ("ServiceAccount.imagePullSecrets", Strategy::Replace),
            ("Pod.metadata.finalizers", Strategy::MergeValues),
            ("Namespace.spec.finalizers", Strategy::Replace),
            ("HorizontalPodAutoscaler.spec.metrics", Strategy::Replace),
            ("HorizontalPodAutoscaler.status.conditions", Strategy::MergeBy("type")),
        ] {
            let path: Vec<_> = path.split('.').collect();
            assert_eq!(of_list(&path), expected, "{path:?}");
        }
    }
}
