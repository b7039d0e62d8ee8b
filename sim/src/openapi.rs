//! `OpenAPI` documents. `kubectl explain` prints them, and kubectl uses them to find the parameters that a kind supports.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::resource::{Registry, Resource};

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

/// `/openapi/v3`: the index of documents. The URL of a document contains a hash, so that clients can cache it.
#[must_use]
pub fn index(registry: &Registry) -> Value {
    let mut paths = Map::new();
    for resource in registry.iter() {
        let path = group_path(resource);
        if paths.contains_key(&path) {
            continue;
        }
        let document = document(registry, &resource.group, &resource.version).unwrap_or_default();
        let hash = fingerprint(&document.to_string());
        let url = format!("/openapi/v3/{path}?hash={hash:016X}");
        paths.insert(path, json!({"serverRelativeURL": url}));
    }
    json!({"paths": paths})
}

/// `/openapi/v3/api/v1` (with an empty group) and `/openapi/v3/apis/<group>/<version>`.
#[must_use]
pub fn document(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let mut paths = Map::new();
    let mut schemas = Map::new();
    for resource in registry.iter().filter(|it| it.group == group && it.version == version) {
        add_paths(resource, &mut paths);
        schemas.insert(schema_name(resource, ""), object_schema(resource));
        schemas.insert(schema_name(resource, "List"), list_schema(resource));
    }
    if schemas.is_empty() {
        return None;
    }
    schemas.insert(OBJECT_META.to_owned(), object_meta());
    schemas.insert(LIST_META.to_owned(), list_meta());
    Some(json!({
        "openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.36.0"},
        "paths": paths, "components": {"schemas": schemas},
    }))
}

/// `api/v1` or `apis/apps/v1`.
fn group_path(resource: &Resource) -> String {
    let prefix = if resource.group.is_empty() { "api" } else { "apis" };
    format!("{prefix}/{}", resource.api_version())
}

