//! The CRDs with both versions, for controllers with a conversion webhook. The schema of `v1` is made from that of `v1alpha1`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceConversion, CustomResourceDefinition, CustomResourceDefinitionVersion, WebhookClientConfig,
    WebhookConversion,
};
use serde_json::{Map, Value, json};

use super::{
    Version,
    rules::{ONLY_IN_V1ALPHA1, RENAMED},
};
use crate::api::{self, KanaryKind, names::GROUP};

/// How API servers convert Kanaries.
#[derive(Clone, Debug)]
pub struct Conversion {
    /// Where the webhook is.
    pub client: WebhookClientConfig,
    /// The version that is stored.
    pub stored: Version,
}

/// The CRDs of these kinds, ready to be applied. Those of [`GROUP`] have both versions.
///
/// # Panics
///
/// Never: the definitions are fixed at compile time, and a test generates them.
#[must_use]
pub fn crds(kinds: &[KanaryKind], conversion: &Conversion) -> Vec<CustomResourceDefinition> {
    let mut crds = api::crds(kinds);
    for crd in crds.iter_mut().filter(|crd| crd.spec.group == GROUP) {
        let both = crd.spec.versions.iter().flat_map(|alpha| {
            let v1 = Version::ALL.map(|version| in_version(alpha, version));
            v1.map(|version| CustomResourceDefinitionVersion {
                storage: version.name == conversion.stored.as_str(),
                ..version
            })
        });
        crd.spec.versions = both.collect();
        crd.spec.conversion = Some(CustomResourceConversion {
            strategy: "Webhook".to_owned(),
            webhook: Some(WebhookConversion {
                client_config: Some(conversion.client.clone()),
                conversion_review_versions: vec!["v1".to_owned()],
            }),
        });
    }
    crds
}

fn in_version(alpha: &CustomResourceDefinitionVersion, version: Version) -> CustomResourceDefinitionVersion {
    let mut made = alpha.clone();
    version.as_str().clone_into(&mut made.name);
    let schema = made
        .schema
        .as_mut()
        .and_then(|schema| schema.open_api_v3_schema.as_mut());
    if let Some(schema) = schema.filter(|_| version == Version::V1) {
        let mut v1 = serde_json::to_value(&*schema).expect("a schema is JSON");
        rename(&mut v1);
        remove(&mut v1);
        describe(&mut v1);
        say_it_in_v1(&mut v1);
        *schema = serde_json::from_value(v1).expect("a schema that was made from another is a schema");
    }
    made
}

/// A schema's fields.
fn fields(schema: &mut Value) -> Option<&mut Map<String, Value>> {
    schema.get_mut("properties")?.as_object_mut()
}

/// The schema of the field at a pointer, such as `/spec/validation`.
fn at<'a>(schema: &'a mut Value, pointer: &str) -> Option<&'a mut Value> {
    let mut names = pointer.split('/').skip(1);
    names.try_fold(schema, |schema, name| fields(schema)?.get_mut(name))
}

fn remove(schema: &mut Value) {
    for pointer in ONLY_IN_V1ALPHA1 {
        let pointer = format!("/spec{pointer}");
        let parent = pointer
            .rsplit_once('/')
            .and_then(|(parent, name)| Some((at(schema, parent)?, name)));
        if let Some(fields) = parent.and_then(|(parent, name)| Some((fields(parent)?, name))) {
            let (fields, name) = fields;
            fields.remove(name);
        }
    }
    if let Some(required) = at(schema, "/spec").and_then(|spec| spec.get_mut("required")?.as_array_mut()) {
        required.push("targetRef".into());
        required.sort_by_key(Value::to_string);
    }
    // It is about fields that are none.
    if let Some(validation) = at(schema, "/spec/validation").and_then(Value::as_object_mut) {
        validation.remove("x-kubernetes-validations");
    }
}

fn rename(schema: &mut Value) {
    for (block, alpha, v1) in RENAMED {
        let item = at(schema, "/spec/validation/items").and_then(|items| items.get_mut("items"));
        let fields = item.and_then(|item| at(item, &format!("/{block}"))).and_then(fields);
        if let Some(fields) = fields
            && let Some(field) = fields.remove(alpha)
        {
            fields.insert(v1.to_owned(), field);
        }
    }
}

/// Descriptions that are others in `v1`.
fn describe(schema: &mut Value) {
    for (pointer, text) in [
        (
            "/spec/targetRef",
            "The target, by kind and name: the workload to which a successful canary is promoted, and whose kind the canary has. \
             Can't change once set.",
        ),
        (
            "/spec/template/metadata/name",
            "Not used: `targetRef` names the workload.",
        ),
    ] {
        if let Some(field) = at(schema, pointer).and_then(Value::as_object_mut) {
            field.insert("description".to_owned(), text.into());
        }
    }
}

/// What rules, messages and descriptions say, and what they say in `v1`.
const SAYINGS: [(&str, &str); 7] = [
    (", like\n`validation.noUpdate: true`", ""),
    (" || (has(self.mirror.activate) && self.mirror.activate)", ""),
    (
        " || (has(self.mirror) && has(self.mirror.activate) && self.mirror.activate)",
        "",
    ),
    ("podNamekey", "podNameKey"),
    ("deploymentInvalidationLabels", "workloadInvalidationLabels"),
    ("on the canary Deployment", "on the workload of the canary"),
    ("the Deployment of `deploymentName`", "none"),
];

