//! Names that Services cannot have, and labels that only Kanary sets.

use serde_json::Value;

use super::{Key, invalid::Invalid};
use crate::api::names;

/// Whether a name can be a Service's: a label of RFC 1035.
fn is_service_name(name: &str) -> bool {
    let begins = name.starts_with(|first: char| first.is_ascii_lowercase());
    let all = name
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    begins && all && !name.ends_with('-')
}

/// Name of the canary's own Service: the one that was chosen, or one made of the production Service's and the Kanary's.
///
/// # Errors
///
/// It cannot be a Service's, or is the production Service's.
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

/// What is wrong with labels of a template that only Kanary sets: its pods would be taken for a canary's, by the Service of
/// one and by Kanary's watches.
pub(super) fn reserved(metadata: &Value, at: &str) -> Option<Invalid> {
    let labels = metadata.get("labels").and_then(Value::as_object);
    let mut all = labels.into_iter().flat_map(|labels| labels.keys());
    let name = all.find(|name| names::is_reserved(name))?;
    Some(Invalid::spec(format!(
        "{at}.labels has {name}, and only Kanary sets labels of {}: remove it",
        names::GROUP
    )))
}
