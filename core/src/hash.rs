//! Hashes of templates, which identify runs and detect changes of targets.

use std::fmt::Write;

use serde_json::Value;
use sha2::{Digest, Sha256};

/// 16 hex digits of the hash of the canonical JSON (sorted keys) of `value`.
#[must_use]
pub fn of(value: &Value) -> String {
    // `serde_json::Map` is ordered by key unless the feature `preserve_order` is enabled, which a test checks.
    digest(value.to_string().as_bytes())
}

/// 16 hex digits of the hash of `bytes`.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .take(8)
        .fold(String::with_capacity(16), |mut hex, byte| {
            let _infallible = write!(hex, "{byte:02x}");
            hex
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_keys_does_not_change_a_hash() {
        let one: Value = serde_json::from_str(r#"{"a":1,"b":{"c":2,"d":3}}"#).unwrap();
        let other: Value = serde_json::from_str(r#"{"b":{"d":3,"c":2},"a":1}"#).unwrap();
        assert_eq!(of(&one), of(&other));
        assert_eq!(of(&one).len(), 16);
    }
}