/// FNV-1a with 64 bits.
fn fingerprint(text: &str) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325_u64;
    text.bytes().fold(start, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// `dev.k8s-operators.kanary.v1alpha1.KanaryDeployment`, or `io.k8s.api.apps.v1.Deployment`.
fn schema_name(resource: &Resource, suffix: &str) -> String {
    let (version, kind) = (&resource.version, &resource.kind);
    if resource.typed.is_some() {
        let group = resource
            .group
            .split('.')
            .next()
            .filter(|it| !it.is_empty())
            .unwrap_or("core");
        return format!("io.k8s.api.{group}.{version}.{kind}{suffix}");
    }
    let reversed: Vec<_> = resource.group.split('.').rev().collect();
    format!("{}.{version}.{kind}{suffix}", reversed.join("."))
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn group_version_kind(resource: &Resource, suffix: &str) -> Value {
    let kind = format!("{}{suffix}", resource.kind);
    json!({"group": resource.group, "version": resource.version, "kind": kind})
}

fn object_schema(resource: &Resource) -> Value {
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let known = resource.custom.as_ref().map(|custom| custom.open_api.clone());
    let mut schema = known.filter(Value::is_object).unwrap_or_else(|| {
        let description = format!("{} of the Kubernetes API, as its documentation says.", resource.kind);
        let mut properties = Map::new();
        properties.insert("spec".to_owned(), anything.clone());
        properties.insert("status".to_owned(), anything);
        json!({"description": description, "type": "object", "properties": properties})
    });
    schema["type"] = json!("object");
    schema["x-kubernetes-group-version-kind"] = json!([group_version_kind(resource, "")]);
    add_type_meta(&mut schema, OBJECT_META, "Standard object's metadata.");
    schema
}

fn list_schema(resource: &Resource) -> Value {
    let items = json!({"description": format!("List of {}.", resource.plural), "type": "array",
        "items": reference(&schema_name(resource, ""))});
    let mut schema = json!({
        "description": format!("{0}List is a list of {0}", resource.kind), "type": "object", "required": ["items"],
        "properties": {"items": items}, "x-kubernetes-group-version-kind": [group_version_kind(resource, "List")],
    });
    add_type_meta(&mut schema, LIST_META, "Standard list metadata.");
    schema
}

fn add_type_meta(schema: &mut Value, metadata: &str, about_metadata: &str) {
    let properties = &mut schema["properties"];
    properties["apiVersion"] = json!({"type": "string",
        "description": "APIVersion defines the versioned schema of this representation of an object."});
    properties["kind"] = json!({"type": "string",
        "description": "Kind is a string value representing the REST resource this object represents."});
    properties["metadata"] = json!({"description": about_metadata, "allOf": [reference(metadata)]});
}

fn object_meta() -> Value {
    let text = |about: &str| json!({"type": "string", "description": about});
    let texts =
        |about: &str| json!({"type": "object", "description": about, "additionalProperties": {"type": "string"}});
    let time = |about: &str| json!({"type": "string", "format": "date-time", "description": about});
    let owner = json!({"type": "object", "required": ["apiVersion", "kind", "name", "uid"], "properties": {
        "apiVersion": text("API version of the referent."), "kind": text("Kind of the referent."),
        "name": text("Name of the referent."), "uid": text("UID of the referent."),
        "controller": {"type": "boolean", "description": "If true, this reference points to the managing controller."},
        "blockOwnerDeletion": {"type": "boolean",
            "description": "If true, the owner cannot be deleted in the foreground until this reference is removed."},
    }});
    json!({"description": "ObjectMeta is metadata that all persisted resources must have.", "type": "object",
        "properties": {
        "name": text("Name must be unique within a namespace. Cannot be updated."),
        "generateName": text("A prefix by which a unique name is made if `name` is not given."),
        "namespace": text("Namespace defines the space within which each name must be unique. Cannot be updated."),
        "uid": text("UID is the unique in time and space value for this object. Read-only."),
        "resourceVersion": text("An opaque value for the internal version of this object. Read-only."),
        "generation": {"type": "integer", "format": "int64",
            "description": "A sequence number representing a specific generation of the desired state. Read-only."},
        "creationTimestamp": time("When this object was created. Read-only."),
        "deletionTimestamp": time("When this resource will be deleted. Read-only."),
        "deletionGracePeriodSeconds": {"type": "integer", "format": "int64",
            "description": "Seconds for this object to terminate before it is removed. Read-only."},
        "labels": texts("Keys and values by which objects are organized and selected."),
        "annotations": texts("Keys and values that tools store for themselves."),
        "finalizers": {"type": "array", "items": {"type": "string"},
            "description": "Must be empty before the object is deleted from the registry."},
        "ownerReferences": {"type": "array", "items": owner, "description": "Objects depended by this object."},
        "managedFields": {"type": "array", "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "description": "Which manager manages which fields."},
    }})
}

fn list_meta() -> Value {
    json!({"description": "ListMeta describes metadata that lists must have.", "type": "object", "properties": {
        "continue": {"type": "string", "description": "Set if there are more items than the list has."},
        "remainingItemCount": {"type": "integer", "format": "int64", "description": "How many more items there are."},
        "resourceVersion": {"type": "string", "description": "The version of the whole collection."},
    }})
}

/// Adds the paths of a kind and their operations.
fn add_paths(resource: &Resource, paths: &mut Map<String, Value>) {
    let prefix = format!("/{}", group_path(resource));
    let plural = &resource.plural;
    let collection = if resource.namespaced {
        format!("{prefix}/namespaces/{{namespace}}/{plural}")
    } else {
        format!("{prefix}/{plural}")
    };
    if resource.namespaced {
        paths.insert(
            format!("{prefix}/{plural}"),
            json!({"get": operation(resource, "list")}),
        );
    }
    let of_collection = BTreeMap::from([("get", "list"), ("post", "post"), ("delete", "deletecollection")]);
    let of_object = BTreeMap::from([("get", "get"), ("put", "put"), ("patch", "patch"), ("delete", "delete")]);
    let of_subresource = BTreeMap::from([("get", "get"), ("put", "put"), ("patch", "patch")]);
    let mut add = |path: String, actions: &BTreeMap<&str, &str>| {
        let operations = actions
            .iter()
            .map(|(method, action)| ((*method).to_owned(), operation(resource, action)));
        paths.insert(path, Value::Object(operations.collect()));
    };
    add(collection.clone(), &of_collection);
    add(format!("{collection}/{{name}}"), &of_object);
    for (name, there) in [("status", resource.status), ("scale", resource.scale)] {
        if there {
            add(format!("{collection}/{{name}}/{name}"), &of_subresource);
        }
    }
}

fn operation(resource: &Resource, action: &str) -> Value {
    let parameters: &[&str] = match action {
        "list" => &[
            "continue",
            "fieldSelector",
            "labelSelector",
            "limit",
            "resourceVersion",
            "watch",
        ],
        "patch" => &["dryRun", "fieldManager", "fieldValidation", "force"],
        "post" | "put" => &["dryRun", "fieldManager", "fieldValidation"],
        "delete" | "deletecollection" => &["dryRun", "gracePeriodSeconds", "propagationPolicy"],
        _ => &[],
    };
    let parameters: Vec<_> = parameters
        .iter()
        .map(|name| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}}))
        .collect();
    let suffix = if action == "list" { "List" } else { "" };
    let body = json!({"application/json": {"schema": reference(&schema_name(resource, suffix))}});
    let mut operation = json!({
        "description": format!("{action} {}", resource.plural), "parameters": parameters,
        "responses": {"200": {"description": "OK", "content": body}},
        "x-kubernetes-action": action, "x-kubernetes-group-version-kind": group_version_kind(resource, ""),
    });
    if matches!(action, "post" | "put" | "patch") {
        operation["requestBody"] = json!({"content": body, "required": true});
    }
    operation
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFINITION: &str = include_str!("../../crds/kanarydeployments.yaml");
    const KANARIES: &str = "apis/kanary.k8s-operators.dev/v1alpha1";

    fn registry(definition: &str) -> Registry {
        let mut registry = Registry::built_in();
        let definition = serde_yaml_ng::from_str(definition).unwrap();
        let kinds = crate::custom::resources(&definition).unwrap();
        for resource in kinds {
            registry.add(resource);
        }
        registry
    }

    fn kanaries() -> Value {
        document(&registry(DEFINITION), "kanary.k8s-operators.dev", "v1alpha1").unwrap()
    }

    #[test]
    fn a_kind_is_described_by_its_schema_and_what_all_kinds_have() {
        let document = kanaries();
        let schema = &document["components"]["schemas"]["dev.k8s-operators.kanary.v1alpha1.KanaryDeployment"];
        let about = "How many canary pods run. Default: `static` with one replica.";
        assert_eq!(
            schema["properties"]["spec"]["properties"]["scale"]["description"],
            about
        );
        let gvk = json!([{"group": "kanary.k8s-operators.dev", "version": "v1alpha1", "kind": "KanaryDeployment"}]);
        assert_eq!(schema["x-kubernetes-group-version-kind"], gvk);
        let metadata = &schema["properties"]["metadata"]["allOf"][0]["$ref"];
        assert_eq!(metadata, &format!("#/components/schemas/{OBJECT_META}"));
    }

    #[test]
    fn the_paths_tell_what_may_be_done_with_a_kind() {
        let document = kanaries();
        let object = format!("/{KANARIES}/namespaces/{{namespace}}/kanarydeployments/{{name}}");
        let methods: Vec<_> = document["paths"][&object]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect();
        assert_eq!(methods, ["delete", "get", "patch", "put"]);
        let patch = &document["paths"][&object]["patch"];
        assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "KanaryDeployment");
        let names: Vec<_> = patch["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| &it["name"])
            .collect();
        assert_eq!(names, ["dryRun", "fieldManager", "fieldValidation", "force"]);
        assert!(document["paths"].get(format!("{object}/status")).is_some());
        assert!(document["paths"].get(format!("{object}/scale")).is_none());
        assert_eq!(
            document["paths"][format!("/{KANARIES}/kanarydeployments")]["get"]["x-kubernetes-action"],
            "list"
        );
    }

    #[test]
    fn built_in_kinds_are_outlined() {
        let registry = Registry::built_in();
        let apps = document(&registry, "apps", "v1").unwrap();
        assert!(
            apps["components"]["schemas"]
                .get("io.k8s.api.apps.v1.Deployment")
                .is_some()
        );
        let core = document(&registry, "", "v1").unwrap();
        assert!(core["components"]["schemas"].get("io.k8s.api.core.v1.Pod").is_some());
        assert!(core["paths"].get("/api/v1/namespaces/{name}").is_some());
        assert_eq!(document(&registry, "apps", "v2"), None);
    }

    #[test]
    fn an_address_changes_with_its_document() {
        let url = |definition| index(&registry(definition))["paths"][KANARIES]["serverRelativeURL"].clone();
        assert!(
            url(DEFINITION)
                .as_str()
                .unwrap()
                .starts_with(&format!("/openapi/v3/{KANARIES}?hash="))
        );
        assert_eq!(url(DEFINITION), url(DEFINITION));
        assert_ne!(
            url(DEFINITION),
            url(&DEFINITION.replace("What happens after the verdict.", "Afterwards."))
        );
    }
}
