//! Kubernetes Events.

use std::collections::BTreeMap;

use k8s_openapi::{api::events::v1::Event, apimachinery::pkg::apis::meta::v1::MicroTime};
use kanary_core::{
    Key,
    api::names::{GROUP, TRACE_ID},
    hash,
};
use kube::api::PostParams;
use serde::de::IgnoredAny;
use serde_json::json;

use super::{Writer, send::of};
use crate::{cluster::error::ApiError, reconcile::events::Announcement};

impl Writer {
    /// Creates a Kubernetes Event for a notice. Its name is derived from the notice, so creating it again has no effect.
    ///
    /// # Errors
    ///
    /// The right ended, or the request failed or timed out.
    pub async fn announce(&self, announcement: &Announcement) -> Result<(), ApiError> {
        let Announcement {
            key,
            uid,
            notice,
            right,
            trace,
        } = announcement;
        let Key { kind, namespace, name } = key;
        let fact = format!("{uid}/{}/{}", notice.reason, notice.at);
        let event_name = format!("{name}.{}", hash::digest(fact.as_bytes()));
        let mut note = notice.note.clone();
        // events.k8s.io takes 1 kB.
        note.truncate(note.floor_char_boundary(1000));
        let annotations: BTreeMap<_, _> = trace.iter().map(|place| (TRACE_ID, place.trace.to_string())).collect();
        let event = json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": event_name, "namespace": namespace, "annotations": annotations},
            "eventTime": MicroTime(notice.at),
            "reportingController": GROUP,
            "reportingInstance": self.instance,
            "action": notice.reason.as_str(),
            "reason": notice.reason.as_str(),
            "type": if notice.warning { "Warning" } else { "Normal" },
            "note": note,
            "regarding": {
                "apiVersion": kind.api_version(),
                "kind": kind.as_str(),
                "namespace": namespace,
                "name": name,
                "uid": uid,
            },
        });
        let failed = |error| ApiError::new("create", "Event".into(), namespace, &event_name, error);
        let body = serde_json::to_vec(&event).map_err(|e| failed(kube::Error::SerdeError(e)))?;
        let request = of::<Event>(namespace).create(&PostParams::default(), body);
        match self.send::<IgnoredAny>(request, "create", *right).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }
}
