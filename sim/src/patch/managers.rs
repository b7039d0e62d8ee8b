//! Field managers: `metadata.managedFields`.

use serde_json::{Map, Value, json};

use super::fields::Fields;
use crate::failure::Failure;

/// How a manager writes. The same name with another operation is a different manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

/// An entry of `managedFields`, in list order.
#[derive(Clone, Debug)]
pub(super) struct Manager {
    pub(super) operation: Operation,
    /// RFC 3339. An entry of a request that changed nothing has no time.
    pub(super) time: Option<String>,
    pub(super) name: String,
    pub(super) api_version: String,
    pub(super) subresource: String,
    pub(super) fields: Fields,
}

impl Manager {
    /// Whether both entries belong to the same manager. For `Apply`, the API version does not matter.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.operation == other.operation
            && self.name == other.name
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }

    fn from_json(entry: &Value) -> Option<Self> {
        let text = |field: &str| entry.get(field).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            operation: match entry.get("operation")?.as_str()? {
                "Apply" => Operation::Apply,
                "Update" => Operation::Update,
                _ => return None,
            },
            time: text("time"),
            name: text("manager").unwrap_or_default(),
            api_version: text("apiVersion")?,
            subresource: text("subresource").unwrap_or_default(),
            fields: entry.get("fieldsV1").map(Fields::from_json).unwrap_or_default(),
        })
    }

    fn to_json(&self) -> Value {
        let operation = match self.operation {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        };
        let mut entry = Map::new();
        entry.insert("manager".to_owned(), json!(self.name));
        entry.insert("operation".to_owned(), json!(operation));
        entry.insert("apiVersion".to_owned(), json!(self.api_version));
        entry.insert("fieldsType".to_owned(), json!("FieldsV1"));
        entry.insert("fieldsV1".to_owned(), self.fields.to_json());
        if let Some(time) = &self.time {
            entry.insert("time".to_owned(), json!(time));
        }
        if !self.subresource.is_empty() {
            entry.insert("subresource".to_owned(), json!(self.subresource));
        }
        Value::Object(entry)
    }

    /// The manager's name in conflict messages.
    fn shown(&self) -> String {
        let through = match self.subresource.as_str() {
            "" => String::new(),
            subresource => format!(" with subresource {subresource:?}"),
        };
        let using = match self.operation {
            Operation::Apply => String::new(),
            Operation::Update => format!(" using {}", self.api_version),
        };
        format!("{:?}{through}{using}", self.name)
    }
}

/// Removes the managers from an object and returns them. Returns `None` if the object has no such list or an invalid
/// entry.
pub(super) fn take(object: &mut Value) -> Option<Vec<Manager>> {
    let metadata = object.get_mut("metadata")?.as_object_mut()?;
    let entries = metadata.remove("managedFields")?;
    entries.as_array()?.iter().map(Manager::from_json).collect()
}

/// Stores the managers that still own fields in an object.
pub(super) fn put(object: &mut Value, managers: Vec<Manager>) {
    let mut managers: Vec<_> = managers
        .into_iter()
        .filter(|manager| !manager.fields.is_empty())
        .collect();
    managers.sort_by(|a, b| {
        let key = |m: &Manager| {
            (
                m.operation,
                m.time.clone(),
                m.name.clone(),
                m.api_version.clone(),
                m.subresource.clone(),
            )
        };
        key(a).cmp(&key(b))
    });
    let entries: Vec<_> = managers.iter().map(Manager::to_json).collect();
    if !entries.is_empty()
        && let Some(object) = object.as_object_mut()
        && let Some(metadata) = object.entry("metadata").or_insert_with(|| json!({})).as_object_mut()
    {
        metadata.insert("managedFields".to_owned(), Value::Array(entries));
    }
}

/// 409 for fields that other managers own with different values.
pub(super) fn conflict(conflicts: &[(Manager, Fields)]) -> Failure {
    let mut conflicting: Vec<_> = conflicts
        .iter()
        .map(|(manager, fields)| (manager.shown(), fields.paths()))
        .collect();
    conflicting.sort();
    let causes: Vec<_> = conflicting
        .iter()
        .flat_map(|(manager, paths)| {
            paths.iter().map(move |path| {
                json!({"reason": "FieldManagerConflict", "message": format!("conflict with {manager}"), "field": path})
            })
        })
        .collect();
    let message = match &conflicting[..] {
        [(manager, paths)] if causes.len() == 1 => {
            format!(
                "Apply failed with 1 conflict: conflict with {manager}: {}",
                paths.concat()
            )
        }
        _ => {
            let lines = conflicting.iter().flat_map(|(manager, paths)| {
                let paths = paths.iter().map(|path| format!("- {path}"));
                std::iter::once(format!("conflicts with {manager}:")).chain(paths)
            });
            let lines: Vec<_> = lines.collect();
            format!("Apply failed with {} conflicts: {}", causes.len(), lines.join("\n"))
        }
    };
    let mut failure = Failure::new(409, "Conflict", message);
    failure.details = json!({ "causes": causes });
    failure
}
