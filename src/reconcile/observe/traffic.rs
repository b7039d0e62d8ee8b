//! Reads of what leads requests to a canary.

use jiff::Timestamp;
use kanary_core::{
    ParsedKanary,
    decision::Need,
    observation::{Observation, RouteFound, RouteSeen},
    spec::Spec,
};

use super::Observer;
use crate::{cluster::error::ApiError, reconcile::routes};

impl Observer<'_> {
    /// Reads the route, or the addresses behind the canary's own Service.
    pub(super) async fn provide_traffic(
        &self,
        kanary: &ParsedKanary,
        spec: &Spec,
        need: Need,
        seen: &mut Observation,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        if need == Need::Route {
            let found = match self.routes {
                Some(_) => routes::find(self.client, kanary, spec).await?,
                None => RouteFound::Disabled,
            };
            let known = self.memory.route_read(&kanary.key, found, now);
            seen.route = Some(RouteSeen { live: true, ..known });
        } else {
            let service = spec.kanary_service.as_deref().unwrap_or_default();
            let ready = routes::endpoints(self.client, &kanary.key.namespace, service).await?;
            seen.endpoints = Some(self.memory.endpoints_read(&kanary.key, ready, now));
        }
        Ok(())
    }
}
