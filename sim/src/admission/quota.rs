//! `ResourceQuota`: limits the number of objects in a namespace. Other limits of a real quota are ignored.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Attempt;
use crate::{
    failure::Failure,
    object::{Object, string_map},
    store::Store,
};

pub(crate) const QUOTAS: &str = "resourcequotas";

pub(super) fn concerns(store: &Store, attempt: &Attempt<'_>) -> bool {
    let limited = attempt.verb == "create" && attempt.subresource.is_empty();
    limited && store.list(QUOTAS, Some(attempt.namespace)).next().is_some()
}

/// Refuses an object that would exceed a quota.
pub(super) fn judge(store: &Store, attempt: &Attempt<'_>, object: &Value) -> Result<(), Failure> {
    if !concerns(store, attempt) {
        return Ok(());
    }
    for quota in store.list(QUOTAS, Some(attempt.namespace)) {
        let usage = usage(store, quota).into_iter();
        let exceeded =
            usage.filter(|(limit, (hard, used))| resource_of(limit) == Some(attempt.resource) && used >= hard);
        let (mut requested, mut used_up, mut limited) = (Vec::new(), Vec::new(), Vec::new());
        for (limit, (hard, used)) in exceeded {
            requested.push(format!("{limit}=1"));
            used_up.push(format!("{limit}={used}"));
            limited.push(format!("{limit}={hard}"));
        }
        if !requested.is_empty() {
            let why = format!(
                "exceeded quota: {}, requested: {}, used: {}, limited: {}",
                quota.meta.name,
                requested.join(","),
                used_up.join(","),
                limited.join(",")
            );
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            return Err(Failure::forbidden(attempt.resource, name, &why));
        }
    }
    Ok(())
}

/// Limits of a quota that can be counted and their current usage, by resource: `pods`, `count/deployments.apps`.
pub(crate) fn usage(store: &Store, quota: &Object) -> BTreeMap<String, (u64, u64)> {
    let hard = string_map(&quota.json()["spec"]["hard"]);
    let counted = hard.into_iter().filter_map(|(limit, hard)| {
        let resource = resource_of(&limit)?;
        let hard = hard.parse().ok()?;
        let present = store.list(resource, Some(&quota.meta.namespace));
        let used = present.filter(|object| resource != "pods" || is_alive(object)).count();
        Some((limit.clone(), (hard, used as u64)))
    });
    counted.collect()
}

/// `deployments.apps` of `count/deployments.apps`.
fn resource_of(limit: &str) -> Option<&str> {
    match limit {
        "pods" | "services" | "secrets" | "configmaps" => Some(limit),
        _ => limit.strip_prefix("count/"),
    }
}

/// Finished pods do not count.
fn is_alive(pod: &Object) -> bool {
    !matches!(pod.json()["status"]["phase"].as_str(), Some("Failed" | "Succeeded"))
}
