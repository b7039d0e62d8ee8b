//! PromQL items: a query, whom it is put to, and what the answer comes to.

mod criterion;
mod endpoint;
mod grade;
mod judge;
mod number;
mod template;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use endpoint::Endpoint;
pub use template::Vars;

use self::{criterion::Criterion, template::Template};
use super::{Answer, Sample};
use crate::api::{OnNoData, PromQlItem};

/// No check is more frequent than this.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// A valid PromQL item, with its defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct PromQl {
    /// Where the query is put.
    pub endpoint: Endpoint,
    /// Bad measurements that are tolerated in the whole run.
    pub failure_limit: u32,
    /// Queries in a row that could not be answered before the item is inconclusive. At least 1.
    pub error_limit: u32,
    /// Good measurements that success needs. At least 1.
    pub min_samples: u32,
    /// Time between two checks.
    pub interval: Duration,
    /// What happens at the deadline with too few good measurements.
    pub on_no_data: OnNoData,
    query: Template,
    pod_key: String,
    all_pods: bool,
    criterion: Criterion,
}

impl PromQl {
    /// Reads an item. `max_interval` is the longest time between two checks, and the default.
    ///
    /// # Errors
    ///
    /// Names the field that is wrong, relative to the item, and how to mend it.
    pub fn parse(item: &PromQlItem, max_interval: Duration) -> Result<Self, String> {
        let interval = item.interval.map_or(max_interval, |interval| interval.0);
        if interval < SHORTEST_INTERVAL {
            return Err("interval is shorter than 100ms: raise it".to_owned());
        }
        Ok(Self {
            endpoint: Endpoint::parse(item)?,
            failure_limit: item.failure_limit.unwrap_or(0),
            error_limit: at_least_one("consecutiveErrorLimit", item.consecutive_error_limit, 4)?,
            min_samples: at_least_one("minSamples", item.min_samples, 1)?,
            interval: interval.min(max_interval),
            on_no_data: item.on_no_data.unwrap_or_default(),
            query: Template::parse(&item.query)?,
            pod_key: present(item.pod_name_key.as_ref()).unwrap_or("pod").to_owned(),
            all_pods: item.all_pods_query.unwrap_or(false),
            criterion: Criterion::parse(item)?,
        })
    }

    /// The query with its variables filled in.
    #[must_use]
    pub fn render(&self, vars: &Vars<'_>) -> String {
        self.query.render(vars)
    }

    /// Whether asking makes sense only while there are ready canary pods to ask about: the result is judged per pod, or the
    /// query uses `{{ pods }}`.
    #[must_use]
    pub fn needs_pods(&self) -> bool {
        !self.all_pods || self.query.uses_pods()
    }

    /// Whether the query uses `{{ service.name }}`, which a Kanary without `serviceName` can't fill in.
    #[must_use]
    pub fn needs_service(&self) -> bool {
        self.query.uses_service()
    }

    /// What `answer` says about the canary whose ready pods are `ready_pods`. Only a finite number that meets the criterion
    /// passes or, for `noResult`, the absence of series.
    #[must_use]
    pub fn judge(&self, answer: &Answer, ready_pods: &[&str]) -> Sample {
        judge::judge(self, answer, ready_pods)
    }
}

/// The text of an optional field; an empty one counts as absent.
fn present(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}

fn at_least_one(field: &str, value: Option<u32>, default: u32) -> Result<u32, String> {
    match value.unwrap_or(default) {
        0 => Err(format!("{field} is 0: raise it to 1 or more")),
        value => Ok(value),
    }
}
