//! Kinds defined by CustomResourceDefinitions.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    failure::{Cause, Failure},
    resource::{Custom, Resource},
    schema::Schema,
};

/// The resource name of CustomResourceDefinitions.
pub(crate) const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";

/// The resources that a CustomResourceDefinition serves, one for each version.
///
/// # Errors
///
/// Fails if the definition is invalid.
pub(crate) fn resources(definition: &Value) -> Result<Vec<Resource>, Failure> {
    let (spec, name) = (
        &definition["spec"],
        definition["metadata"]["name"].as_str().unwrap_or_default(),
    );
    let invalid = |field: &str, why: String| {
        let cause = Cause {
            reason: "FieldValueInvalid",
            message: why,
            field: field.to_owned(),
        };
        Failure::invalid("CustomResourceDefinition.apiextensions.k8s.io", name, &[cause])
    };
    let text = |pointer: &str| {
        spec.pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let texts = |pointer: &str| -> Vec<String> {
        let list = spec.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(|text| text.as_str().map(str::to_owned)).collect()
    };
    let (group, plural, kind) = (text("/group"), text("/names/plural"), text("/names/kind"));
    if name != format!("{plural}.{group}") {
        let why = format!("Invalid value: \"{name}\": must be spec.names.plural+\".\"+spec.group");
        return Err(invalid("metadata.name", why));
    }
    let singular = match text("/names/singular") {
        singular if singular.is_empty() => kind.to_lowercase(),
        singular => singular,
    };
    let served = |version: &&Value| version["served"] == true;
    let versions = spec["versions"].as_array().into_iter().flatten().filter(served);
    let made = versions.enumerate().map(|(index, version)| {
        let schema = &version["schema"]["openAPIV3Schema"];
        let compiled = Schema::compile(schema)
            .map_err(|why| invalid(&format!("spec.versions[{index}].schema.openAPIV3Schema"), why))?;
        Ok(Resource {
            name: name.into(),
            group: group.clone(),
            version: version["name"].as_str().unwrap_or_default().to_owned(),
            kind: kind.clone(),
            plural: plural.clone(),
            singular: singular.clone(),
            short_names: texts("/names/shortNames"),
            categories: texts("/names/categories"),
            namespaced: text("/scope") != "Cluster",
            status: version["subresources"]["status"].is_object(),
            scale: false,
            typed: None,
            custom: Some(Arc::new(Custom {
                schema: compiled,
                open_api: schema.clone(),
                columns: version["additionalPrinterColumns"].clone(),
            })),
        })
    });
    made.collect()
}

/// Sets the status of an established CustomResourceDefinition.
pub(crate) fn establish(definition: &mut Value, now: &str) {
    let condition = |kind: &str, reason: &str, message: &str| json!({"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now});
    if definition["status"]["conditions"].is_array() {
        return;
    }
    let versions = definition["spec"]["versions"].as_array().into_iter().flatten();
    let stored: Vec<_> = versions
        .filter(|version| version["storage"] == true)
        .map(|version| version["name"].clone())
        .collect();
    definition["status"] = json!({
        "acceptedNames": definition["spec"]["names"],
        "storedVersions": stored,
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
    });
}
