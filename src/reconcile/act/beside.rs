//! Objects that a run creates, by kind.

use k8s_openapi::api::{autoscaling::v2::HorizontalPodAutoscaler, core::v1::Service};
use kanary_core::decision::ObjectKind;
use serde_json::Value;

use super::{Writer, effect};
use crate::{
    cache::{ScaledObject, for_kind},
    cluster::error::ApiError,
    shard::Right,
};

impl Writer {
    /// Creates an object beside a canary.
    pub(super) async fn create_beside(
        &self,
        object: ObjectKind,
        (namespace, name): (&str, &str),
        manifest: &Value,
        right: Right,
    ) -> Result<(), ApiError> {
        match object {
            ObjectKind::Workload(kind) => {
                for_kind!(kind, K => self.create::<K>(namespace, name, manifest, right).await.map(drop))
            }
            ObjectKind::Service => self.create::<Service>(namespace, name, manifest, right).await.map(drop),
            ObjectKind::HorizontalPodAutoscaler => {
                let created = self.create::<HorizontalPodAutoscaler>(namespace, name, manifest, right);
                effect::scales_as_asked(created.await?.as_ref(), (namespace, name), manifest)
            }
            ObjectKind::ScaledObject => {
                let created = self.create::<ScaledObject>(namespace, name, manifest, right);
                effect::scales_as_asked(created.await?.as_ref(), (namespace, name), manifest)
            }
        }
    }

    /// Deletes an object that a run created.
    pub(super) async fn delete_kind(
        &self,
        object: ObjectKind,
        (namespace, name): (&str, &str),
        seen: (&str, bool),
        right: Right,
    ) -> Result<(), ApiError> {
        match object {
            ObjectKind::Workload(kind) => {
                for_kind!(kind, K => self.delete::<K>(namespace, name, seen, right).await?);
            }
            ObjectKind::Service => self.delete::<Service>(namespace, name, seen, right).await?,
            ObjectKind::HorizontalPodAutoscaler => {
                self.delete::<HorizontalPodAutoscaler>(namespace, name, seen, right)
                    .await?;
            }
            ObjectKind::ScaledObject => self.delete::<ScaledObject>(namespace, name, seen, right).await?,
        }
        let place = (namespace.to_owned(), name.to_owned());
        self.cache.mark_deleting(object, &place, seen.0);
        Ok(())
    }
}
