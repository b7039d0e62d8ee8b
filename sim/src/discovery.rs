//! Discovery: the groups, versions and kinds that the cluster serves.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::resource::{Registry, Resource};

/// The media type of aggregated discovery.
pub const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

const OF_BUILT_IN: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];
const OF_CUSTOM: [&str; 8] = [
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "create",
    "update",
    "watch",
];
const OF_SUBRESOURCE: [&str; 3] = ["get", "patch", "update"];

/// `/version`.
#[must_use]
pub fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36",
        "minCompatibilityMajor": "1", "minCompatibilityMinor": "35", "gitVersion": "v1.36.0+kanary-sim",
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z", "goVersion": "",
        "compiler": "rustc", "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}

/// `/api`.
#[must_use]
pub fn core_versions() -> Value {
    let address = json!({"clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1"});
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [address]})
}

/// `/apis`.
#[must_use]
pub fn groups(registry: &Registry) -> Value {
    let groups = by_group(registry).into_iter().filter(|(name, _)| !name.is_empty());
    let groups: Vec<_> = groups.map(|(name, versions)| group_value(name, &versions)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/<group>`.
#[must_use]
pub fn group(registry: &Registry, name: &str) -> Option<Value> {
    let versions = by_group(registry).remove(name).filter(|_| !name.is_empty())?;
    let mut group = group_value(name, &versions);
    group["kind"] = json!("APIGroup");
    group["apiVersion"] = json!("v1");
    Some(group)
}

/// `/api/v1` (with an empty group) and `/apis/<group>/<version>`.
#[must_use]
pub fn resources(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let mut listed = Vec::new();
    let mut group_version = None;
    for resource in registry.iter().filter(|it| it.group == group && it.version == version) {
        group_version = Some(resource.api_version());
        listed.push(with_names(
            resource,
            json!({"name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced,
                   "kind": resource.kind, "verbs": verbs(resource)}),
        ));
        listed.extend(subresources(resource).iter().map(|name| {
            let mut value = json!({"name": format!("{}/{name}", resource.plural), "singularName": "",
                "namespaced": resource.namespaced, "kind": resource.kind, "verbs": OF_SUBRESOURCE});
            if *name == "scale" {
                value["group"] = json!("autoscaling");
                value["version"] = json!("v1");
                value["kind"] = json!("Scale");
            }
            value
        }));
    }
    let group_version = group_version?;
    Some(json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": listed}))
}

/// `/api` and `/apis` for a client that accepts [`AGGREGATED`].
#[must_use]
pub fn aggregated(registry: &Registry, core: bool) -> Value {
    let groups = by_group(registry)
        .into_iter()
        .filter(|(name, _)| name.is_empty() == core);
    let items: Vec<_> = groups
        .map(|(name, versions)| {
            let metadata = if core { json!({}) } else { json!({"name": name}) };
            let versions: Vec<_> = versions
                .iter()
                .map(|(version, resources)| {
                    let resources: Vec<_> = resources.iter().map(|resource| aggregated_resource(resource)).collect();
                    json!({"version": version, "resources": resources, "freshness": "Current"})
                })
                .collect();
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

fn aggregated_resource(resource: &Resource) -> Value {
    // A built-in kind inherits the group and version of the list.
    let custom = resource.typed.is_none();
    let part = |text: &str| if custom { text.to_owned() } else { String::new() };
    let kind = json!({"group": part(&resource.group), "version": part(&resource.version), "kind": resource.kind});
    let mut value = with_names(
        resource,
        json!({"resource": resource.plural, "responseKind": kind, "singularResource": resource.singular,
               "scope": if resource.namespaced { "Namespaced" } else { "Cluster" }, "verbs": verbs(resource)}),
    );
    let subresources: Vec<_> = subresources(resource)
        .iter()
        .map(|name| {
            let scale = json!({"group": "autoscaling", "version": "v1", "kind": "Scale"});
            let kind = if *name == "scale" { &scale } else { &kind };
            json!({"subresource": name, "responseKind": kind, "verbs": OF_SUBRESOURCE})
        })
        .collect();
    if !subresources.is_empty() {
        value["subresources"] = json!(subresources);
    }
    value
}

fn with_names(resource: &Resource, mut value: Value) -> Value {
    if !resource.short_names.is_empty() {
        value["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        value["categories"] = json!(resource.categories);
    }
    value
}

fn verbs(resource: &Resource) -> Vec<&'static str> {
    let all = if resource.typed.is_some() {
        OF_BUILT_IN
    } else {
        OF_CUSTOM
    };
    // Namespaces do not support deletion as a collection.
    let one_by_one = resource.group.is_empty() && resource.plural == "namespaces";
    all.into_iter()
        .filter(|verb| !(one_by_one && *verb == "deletecollection"))
        .collect()
}

fn subresources(resource: &Resource) -> Vec<&'static str> {
    let mut names = Vec::new();
    if resource.scale {
        names.push("scale");
    }
    if resource.status {
        names.push("status");
    }
    names
}

type Versions<'a> = Vec<(&'a str, Vec<&'a Resource>)>;

/// Kinds by group and version, with the preferred version first.
fn by_group(registry: &Registry) -> BTreeMap<&str, Versions<'_>> {
    let mut groups: BTreeMap<&str, Versions> = BTreeMap::new();
    for resource in registry.iter() {
        let versions = groups.entry(&resource.group).or_default();
        match versions.iter_mut().find(|(version, _)| *version == resource.version) {
            Some((_, resources)) => resources.push(resource),
            None => versions.push((&resource.version, vec![resource])),
        }
    }
    for versions in groups.values_mut() {
        versions.sort_by_key(|(version, _)| Reverse(priority(version)));
    }
    groups
}

/// Sort key of a version: `v2` before `v1`, before `v1beta1`, before `v1alpha1`.
fn priority(version: &str) -> (u8, u32, u32) {
    let number = |text: &str| text.parse::<u32>().unwrap_or(0);
    let text = version.trim_start_matches('v');
    match (text.split_once("beta"), text.split_once("alpha")) {
        (Some((major, minor)), _) => (1, number(major), number(minor)),
        (None, Some((major, minor))) => (0, number(major), number(minor)),
        (None, None) => (2, number(text), 0),
    }
}

fn group_value(name: &str, versions: &Versions) -> Value {
    let versions: Vec<_> = versions
        .iter()
        .map(|(version, _)| json!({"groupVersion": format!("{name}/{version}"), "version": version}))
        .collect();
    json!({"name": name, "versions": versions, "preferredVersion": versions.first()})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> Registry {
        let mut registry = Registry::built_in();
        let mut definition: Value = serde_yaml_ng::from_str(include_str!("../../crds/kanarydeployments.yaml")).unwrap();
        let version = definition["spec"]["versions"][0].clone();
        for name in ["v1", "v1beta1"] {
            let mut version = version.clone();
            version["name"] = json!(name);
            definition["spec"]["versions"].as_array_mut().unwrap().push(version);
        }
        let kinds = crate::custom::resources(&definition).unwrap();
        for resource in kinds {
            registry.add(resource);
        }
        registry
    }

    fn named<'v>(list: &'v Value, key: &str, name: &str) -> &'v Value {
        list.as_array().unwrap().iter().find(|it| it[key] == name).unwrap()
    }

    #[test]
    fn a_group_prefers_its_most_stable_version() {
        let group = group(&registry(), "kanary.k8s-operators.dev").unwrap();
        assert_eq!(group["preferredVersion"]["groupVersion"], "kanary.k8s-operators.dev/v1");
        let versions: Vec<_> = group["versions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| &it["version"])
            .collect();
        assert_eq!(versions, ["v1", "v1beta1", "v1alpha1"]);
    }

    #[test]
    fn the_core_group_is_not_among_the_groups() {
        let groups = groups(&registry());
        assert_eq!(groups["groups"][0]["name"], "admissionregistration.k8s.io");
        assert_eq!(group(&registry(), ""), None);
    }

    #[test]
    fn a_custom_kind_is_listed_with_its_names_and_its_status() {
        let list = resources(&registry(), "kanary.k8s-operators.dev", "v1alpha1").unwrap();
        assert_eq!(list["groupVersion"], "kanary.k8s-operators.dev/v1alpha1");
        let verbs = [
            "delete",
            "deletecollection",
            "get",
            "list",
            "patch",
            "create",
            "update",
            "watch",
        ];
        let kind = json!({"name": "kanarydeployments", "singularName": "kanarydeployment", "namespaced": true,
            "kind": "KanaryDeployment", "verbs": verbs, "shortNames": ["kd", "kanary"], "categories": ["kanaries"]});
        let status = json!({"name": "kanarydeployments/status", "singularName": "", "namespaced": true,
            "kind": "KanaryDeployment", "verbs": ["get", "patch", "update"]});
        assert_eq!(list["resources"], json!([kind, status]));
    }

    #[test]
    fn a_scale_is_of_another_group() {
        let list = resources(&registry(), "apps", "v1").unwrap();
        let scale = json!({"name": "deployments/scale", "singularName": "", "namespaced": true, "group": "autoscaling",
            "version": "v1", "kind": "Scale", "verbs": ["get", "patch", "update"]});
        assert_eq!(named(&list["resources"], "name", "deployments/scale"), &scale);
    }

    #[test]
    fn namespaces_are_of_the_cluster_and_go_one_by_one() {
        let list = resources(&registry(), "", "v1").unwrap();
        let namespaces = named(&list["resources"], "name", "namespaces");
        assert_eq!(namespaces["namespaced"], false);
        assert!(
            !namespaces["verbs"]
                .as_array()
                .unwrap()
                .contains(&json!("deletecollection"))
        );
    }

    #[test]
    fn an_unknown_version_has_no_list() {
        assert_eq!(resources(&registry(), "apps", "v2"), None);
    }

    #[test]
    fn a_watch_with_all_objects_at_once_lists_them_first() {
        let core = aggregated(&registry(), true);
        assert_eq!(core["items"].as_array().unwrap().len(), 1);
        assert_eq!(core["items"][0]["metadata"], json!({}));
        let others = aggregated(&registry(), false);
        let apps = others["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|it| it["metadata"]["name"] == "apps")
            .unwrap();
        let deployments = named(&apps["versions"][0]["resources"], "resource", "deployments");
        assert_eq!(
            deployments["responseKind"],
            json!({"group": "", "version": "", "kind": "Deployment"})
        );
        assert_eq!(deployments["scope"], "Namespaced");
        let scale = json!({"group": "autoscaling", "version": "v1", "kind": "Scale"});
        assert_eq!(
            named(&deployments["subresources"], "subresource", "scale")["responseKind"],
            scale
        );
    }
}
