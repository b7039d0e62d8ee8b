//! Error messages in the format of `field.Error`, which kubectl shows to users.

use serde_json::{Number, Value};

use super::path::Path;
use crate::failure::Cause;

/// A number in Go's `%v` format.
pub(super) fn number(number: &Number) -> String {
    match number.as_i64() {
        Some(whole) => whole.to_string(),
        None => float(number.as_f64().unwrap_or_default()),
    }
}

/// A `float64` in Go's `%v` format: the shortest digits, with an exponent if it is below -4 or above 20.
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

/// A value in the format of error messages.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Number(it) => number(it),
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

/// A quoted string.
pub(super) fn quoted(text: &str) -> String {
    format!("{text:?}")
}

/// `Invalid value: "x": why`. `value` is already formatted.
pub(super) fn invalid(path: &Path, value: &str, why: &str) -> Cause {
    cause(
        "FieldValueInvalid",
        format!("Invalid value: {value}: {why}"),
        path.as_field(),
    )
}

/// A schema error, whose path is joined with dots only.
pub(super) fn schema_invalid(path: &Path, value: &str, why: &str) -> Cause {
    let place = path.as_schema();
    let why = format!("{place} in body {why}");
    cause(
        "FieldValueInvalid",
        format!("Invalid value: {value}: {why}"),
        or_nil(place),
    )
}

/// An error that contains its path only in the message.
pub(super) fn schema_wide(why: &str) -> Cause {
    invalid(&Path::Root, "\"\"", why)
}

/// The error for a value of another type than `wanted`.
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

/// `what`, followed by `why` unless it is empty.
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
