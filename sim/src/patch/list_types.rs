//! List and map types for server-side apply: which ones are merged, and which keys identify their elements.

use serde_json::Value;

/// How a list merges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListType {
    /// Replaced as one value.
    Atomic,
    /// Merged by value.
    Set,
    /// Merged by the values of these key fields.
    Map(Vec<String>),
}

/// The schema of a kind. A path consists of field names without list indices: `["spec", "template", "spec", "containers",
/// "env"]`. Paths within the object's own `metadata` never occur, because its schema is the same for every kind.
pub trait ListTypes {
    /// The type of the list at a path.
    fn list_type(&self, path: &[&str]) -> ListType;

    /// Whether the map at a path is atomic, so that it has a single owner. For the path of a list, this applies to its
    /// elements.
    fn is_atomic_map(&self, path: &[&str]) -> bool;

    /// Default value of a key field of the list at a path, for elements without that field.
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
            // The top-level list of a ServiceAccount has the same name and is atomic.
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

/// The `openAPIV3Schema` of a CustomResourceDefinition.
#[derive(Clone, Copy, Debug)]
pub struct Schema<'a>(pub &'a Value);

impl<'a> Schema<'a> {
    /// The schema of a field. Values without a schema are merged by their JSON type, except for lists.
    fn at(self, path: &[&str]) -> &'a Value {
        path.iter().fold(self.0, |schema, name| {
            let object = Self::element(schema);
            match object["properties"].get(name) {
                Some(field) => field,
                None => &object["additionalProperties"],
            }
        })
    }

    /// The schema of the elements, if this is the schema of a list.
    fn element(mut schema: &'a Value) -> &'a Value {
        while let Some(items) = schema.get("items") {
            schema = items;
        }
        schema
    }
}

impl ListTypes for Schema<'_> {
    fn list_type(&self, path: &[&str]) -> ListType {
        let schema = self.at(path);
        match schema["x-kubernetes-list-type"].as_str() {
            Some("set") => ListType::Set,
            Some("map") => {
                let keys = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
                ListType::Map(keys.filter_map(Value::as_str).map(str::to_owned).collect())
            }
            _ => ListType::Atomic,
        }
    }

    fn is_atomic_map(&self, path: &[&str]) -> bool {
        Self::element(self.at(path))["x-kubernetes-map-type"] == "atomic"
    }

    fn key_default(&self, path: &[&str], key: &str) -> Option<Value> {
        Self::element(self.at(path))["properties"][key].get("default").cloned()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::patch::{Apply, apply};

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

    #[test]
    fn a_schema_says_how_its_lists_merge() {
        let item = json!({"type": "object", "properties": {"name": {}, "zone": {"default": "a"}}});
        let schema = json!({"properties": {"spec": {"properties": {
            "plain": {"items": {"type": "object"}},
            "set": {"items": {"type": "string"}, "x-kubernetes-list-type": "set"},
            "map": {"items": item, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name", "zone"]},
            "reference": {"x-kubernetes-map-type": "atomic"},
            "byName": {"additionalProperties": {"properties": {"set": {"x-kubernetes-list-type": "set"}}}},
        }}}});
        let schema = Schema(&schema);
        assert_eq!(schema.list_type(&["spec", "plain"]), ListType::Atomic);
        assert_eq!(schema.list_type(&["spec", "set"]), ListType::Set);
        assert_eq!(schema.list_type(&["spec", "map"]), map(&["name", "zone"]));
        assert_eq!(schema.list_type(&["spec", "byName", "x", "set"]), ListType::Set);
        assert_eq!(schema.list_type(&["spec", "unknown", "list"]), ListType::Atomic);
        assert!(schema.is_atomic_map(&["spec", "reference"]));
        assert!(!schema.is_atomic_map(&["spec", "map"]));
        assert_eq!(schema.key_default(&["spec", "map"], "zone"), Some(json!("a")));
        assert_eq!(schema.key_default(&["spec", "map"], "name"), None);
    }

    #[test]
    fn custom_resources_have_the_metadata_of_all_others() {
        let how = |manager| Apply {
            manager,
            force: false,
            subresource: "",
            now: "1",
            lists: &Schema(&Value::Null),
        };
        let with = |name: &str| json!({"apiVersion": "a/v1", "kind": "A", "metadata": {"finalizers": [name]}});
        let live = apply(None, &with("a"), &how("a")).unwrap();
        let object = apply(Some(&live), &with("b"), &how("b")).unwrap();
        assert_eq!(object["metadata"]["finalizers"], json!(["a", "b"]));
    }
}
