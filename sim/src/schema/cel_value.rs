//! Conversion of JSON to CEL values: typed by the schema, with field names escaped to identifiers.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta};
use kube_cel::cel::Value as Cel;
use kube_cel::cel::objects::{Key, Map};
use serde_json::{Map as Fields, Value};

use super::cel_functions::duration_nanoseconds;
use super::node::{Additional, Kind, Node};
use super::rule::Reads;

/// Converts the parts of `value` that a rule reads.
pub(super) fn visible(node: &Node, value: &Value, reads: &Reads) -> Result<Cel, String> {
    let (Reads::Fields(wanted), Value::Object(fields)) = (reads, value) else {
        return typed(node, value);
    };
    let mut seen = HashMap::with_capacity(wanted.len());
    for (name, &with_value) in wanted {
        // Null in a declared field is equivalent to absence; in a map it is a value.
        let is_map = matches!(node.additional, Additional::Each(_)) && node.properties.is_empty();
        let field = if is_map { name.clone() } else { unescape(name) };
        let Some(value) = fields.get(&field).filter(|value| is_map || !value.is_null()) else {
            continue;
        };
        let value = if with_value {
            field_value(node, &field, value)?
        } else {
            Cel::Null
        };
        seen.insert(Key::from(name.as_str()), value);
    }
    Ok(map(seen))
}

fn field_value(node: &Node, field: &str, value: &Value) -> Result<Cel, String> {
    if (node.resource || node.embedded) && field == "metadata" {
        let named = ["name", "generateName"].into_iter().filter_map(|name| {
            let text = value.get(name)?.as_str()?;
            Some((Key::from(name), string(text)))
        });
        return Ok(map(named.collect()));
    }
    match node.child(field) {
        Some((child, _)) => typed(child, value),
        None => Ok(untyped(value)),
    }
}

fn typed(node: &Node, value: &Value) -> Result<Cel, String> {
    let unfit = |wanted: &str| Err(format!("invalid data, expected {wanted}, got {}", go_type(value)));
    match (node.kind, value) {
        (_, Value::Null) if node.nullable => Ok(Cel::Null),
        (_, Value::Null) => Err("invalid data, got null for schema with nullable=false".to_owned()),
        (Some(Kind::Object), Value::Object(fields)) => object(node, fields),
        (Some(Kind::Array), Value::Array(items)) => {
            let Some(inner) = &node.items else {
                return Ok(untyped(value));
            };
            let items: Result<Vec<_>, _> = items.iter().map(|item| typed(inner, item)).collect();
            Ok(Cel::List(Arc::new(items?)))
        }
        (Some(Kind::String), Value::String(text)) => Ok(formatted(node, text)),
        (Some(Kind::Number), Value::Number(number)) => Ok(Cel::Float(number.as_f64().unwrap_or_default())),
        (Some(Kind::Integer), Value::Number(number)) if number.is_i64() => Ok(untyped(value)),
        (Some(Kind::Boolean), Value::Bool(it)) => Ok(Cel::Bool(*it)),
        (None, _) => Ok(untyped(value)),
        (Some(Kind::Object), _) => unfit("a map for the provided schema with type=object"),
        (Some(Kind::Array), _) => unfit("an array for the provided schema with type=array"),
        (Some(Kind::String), _) => unfit("string"),
        (Some(Kind::Number), _) => unfit("float"),
        (Some(Kind::Integer), _) => unfit("int"),
        (Some(Kind::Boolean), _) => unfit("bool"),
    }
}

fn object(node: &Node, fields: &Fields<String, Value>) -> Result<Cel, String> {
    let is_map = matches!(node.additional, Additional::Each(_)) && node.properties.is_empty();
    let mut seen = HashMap::with_capacity(fields.len());
    for (name, value) in fields {
        if is_map {
            seen.insert(Key::from(name.as_str()), field_value(node, name, value)?);
        } else if !value.is_null() {
            seen.insert(Key::from(escape(name)), field_value(node, name, value)?);
        }
    }
    Ok(map(seen))
}

fn formatted(node: &Node, text: &str) -> Cel {
    let value = match node.format.as_ref().map_or("", |format| format.name()) {
        "duration" => duration_nanoseconds(text).map(|it| Cel::Duration(TimeDelta::nanoseconds(it))),
        "date-time" => DateTime::parse_from_rfc3339(text).ok().map(Cel::Timestamp),
        "date" => {
            let day = text.parse::<NaiveDate>().ok();
            day.map(|day| Cel::Timestamp(day.and_time(NaiveTime::MIN).and_utc().fixed_offset()))
        }
        _ => None,
    };
    value.unwrap_or_else(|| string(text))
}

/// Converts a value without a schema.
fn untyped(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(it) => Cel::Bool(*it),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Cel::Int(whole),
            None => Cel::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => string(text),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(untyped).collect())),
        Value::Object(fields) => map(fields
            .iter()
            .map(|(name, value)| (Key::from(name.as_str()), untyped(value)))
            .collect()),
    }
}

fn string(text: &str) -> Cel {
    Cel::String(Arc::new(text.to_owned()))
}

fn map(entries: HashMap<Key, Cel>) -> Cel {
    Cel::Map(Map { map: Arc::new(entries) })
}

/// The Go type that a JSON value decodes to, for error messages.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_i64() => "int64",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// Reserved words of CEL, which cannot be identifiers.
const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

const ESCAPES: [(&str, &str); 4] = [
    ("__", "__underscores__"),
    (".", "__dot__"),
    ("-", "__dash__"),
    ("/", "__slash__"),
];

/// Escapes a field name to an identifier.
fn escape(field: &str) -> String {
    if RESERVED.contains(&field) {
        return format!("__{field}__");
    }
    ESCAPES.iter().fold(field.to_owned(), |name, (plain, escaped)| {
        // Underscores are escaped first, because the other escapes contain them.
        if name.contains(plain) {
            name.replace(plain, escaped)
        } else {
            name
        }
    })
}

/// The field name of an escaped identifier.
fn unescape(name: &str) -> String {
    let keyword = name.strip_prefix("__").and_then(|it| it.strip_suffix("__"));
    if let Some(keyword) = keyword.filter(|keyword| RESERVED.contains(keyword)) {
        return keyword.to_owned();
    }
    ESCAPES.iter().rev().fold(name.to_owned(), |name, (plain, escaped)| {
        if name.contains(escaped) {
            name.replace(escaped, plain)
        } else {
            name
        }
    })
}
