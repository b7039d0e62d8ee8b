//! `meta.k8s.io/v1 Table`, which `kubectl get` prints.

mod age;
mod built_in;
mod cells;
mod definitions;
mod json_path;
mod pods;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde_json::{Value, json};

pub use age::human_duration;
use definitions::Definitions;
use json_path::JsonPath;

use crate::resource::Resource;

/// The cells of an object.
type Row = fn(&Value, Timestamp) -> Vec<Value>;

/// The columns of a table.
#[derive(Clone, Debug)]
pub enum Columns {
    /// A built-in kind: name, type and priority of each column, and the function that formats the cells.
    BuiltIn(Definitions, Row),
    /// The columns of a CustomResourceDefinition, after the name.
    Custom(Vec<Column>),
}

/// A column of a CustomResourceDefinition.
#[derive(Clone, Debug)]
pub struct Column {
    definition: Value,
    kind: String,
    path: Option<JsonPath>,
}

/// The part of each object that a table includes: the parameter `includeObject`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    /// No part.
    None,
    /// Metadata only.
    #[default]
    Metadata,
    /// The whole object.
    Object,
}

impl IncludeObject {
    /// Parses the parameter.
    #[must_use]
    pub fn of(parameter: &str) -> Option<Self> {
        match parameter {
            "None" => Some(Self::None),
            "" | "Metadata" => Some(Self::Metadata),
            "Object" => Some(Self::Object),
            _ => None,
        }
    }
}

impl Columns {
    /// The columns of a kind.
    #[must_use]
    pub fn of(resource: &Resource) -> Self {
        match &resource.custom {
            Some(custom) => Self::custom(&custom.columns),
            None => built_in::columns(&resource.group, &resource.plural),
        }
    }

    /// Parses `additionalPrinterColumns`. If there are none, the age is shown.
    #[must_use]
    pub fn custom(columns: &Value) -> Self {
        let age = [json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"})];
        let given = columns.as_array().map(Vec::as_slice).filter(|given| !given.is_empty());
        Self::Custom(given.unwrap_or(&age).iter().map(Column::read).collect())
    }

    fn definitions(&self) -> Vec<Value> {
        match self {
            Self::BuiltIn(columns, _) => columns.iter().map(|(name, kind, at)| define(name, kind, *at)).collect(),
            Self::Custom(columns) => {
                let name = define("Name", "string", 0);
                std::iter::once(name)
                    .chain(columns.iter().map(|column| column.definition.clone()))
                    .collect()
            }
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        match self {
            Self::BuiltIn(_, row) => row(object, now),
            Self::Custom(columns) => {
                let name = json!(cells::name(object));
                std::iter::once(name)
                    .chain(columns.iter().map(|column| column.cell(object, now)))
                    .collect()
            }
        }
    }
}

fn define(name: &str, kind: &str, priority: i32) -> Value {
    let format = if name == "Name" { "name" } else { "" };
    json!({"name": name, "type": kind, "format": format, "description": "", "priority": priority})
}

impl Column {
    fn read(column: &Value) -> Self {
        let text = |name: &str| column[name].as_str().unwrap_or_default();
        let mut definition = define("", text("type"), 0);
        definition["name"] = column["name"].clone();
        definition["format"] = json!(text("format"));
        definition["priority"] = json!(column["priority"].as_i64().unwrap_or(0));
        definition["description"] = match text("description") {
            "" => json!(format!(
                "Custom resource definition column (in JSONPath format): {}",
                text("jsonPath")
            )),
            description => json!(description),
        };
        Self {
            definition,
            kind: text("type").to_owned(),
            path: JsonPath::parse(text("jsonPath")),
        }
    }

    /// The cell's value, or null if it is missing or has the wrong type.
    fn cell(&self, object: &Value, now: Timestamp) -> Value {
        let Some(value) = self.path.as_ref().and_then(|path| path.find(object)) else {
            return Value::Null;
        };
        match (self.kind.as_str(), value) {
            ("string", Value::String(_)) | ("boolean", Value::Bool(_)) | ("number", Value::Number(_)) => value.clone(),
            ("string", Value::Null) => json!("<nil>"),
            ("string", other) => json!(other.to_string()),
            ("integer", Value::Number(number)) => json!(whole(number)),
            ("date", Value::String(time)) => json!(age::of(time, now).unwrap_or_else(|| "<invalid>".to_owned())),
            _ => Value::Null,
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "a cell shows the integer part")]
fn whole(number: &serde_json::Number) -> i64 {
    number
        .as_i64()
        .unwrap_or_else(|| number.as_f64().unwrap_or_default() as i64)
}

/// A table with a row for each object. `list_meta` contains the `resourceVersion` and other list metadata.
#[must_use]
pub fn table(
    columns: &Columns,
    objects: &[Value],
    now: Timestamp,
    include_object: IncludeObject,
    list_meta: Value,
) -> Value {
    let row = |object: &Value| {
        let mut row = json!({"cells": columns.cells(object, now)});
        let conditions = cells::row_conditions(object);
        if !conditions.is_null() {
            row["conditions"] = conditions;
        }
        match include_object {
            IncludeObject::None => {}
            IncludeObject::Metadata => {
                row["object"] = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                    "metadata": object["metadata"]});
            }
            IncludeObject::Object => row["object"] = object.clone(),
        }
        row
    };
    let rows: Vec<_> = objects.iter().map(row).collect();
    let mut table = json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1",
        "columnDefinitions": columns.definitions(), "rows": rows});
    table["metadata"] = list_meta;
    table
}
