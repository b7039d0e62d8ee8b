//! A measurement requested by a decision.

use jiff::Timestamp;
use kanary_core::{
    Key,
    validation::{
        Terms, Window,
        metric::{Metric, PodSelector},
        next_check,
        promql::PromQl,
    },
};

use super::traced::Measuring;
use crate::prometheus::When;

/// A measurement that is due.
#[derive(Clone, Debug)]
pub struct Check {
    /// The Kanary.
    pub key: Key,
    /// The run.
    pub run: String,
    /// Index of the validation item.
    pub index: usize,
    /// What is asked.
    pub question: Question,
    /// The canary's ready pods.
    pub pods: Vec<String>,
    /// All pods of the run, ready or not.
    pub all_pods: Vec<String>,
    /// The evaluation time, between these bounds.
    pub when: When,
    /// uid of the canary.
    pub canary: String,
    /// Its place in the trace of the run, if traces are collected.
    pub trace: Option<Measuring>,
}

/// What an item asks, of whom.
#[derive(Clone, Debug)]
pub enum Question {
    /// A query to a Prometheus.
    PromQl {
        /// The item.
        query: Box<PromQl>,
        /// The query with its placeholders replaced.
        text: String,
        /// The evidence query, for an item that needs evidence.
        evidence: Option<String>,
    },
    /// A request to a Kubernetes metrics API.
    Metric {
        /// The item.
        metric: Box<Metric>,
        /// The pods of the run.
        pods: PodSelector,
        /// Values from before this time do not count.
        since: Timestamp,
    },
}

impl Question {
    /// When the item is measured, and what decides.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        match self {
            Self::PromQl { query, .. } => &query.terms,
            Self::Metric { metric, .. } => &metric.terms,
        }
    }

    /// The kind of the item.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::PromQl { .. } => "promQL",
            Self::Metric { .. } => "metric",
        }
    }

    /// What is asked, and where.
    #[must_use]
    pub fn shown(&self) -> (String, String) {
        match self {
            Self::PromQl { query, text, .. } => (text.clone(), query.endpoint.url.clone()),
            Self::Metric { metric, .. } => (metric.to_string(), metric.api().to_string()),
        }
    }
}

/// When the answer to a query that is due at `at` is needed. It counts for the same point of the grid if it is evaluated before
/// the next one. The query that the verdict waits for has been due since the deadline.
pub(super) fn when(terms: &Terms, window: Option<Window>, at: Timestamp) -> When {
    let exactly = When::exactly(at);
    let next = window.and_then(|window| next_check(terms, window, at));
    let Some((window, next)) = window.zip(next) else {
        return exactly;
    };
    When {
        at,
        before: next.max(exactly.before),
        due: if window.deadline <= at { window.deadline } else { next },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_query_may_be_evaluated_until_the_next_one_is_due_and_the_last_one_is_urgent() {
        let at = |millis: i64| Timestamp::from_millisecond(1_000_000_000 + millis).unwrap();
        let item = serde_json::from_value(serde_json::json!({
            "prometheusService": "p", "query": "up", "boolean": {}, "interval": "10s",
        }));
        let query = PromQl::parse(&item.unwrap(), Duration::from_secs(20)).unwrap();
        let window = Some(Window {
            start: at(0),
            deadline: at(25_000),
        });
        for (now, before, due) in [
            (10_000, 20_000, 20_000),
            (19_999, 20_000, 20_000),
            (20_003, 25_000, 25_000),
            (25_000, 30_000, 25_000),
            (41_000, 50_000, 25_000),
        ] {
            let wanted = When {
                at: at(now),
                before: at(before),
                due: at(due),
            };
            assert_eq!(when(&query.terms, window, at(now)), wanted, "{now}");
        }
        assert_eq!(when(&query.terms, None, at(7)), When::exactly(at(7)));
    }
}
