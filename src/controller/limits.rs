//! Limits of queries.

use super::Parts;
use crate::prometheus::{Budget, FleetShare};

impl Parts {
    /// This replica's part of the limits of queries.
    pub(super) fn budget(&self, of_all: Budget) -> Budget {
        let fence = self.context.fence.clone();
        Budget {
            share: FleetShare::from_source(move || fence.share()),
            ..of_all
        }
    }
}
