//! Reads of what leads requests to a canary.

use std::collections::BTreeSet;

use jiff::Timestamp;
use kanary_core::{
    ParsedKanary,
    decision::Need,
    observation::{Observation, RouteFound, RouteSeen},
    route,
    spec::Spec,
};

use super::Observer;
use crate::{
    cluster::error::ApiError,
    reconcile::{endpoints, routes},
};

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
            let used = match seen.route.as_ref().map(|route| &route.found) {
                Some(RouteFound::There(found, object)) => {
                    route::ports(found.kind, object, spec.service.as_deref().unwrap_or_default())
                }
                _ => BTreeSet::new(),
            };
            let found = endpoints::read(self.client, &kanary.key.namespace, service, &used).await?;
            seen.endpoints = Some(self.memory.endpoints_read(&kanary.key, found, now));
        }
        Ok(())
    }
}
