//! Deletion: at once, after a grace period, or after the finalizers are removed.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{DeleteOptions, Deleted, Txn};
use crate::{admission::review_deletion, failure::Failure, resource::Resource, store::Place};

impl Txn<'_> {
    /// Deletes an object.
    pub(crate) fn delete(
        &mut self,
        resource: &Arc<Resource>,
        place: &Place,
        options: &DeleteOptions,
    ) -> Result<Deleted, Failure> {
        let live = self.live(resource, place)?;
        let must_be = [
            ("UID", &options.uid, live.meta.uid.clone()),
            (
                "ResourceVersion",
                &options.resource_version,
                live.meta.resource_version.to_string(),
            ),
        ];
        for (what, wanted, is) in must_be {
            if let Some(wanted) = wanted.as_ref().filter(|wanted| **wanted != is) {
                let why = format!("Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {is}");
                return Err(Failure::conflict(&resource.name, &place.1, &why));
            }
        }
        self.review("delete", resource, "", place, |state, attempt| {
            review_deletion(state, resource, attempt, &live.json())
        })?;
        if options.dry_run {
            return Ok(Deleted::Gone(live));
        }
        let mut object = live.value();
        let finalizer = propagation_finalizer(options);
        if let Some(finalizer) = finalizer.filter(|name| !live.meta.finalizers.iter().any(|known| known == name)) {
            let finalizers = live.meta.finalizers.iter().map(String::as_str).chain([finalizer]);
            object["metadata"]["finalizers"] = finalizers.collect();
        }
        let grace = match &*resource.name {
            "pods" => options
                .grace
                .or_else(|| object["spec"]["terminationGracePeriodSeconds"].as_i64()),
            // The namespace controller removes a namespace after it is empty.
            "namespaces" if !(live.meta.deleting && self.actor.ends_with(":namespace-controller")) => Some(1),
            _ => None,
        };
        let waits = object["metadata"]["finalizers"]
            .as_array()
            .is_some_and(|names| !names.is_empty());
        if !waits && grace.unwrap_or_default() <= 0 {
            return Ok(Deleted::Gone(self.remove(resource, object)));
        }
        if !live.meta.deleting {
            let grace = grace.unwrap_or_default();
            let end = self.at.checked_add(SignedDuration::from_secs(grace)).unwrap_or(self.at);
            let end = Timestamp::from_second(end.as_second()).unwrap_or(end);
            object["metadata"]["deletionTimestamp"] = json!(end.to_string());
            object["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
            if live.meta.generation > 0 {
                object["metadata"]["generation"] = json!(live.meta.generation + 1);
            }
            if &*resource.name == "namespaces" {
                object["status"]["phase"] = json!("Terminating");
            }
        }
        if *live.json() == object {
            return Ok(Deleted::Going(live));
        }
        self.store(resource, object, false).map(Deleted::Going)
    }
}

/// The finalizer for a propagation policy.
fn propagation_finalizer(options: &DeleteOptions) -> Option<&'static str> {
    match options.propagation.as_deref() {
        Some("Foreground") => Some("foregroundDeletion"),
        Some("Orphan") => Some("orphan"),
        _ => None,
    }
}
