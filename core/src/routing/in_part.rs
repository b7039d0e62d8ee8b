//! Routes that only some of their gateways serve. A canary with a share would get requests through these gateways, and would not be
//! judged, because its share is not in force everywhere.

use super::There;
use crate::{api::Reason, problem::Problem, route, step::Step};

impl There<'_> {
    /// A gateway that serves nothing of the route, beside one that serves it.
    pub(crate) fn served_in_part(&self) -> Option<Problem> {
        let why = route::served_in_part(self.route.kind, self.object)?;
        let message = format!(
            "{} is served by some of its gateways only, so no canary gets requests through it: {why}; see that the gateway accepts \
             the route, or take it out of spec.parentRefs",
            self.route
        );
        Some(Problem::new(Reason::GatewayBehind, message))
    }

    /// The same before the canary has a share. What it has is taken out if that lasts.
    pub(super) fn refuses_first_share(&self, step: &Step<'_>) -> Option<Problem> {
        self.share(step).is_none().then(|| self.served_in_part()).flatten()
    }
}
