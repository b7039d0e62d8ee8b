//! What all items that are measured have in common, whatever they ask.

use std::time::Duration;

use super::Window;
use crate::api::{GoDuration, MetricItem, OnNoData, PromQlItem};

/// Minimum interval of measurements.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// When an item is measured, and how many measurements of each kind decide.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// A hash of what is asked and of the criterion, which counts of measurements belong to. Tolerances and the interval are not
    /// part of it.
    pub id: String,
    /// Number of bad measurements that are tolerated in the whole run.
    pub failure_limit: u32,
    /// Number of consecutive measurements without a usable answer after which the item is inconclusive. At least 1.
    pub error_limit: u32,
    /// Number of good measurements that success needs. At least 1.
    pub min_samples: u32,
    /// Interval of measurements.
    pub interval: Duration,
    /// Whether the first measurement is the one at the deadline.
    pub at_the_end: bool,
    /// The result at the deadline with too few good measurements.
    pub on_no_data: OnNoData,
}

impl Terms {
    /// The window in which measurements are due.
    pub(super) fn measured_in(&self, window: Window) -> Window {
        Window {
            start: if self.at_the_end { window.deadline } else { window.start },
            ..window
        }
    }
}

/// The terms as a user writes them, in every kind of item.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) failure_limit: Option<u32>,
    pub(super) consecutive_error_limit: Option<u32>,
    pub(super) min_samples: Option<u32>,
    pub(super) interval: Option<GoDuration>,
    pub(super) on_no_data: Option<OnNoData>,
}

impl From<&PromQlItem> for Written {
    fn from(item: &PromQlItem) -> Self {
        Self {
            failure_limit: item.failure_limit,
            consecutive_error_limit: item.consecutive_error_limit,
            min_samples: item.min_samples,
            interval: item.interval,
            on_no_data: item.on_no_data,
        }
    }
}

impl From<&MetricItem> for Written {
    fn from(item: &MetricItem) -> Self {
        Self {
            failure_limit: item.failure_limit,
            consecutive_error_limit: item.consecutive_error_limit,
            min_samples: item.min_samples,
            interval: item.interval,
            on_no_data: item.on_no_data,
        }
    }
}

impl Written {
    /// The interval as the user wants it. `max` is the default.
    ///
    /// # Errors
    ///
    /// It is too short.
    pub(super) fn interval(&self, max: Duration) -> Result<Duration, String> {
        let interval = self.interval.map_or(max, |interval| interval.0);
        if interval < SHORTEST_INTERVAL {
            return Err("interval is shorter than 100ms: raise it".to_owned());
        }
        Ok(interval)
    }

    /// The terms of an item with this id. `max_interval` is the maximum and default interval.
    ///
    /// # Errors
    ///
    /// Names the invalid field, relative to the item, and how to fix it.
    pub(super) fn parse(&self, id: String, max_interval: Duration) -> Result<Terms, String> {
        Ok(Terms {
            id,
            failure_limit: self.failure_limit.unwrap_or(0),
            error_limit: at_least_one("consecutiveErrorLimit", self.consecutive_error_limit, 4)?,
            min_samples: at_least_one("minSamples", self.min_samples, 1)?,
            interval: self.interval(max_interval)?.min(max_interval),
            at_the_end: false,
            on_no_data: self.on_no_data.unwrap_or_default(),
        })
    }
}

fn at_least_one(field: &str, value: Option<u32>, default: u32) -> Result<u32, String> {
    match value.unwrap_or(default) {
        0 => Err(format!("{field} is 0: raise it to 1 or more")),
        value => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::{
        Outcome, Sample, Tally, due, next_check,
        tally::tests::{at, window},
    };

    #[test]
    fn an_item_may_be_measured_at_the_deadline_and_not_before() {
        let terms = Terms {
            id: String::new(),
            failure_limit: 0,
            error_limit: 4,
            min_samples: 1,
            interval: Duration::from_secs(10),
            at_the_end: true,
            on_no_data: OnNoData::Hold,
        };
        let mut tally = Tally::default();
        for (now, is_due, next) in [(0, false, 60), (30, false, 60), (59, false, 60), (60, true, 70)] {
            assert_eq!(due(&tally, &terms, window(60), at(now)), is_due, "{now}");
            assert_eq!(next_check(&terms, window(60), at(now)), Some(at(next)), "{now}");
        }
        tally.record(
            Sample {
                outcome: Outcome::Error,
                value: None,
                message: String::new(),
            },
            at(60),
            Vec::new(),
        );
        assert!(!due(&tally, &terms, window(60), at(69)));
        assert!(due(&tally, &terms, window(60), at(70)));
    }
}
