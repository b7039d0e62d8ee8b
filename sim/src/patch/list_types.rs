//! Which lists and maps server-side apply takes apart, and by what it knows their elements.

use serde_json::Value;

/// How a list merges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListType {
    /// As one value.
    Atomic,
    /// By value.
    Set,
    /// By the values of these fields of its elements.
    Map(Vec<String>),
}

/// The structure of a kind. A path is made of the names of fields, without the indices of lists:
/// `["spec", "template", "spec", "containers", "env"]`. `metadata` of the object itself is never asked for: it is the
/// same everywhere.
pub trait ListTypes {
    /// The type of the list at a path.
    fn list_type(&self, path: &[&str]) -> ListType;

    /// Whether the map at a path has one owner as a whole. For the path of a list the question is about its elements.
    fn is_atomic_map(&self, path: &[&str]) -> bool;

    /// What a key field of the list at a path counts as where an element leaves it out.
    fn key_default(&self, path: &[&str], key: &str) -> Option<Value> {
        let _ = (path, key);
        None
    }
}

/// The kinds of Kubernetes itself.
#[derive(Clone, Copy, Debug)]
pub struct BuiltIn;

impl ListTypes for BuiltIn {
    fn list_type(&self, path: &[&str]) -> ListType {
        let Some((field, above)) = path.split_last() else {
            return ListType::Atomic;
        };
        let parent = above.last().copied().unwrap_or_default();
        let keys: &[&str] = match *field {
            "containers"
            | "initContainers"
            | "ephemeralContainers"
            | "volumes"
            | "env"
            | "schedulingGates"
            | "resourceClaims" => &["name"],
            // A ServiceAccount has one of this name at the top; that one is atomic.
            "imagePullSecrets" if !above.is_empty() => &["name"],
            "secrets" if above.is_empty() => &["name"],
            "claims" if parent == "resources" => &["name"],
            "volumeMounts" => &["mountPath"],
            "volumeDevices" => &["devicePath"],
            "ports" if matches!(parent, "containers" | "initContainers" | "ephemeralContainers") => {
                &["containerPort", "protocol"]
            }
            "ports" if above == ["spec"] => &["port", "protocol"],
            "topologySpreadConstraints" => &["topologyKey", "whenUnsatisfiable"],
            "hostAliases" | "podIPs" => &["ip"],
            "conditions" if parent == "status" => &["type"],
            "addresses" if above == ["status"] => &["type"],
            "ownerReferences" if parent == "metadata" => &["uid"],
            "finalizers" if parent == "metadata" => return ListType::Set,
            "podCIDRs" => return ListType::Set,
            _ => return ListType::Atomic,
        };
        ListType::Map(keys.iter().map(|&key| key.to_owned()).collect())
    }

    fn is_atomic_map(&self, path: &[&str]) -> bool {
        match path {
            [.., "service", field] => *field == "port",
            [.., "defaultBackend", field] => *field == "resource",
            [.., field] => matches!(
                *field,
                "selector"
                    | "labelSelector"
                    | "namespaceSelector"
                    | "podSelector"
                    | "nodeSelector"
                    | "scopeSelector"
                    | "requiredDuringSchedulingIgnoredDuringExecution"
                    | "configMapKeyRef"
                    | "secretKeyRef"
                    | "fileKeyRef"
                    | "fieldRef"
                    | "resourceFieldRef"
                    | "secretRef"
                    | "roleRef"
                    | "dataSource"
                    | "involvedObject"
                    | "regarding"
                    | "related"
                    | "imagePullSecrets"
                    | "secrets"
                    | "ownerReferences"
            ),
            [] => false,
        }
    }

    fn key_default(&self, _path: &[&str], key: &str) -> Option<Value> {
        (key == "protocol").then(|| Value::from("TCP"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys_of(path: &str) -> ListType {
        let path: Vec<_> = path.split('.').collect();
        BuiltIn.list_type(&path)
    }

    fn map(keys: &[&str]) -> ListType {
        ListType::Map(keys.iter().map(|&key| key.to_owned()).collect())
    }

    #[test]
    fn the_same_name_merges_by_what_it_is_part_of() {
        assert_eq!(
            keys_of("spec.template.spec.containers.ports"),
            map(&["containerPort", "protocol"])
        );
        assert_eq!(keys_of("spec.ports"), map(&["port", "protocol"]));
        assert_eq!(keys_of("ports"), ListType::Atomic);
        assert_eq!(keys_of("spec.imagePullSecrets"), map(&["name"]));
        assert_eq!(keys_of("imagePullSecrets"), ListType::Atomic);
        assert_eq!(keys_of("metadata.finalizers"), ListType::Set);
        assert_eq!(keys_of("spec.finalizers"), ListType::Atomic);
        assert_eq!(keys_of("spec.metrics"), ListType::Atomic);
    }

    #[test]
    fn selectors_have_one_owner() {
        assert!(BuiltIn.is_atomic_map(&["spec", "selector"]));
        assert!(!BuiltIn.is_atomic_map(&["metadata", "labels"]));
        assert!(!BuiltIn.is_atomic_map(&["spec", "template", "spec", "containers"]));
        assert!(!BuiltIn.is_atomic_map(&["spec", "scaleTargetRef"]));
    }
}
