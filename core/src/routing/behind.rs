//! Gateways that do not take a route over.

use super::{BEHIND, There};
use crate::{
    api::Reason,
    problem::Problem,
    route::{self, Standing},
    status::{ERRORED, is_true_for},
    step::Step,
};

impl There<'_> {
    /// Whether a gateway has had too long to take the route over, as far as this controller has seen.
    pub(crate) fn is_late(&self, step: &Step<'_>) -> bool {
        self.seen.since.checked_add(BEHIND).is_ok_and(|late| late <= step.now)
    }

    /// A gateway that has not taken the route over for too long. What the status says already stays until it is over: a controller that
    /// has just started does not know since when.
    pub(crate) fn behind(&self, step: &Step<'_>) -> Option<Problem> {
        let (Standing::Refused(why) | Standing::Not(why)) = route::standing(self.route.kind, self.object) else {
            return None;
        };
        let is_reported = is_true_for(&step.kanary.status, ERRORED, Reason::GatewayBehind);
        (is_reported || self.is_late(step)).then(|| {
            let message = format!(
                "{} was changed, and its status does not say that the change is in force: {why}; the run waits",
                self.route
            );
            Problem::new(Reason::GatewayBehind, message)
        })
    }
}
