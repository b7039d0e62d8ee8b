//! The sentences of `field.Error`, as users read them through kubectl.

use serde_json::{Number, Value};

use super::path::Path;
use crate::failure::Cause;

/// How Go prints a number with `%v`.
pub(super) fn number(number: &Number) -> String {
    match number.as_i64() {
        Some(whole) => whole.to_string(),
        None => float(number.as_f64().unwrap_or_default()),
    }
}

/// How Go prints a `float64` with `%v`: the shortest digits, with an exponent if it is below -4 or above 20.
pub(super) fn float(value: f64) -> String {
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..21).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// A value as an error shows it.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Number(it) => number(it),
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

/// A string in quotes.
pub(super) fn quoted(text: &str) -> String {
    format!("{text:?}")
}

/// `Invalid value: "x": why`, for which `value` is shown already.
pub(super) fn invalid(path: &Path, value: &str, why: &str) -> Cause {
    cause(
        "FieldValueInvalid",
        format!("Invalid value: {value}: {why}"),
        path.as_field(),
    )
}

/// An error of the schema: its path has dots only.
pub(super) fn schema_invalid(path: &Path, value: &str, why: &str) -> Cause {
    let place = path.as_schema();
    let why = format!("{place} in body {why}");
    cause(
        "FieldValueInvalid",
        format!("Invalid value: {value}: {why}"),
        or_nil(place),
    )
}

/// An error that names its place in the sentence only.
pub(super) fn schema_wide(why: &str) -> Cause {
    invalid(&Path::Root, "\"\"", why)
}

/// The value has another type than `wanted`.
pub(super) fn type_invalid(path: &Path, wanted: &str, got: &str) -> Cause {
    let place = path.as_schema();
    let got = quoted(got);
    let message = format!("Invalid value: {got}: {place} in body must be of type {wanted}: {got}");
    cause("FieldValueTypeInvalid", message, or_nil(place))
}

pub(super) fn required(path: &Path, why: &str) -> Cause {
    cause("FieldValueRequired", detailed("Required value", why), path.as_field())
}

pub(super) fn too_long(path: &Path, most: u64) -> Cause {
    let unit = if most == 1 { "byte" } else { "bytes" };
    let message = format!("Too long: may not be more than {most} {unit}");
    cause("FieldValueTooLong", message, or_nil(path.as_schema()))
}

pub(super) fn too_many(path: &Path, count: usize, most: u64) -> Cause {
    let unit = if most == 1 { "item" } else { "items" };
    let message = format!("Too many: {count}: must have at most {most} {unit}");
    cause("FieldValueTooMany", message, or_nil(path.as_schema()))
}

pub(super) fn not_supported(path: &Path, value: &Value, supported: &[Value]) -> Cause {
    let supported: Vec<_> = supported
        .iter()
        .map(|value| match value {
            Value::String(text) => quoted(text),
            other => quoted(&shown(other)),
        })
        .collect();
    let message = format!(
        "Unsupported value: {}: supported values: {}",
        shown(value),
        supported.join(", ")
    );
    cause("FieldValueNotSupported", message, or_nil(path.as_schema()))
}

pub(super) fn duplicate(path: &Path, value: &Value) -> Cause {
    cause(
        "FieldValueDuplicate",
        format!("Duplicate value: {}", shown(value)),
        path.as_field(),
    )
}

/// `what`, with `why` if there is something to add.
pub(super) fn detailed(what: &str, why: &str) -> String {
    if why.is_empty() {
        what.to_owned()
    } else {
        format!("{what}: {why}")
    }
}

pub(super) fn cause(reason: &'static str, message: String, field: String) -> Cause {
    Cause { reason, message, field }
}

fn or_nil(place: String) -> String {
    if place.is_empty() { "<nil>".to_owned() } else { place }
}