/// Words of rules about fields that `v1` does not have.
const OBSOLETE: [&str; 5] = [
    "deploymentName",
    "statefulSetName",
    "self.validations",
    "self.items)",
    ".activate",
];

fn say_it_in_v1(schema: &mut Value) {
    match schema {
        Value::String(text) => {
            for (alpha, v1) in SAYINGS {
                if text.contains(alpha) {
                    *text = text.replace(alpha, v1);
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(say_it_in_v1),
        Value::Object(fields) => {
            fields.values_mut().for_each(say_it_in_v1);
            if let Some(rules) = fields.get_mut("x-kubernetes-validations").and_then(Value::as_array_mut) {
                rules.retain(|rule| {
                    let text = rule.get("rule").and_then(Value::as_str).unwrap_or_default();
                    !OBSOLETE.iter().any(|word| text.contains(word))
                });
            }
        }
        _ => {}
    }
}

impl Conversion {
    /// The webhook is a Service, at the port 443.
    #[must_use]
    pub fn by_service(namespace: &str, name: &str, path: &str, stored: Version) -> Self {
        let client = json!({"service": {"namespace": namespace, "name": name, "path": path, "port": 443}});
        Self {
            client: serde_json::from_value(client).unwrap_or_default(),
            stored,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(kind: KanaryKind) -> Value {
        let conversion = Conversion::by_service("kanary-system", "kanary-conversion", "/convert", Version::V1Alpha1);
        let mut crds = crds(&[kind], &conversion);
        serde_json::to_value(crds.remove(0)).unwrap()
    }

    fn walk(schema: &Value, path: &str, found: &mut Vec<String>) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            walk(field, &path, found);
            found.push(path);
        }
        if schema["items"].is_object() {
            walk(&schema["items"], path, found);
        }
    }

    /// The fields of the spec in a version.
    fn spec(crd: &Value, version: usize) -> Vec<String> {
        let schema = &crd["spec"]["versions"][version]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let mut found = Vec::new();
        walk(schema, "", &mut found);
        found
    }

    #[test]
    fn v1_differs_in_what_the_conversion_changes_and_in_nothing_else() {
        let crd = both(KanaryKind::Deployment);
        let (alpha, v1) = (spec(&crd, 0), spec(&crd, 1));
        let gone: Vec<_> = alpha.iter().filter(|field| !v1.contains(field)).collect();
        let is_known = |field: &str| {
            let removed = ONLY_IN_V1ALPHA1.map(|pointer| pointer.replace('/', "."));
            removed
                .iter()
                .any(|removed| field == removed || field.starts_with(&format!("{removed}.")))
                || RENAMED
                    .iter()
                    .any(|(block, alpha, _)| field.ends_with(&format!(".{block}.{alpha}")))
        };
        assert!(gone.iter().all(|field| is_known(field)), "{gone:?}");
        let new: Vec<_> = v1.iter().filter(|field| !alpha.contains(field)).collect();
        assert_eq!(
            new,
            [
                ".validation.items.labelWatch.workloadInvalidationLabels",
                ".validation.items.promQL.podNameKey"
            ]
        );
        let schema = &crd["spec"]["versions"][1]["schema"]["openAPIV3Schema"];
        assert_eq!(
            schema["properties"]["spec"]["required"],
            json!(["targetRef", "template"])
        );
        assert_eq!(
            schema["properties"]["status"],
            crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
        );
    }

    #[test]
    fn nothing_in_v1_speaks_of_what_it_does_not_have() {
        let crd = both(KanaryKind::Statefulset);
        let v1 = crd["spec"]["versions"][1].to_string();
        for word in [
            "deploymentName",
            "statefulSetName",
            "self.validations",
            "spec.validations",
            "noUpdate",
            "activate",
            "podNamekey",
            "deploymentInvalidationLabels",
            "Not a field",
        ] {
            assert!(!v1.contains(word), "{word}");
        }
        assert!(v1.contains("spec.targetRef can't change once set"));
        assert!(v1.contains("spec.traffic.mirror.percent is for source mirror"));
        assert!(v1.contains("spec.traffic.route is for the sources"));
    }

    #[test]
    fn one_version_is_stored_and_the_old_group_has_no_v1() {
        for stored in Version::ALL {
            let conversion = Conversion::by_service("a", "b", "/convert", stored);
            let crds = crds(&KanaryKind::ALL, &conversion);
            for (kind, crd) in KanaryKind::ALL.iter().zip(&crds) {
                let versions = crd.spec.versions.iter();
                let kept: Vec<_> = versions
                    .filter(|version| version.storage)
                    .map(|version| version.name.as_str())
                    .collect();
                let is_ours = crd.spec.group == GROUP;
                assert_eq!(kept, [if is_ours { stored.as_str() } else { kind.version() }]);
                assert_eq!(crd.spec.versions.len(), if is_ours { 2 } else { 1 });
                assert_eq!(crd.spec.conversion.is_some(), is_ours);
                // kubectl keeps it as JSON in an annotation, and all annotations of an object have 256 KiB.
                let json = serde_json::to_string(crd).unwrap();
                assert!(json.len() < 192 << 10, "{} bytes", json.len());
            }
        }
    }
}
