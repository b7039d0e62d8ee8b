//! Merge strategies of the lists of built-in kinds in strategic merge patches, as declared by their Go structs.

/// How a list or map of the patch is combined with that of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strategy {
    /// The patch replaces the value.
    Replace,
    /// Missing values are added.
    MergeValues,
    /// Elements with the same value of this field are merged.
    MergeBy(&'static str),
}

/// The strategy of the list at `path`, which consists of the kind and the field names without list indices.
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
        // The top-level list of a ServiceAccount has the same name and is replaced.
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

/// Whether the patch replaces this map. All other maps are merged.
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
