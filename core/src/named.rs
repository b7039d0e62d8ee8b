//! Validation of Service names, and of labels that are reserved for Kanary.

use serde_json::Value;

use super::{Key, invalid::Invalid};
use crate::api::names;

/// Whether a name is valid for a Service: a label of RFC 1035.
fn is_service_name(name: &str) -> bool {
    let begins = name.starts_with(|first: char| first.is_ascii_lowercase());
    let all = name
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    begins && all && !name.ends_with('-')
}

/// Name of the canary's own Service: the configured name, or one derived from the production Service's and the Kanary's.
///
/// # Errors
///
/// Fails if it is not a valid Service name or is the production Service's name.
pub(super) fn own_service(key: &Key, chosen: Option<String>, service: &str) -> Result<String, Invalid> {
    if let Some(name) = chosen.as_ref().filter(|name| !is_service_name(name)) {
        return Err(Invalid::spec(format!(
            "spec.traffic.kanaryService {name} is no name of a Service: use lower-case letters, digits and -, and begin with a \
             letter"
        )));
    }
    let name = chosen.unwrap_or_else(|| names::kanary_service_name(service, &key.name));
    if !is_service_name(&name) {
        return Err(Invalid::spec(format!(
            "the canary's Service would be called {name}, and the name of a Service has no dots: set \
             spec.traffic.kanaryService, or rename the Kanary"
        )));
    }
    if name.len() > 63 {
        return Err(Invalid::spec(format!(
            "the name of the canary's Service, {name}, has {} characters and 63 are possible: set \
             spec.traffic.kanaryService to a shorter one",
            name.len()
        )));
    }
    if name == service {
        return Err(Invalid::spec(format!(
            "spec.traffic.kanaryService is the production Service {service} itself: choose another name"
        )));
    }
    Ok(name)
}

/// Problems with reserved labels in a template: a canary's Service and Kanary's watches would take its pods for a
/// canary's.
pub(super) fn reserved(metadata: &Value, at: &str) -> Option<Invalid> {
    let labels = metadata.get("labels").and_then(Value::as_object);
    let mut all = labels.into_iter().flat_map(|labels| labels.keys());
    let name = all.find(|name| names::is_reserved(name))?;
    Some(Invalid::spec(format!(
        "{at}.labels has {name}, and only Kanary sets labels of {}: remove it",
        names::GROUP
    )))
}
