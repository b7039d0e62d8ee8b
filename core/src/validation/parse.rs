//! Parsing of `spec.validation`: valid items, and a message for each problem.

use std::{collections::BTreeSet, time::Duration};

use super::{Terms, Validation, fitting, metric::Metric, promql::PromQl};
use crate::{
    api::{AfterDeadline, GoDuration, LabelMatch, ManualItem, ManualVerdict, ValidationItem, ValidationSpec, names},
    counted,
    invalid::Invalid,
    labels::Selector,
};

/// In a shorter period nobody could object.
const SHORTEST_PERIOD: Duration = Duration::from_secs(1);

/// A parsed validation item.
#[derive(Clone, Debug)]
pub enum Item {
    /// A manual verdict.
    Manual {
        /// The result at the deadline without a verdict.
        after_deadline: AfterDeadline,
        /// The verdict.
        status: Option<ManualVerdict>,
        /// A verdict in the spec that does not count, because it is from an earlier run.
        ignored: Option<ManualVerdict>,
    },
    /// Labels that fail the run.
    LabelWatch {
        /// Labels of a canary pod.
        pods: Option<Selector>,
        /// Labels of the canary Deployment.
        deployment: Option<Selector>,
    },
    /// A Prometheus query.
    PromQl(Box<PromQl>),
    /// A value of a Kubernetes metrics API.
    Metric(Box<Metric>),
    /// An invalid item. It keeps its place and never agrees.
    Unreadable(&'static str),
}

impl Validation {
    /// Whether a query uses the production Service.
    pub(crate) fn needs_service(&self) -> bool {
        self.items
            .iter()
            .any(|item| matches!(item, Item::PromQl(query) if query.needs_service()))
    }

    /// Whether an item looks at the labels of the canary's pods.
    #[must_use]
    pub fn judges_pods(&self) -> bool {
        self.items
            .iter()
            .any(|item| matches!(item, Item::LabelWatch { pods: Some(_), .. }))
    }

    /// Sets defaults and records problems. `unreadable` are the indices of items that could not be parsed, whose problems
    /// are already recorded.
    pub fn parse(spec: ValidationSpec, unreadable: &BTreeSet<usize>, problems: &mut Vec<Invalid>) -> Self {
        if [&spec.manual, &spec.label_watch, &spec.prom_ql, &spec.metric]
            .into_iter()
            .any(Option::is_some)
        {
            problems.push(Invalid::spec(
                "manual, labelWatch, promQL and metric are entries of a list: write them under spec.validation.items, each after \
                 a dash",
            ));
        }
        let seconds = |duration: Option<GoDuration>, default| {
            duration.map_or(Duration::from_secs(default), |duration| duration.0)
        };
        let shortest = Duration::from_millis(100);
        let interval = seconds(spec.max_interval_period, 20);
        if interval < shortest {
            problems.push(Invalid::spec(
                "spec.validation.maxIntervalPeriod is shorter than 100ms: raise it",
            ));
        }
        let interval = interval.max(shortest);
        let period = seconds(spec.validation_period, 900);
        let items = spec.items.filter(|items| !items.is_empty()).unwrap_or_else(|| {
            vec![ValidationItem {
                manual: Some(ManualItem::default()),
                ..Default::default()
            }]
        });
        let mut parse = |(index, item): (usize, ValidationItem)| {
            let kind = kind(&item);
            if unreadable.contains(&index) {
                return Item::Unreadable(kind);
            }
            let item = Item::parse(index, item, interval).unwrap_or_else(|invalid| {
                problems.push(invalid);
                Item::Unreadable(kind)
            });
            // The item is measured nevertheless, and still fails a canary under validation.
            if let Some(terms) = item.terms() {
                let counts = check_counts(terms, period).map_err(|why| refused(index, &format!(".{kind}.{why}")));
                problems.extend(counts.err());
            }
            item
        };
        let validation = Self {
            initial_delay: seconds(spec.initial_delay, 0),
            period,
            items: items.into_iter().enumerate().map(&mut parse).collect(),
        };
        problems.extend(validation.unopposed());
        validation
    }

    /// Why nothing could ever fail the canary: there is not enough time.
    fn unopposed(&self) -> Option<Invalid> {
        if self.period >= SHORTEST_PERIOD {
            return None;
        }
        let can_object = |item: &Item| match item {
            Item::LabelWatch { .. } => false,
            // A person may object before the validation starts.
            Item::Manual { after_deadline, .. } => {
                *after_deadline != AfterDeadline::Valid || self.initial_delay >= SHORTEST_PERIOD
            }
            Item::PromQl(_) | Item::Metric(_) | Item::Unreadable(_) => true,
        };
        if self.items.iter().any(can_object) {
            return None;
        }
        Some(Invalid::spec(format!(
            "spec.validation.validationPeriod is {}, so nothing could fail the canary: a labelWatch item is judged during the \
             validation period only, and a manual item with statusAfterDeadline valid is good at its end; raise \
             validationPeriod to {} or more, or add a promQL or a metric item, or a manual item that waits for a person",
            GoDuration(self.period),
            GoDuration(SHORTEST_PERIOD)
        )))
    }
}

/// The required and tolerated counts must be reachable by the measurements until the deadline.
fn check_counts(terms: &Terms, period: Duration) -> Result<(), String> {
    let fit = fitting(period, terms.interval);
    let (fits, them) = if fit == 1 { ("fits", "it") } else { ("fit", "them") };
    let why = format!(
        "until the deadline {} {fits} (validationPeriod {}, interval {})",
        counted(fit, "measurement"),
        GoDuration(period),
        GoDuration(terms.interval)
    );
    if u64::from(terms.min_samples) > fit {
        return Err(format!(
            "minSamples {} can't be reached: {why}; lower minSamples to {fit}, or the interval, or raise validationPeriod",
            terms.min_samples
        ));
    }
    if u64::from(terms.failure_limit) >= fit {
        return Err(format!(
            "failureLimit {} can't be exceeded, so the item could not fail: {why}, and all of {them} may be bad; lower \
             failureLimit to {}, or the interval, or raise validationPeriod",
            terms.failure_limit,
            fit.saturating_sub(1)
        ));
    }
    Ok(())
}

fn refused(index: usize, message: &str) -> Invalid {
    Invalid::spec(format!("spec.validation.items[{index}]{message}"))
}

/// The name of the only field that is set.
fn kind(item: &ValidationItem) -> &'static str {
    if item.manual.is_some() {
        "manual"
    } else if item.label_watch.is_some() {
        "labelWatch"
    } else if item.prom_ql.is_some() {
        "promQL"
    } else if item.metric.is_some() {
        "metric"
    } else {
        "item"
    }
}

/// Kanary finds its objects by its own labels, so an object with other values of these labels is never evaluated.
fn watched(labels: LabelMatch) -> Result<Selector, String> {
    let selector = Selector::parse(labels)?;
    match selector.keys().iter().find(|key| names::is_reserved(key)) {
        None => Ok(selector),
        Some(key) => Err(format!(
            "{key} is Kanary's own label, which never tells a bad canary from a good one: watch a label that your alerting sets, like \
             `validation: \"failed\"`"
        )),
    }
}

impl Item {
    fn parse(index: usize, item: ValidationItem, interval: Duration) -> Result<Self, Invalid> {
        let at = |message: String| refused(index, &message);
        match (item.manual, item.label_watch, item.prom_ql, item.metric) {
            (Some(manual), None, None, None) => Ok(Self::Manual {
                after_deadline: manual.status_after_deadline.unwrap_or_default(),
                status: manual.status,
                ignored: None,
            }),
            (None, Some(watch), None, None) => {
                let selector = |labels: Option<LabelMatch>, field: &str| {
                    let parse = |labels| watched(labels).map_err(|e| at(format!(".labelWatch.{field}: {e}")));
                    labels.map(parse).transpose()
                };
                let pods = selector(watch.pod_invalidation_labels, "podInvalidationLabels")?;
                let deployment = selector(watch.deployment_invalidation_labels, "deploymentInvalidationLabels")?;
                if pods.is_none() && deployment.is_none() {
                    return Err(at(
                        ".labelWatch needs podInvalidationLabels or deploymentInvalidationLabels".to_owned(),
                    ));
                }
                Ok(Self::LabelWatch { pods, deployment })
            }
            (None, None, Some(query), None) => {
                let query = PromQl::parse(&query, interval).map_err(|e| at(format!(".promQL: {e}")))?;
                Ok(Self::PromQl(Box::new(query)))
            }
            (None, None, None, Some(metric)) => {
                let metric = Metric::parse(&metric, interval).map_err(|e| at(format!(".metric: {e}")))?;
                Ok(Self::Metric(Box::new(metric)))
            }
            _ => Err(at(
                " is not exactly one of manual, labelWatch, promQL and metric: split it into several items".to_owned(),
            )),
        }
    }

    /// The terms of an item that is measured.
    #[must_use]
    pub fn terms(&self) -> Option<&Terms> {
        match self {
            Self::PromQl(query) => Some(&query.terms),
            Self::Metric(metric) => Some(&metric.terms),
            Self::Manual { .. } | Self::LabelWatch { .. } | Self::Unreadable(_) => None,
        }
    }

    /// Warnings about a measured item that may not mean what the author intended, as sentences for the user.
    #[must_use]
    pub fn hints(&self, initial_delay: Duration) -> Vec<String> {
        match self {
            Self::PromQl(query) => query.hints(initial_delay),
            Self::Manual { .. } | Self::LabelWatch { .. } | Self::Metric(_) | Self::Unreadable(_) => Vec::new(),
        }
    }

    /// `manual`, `labelWatch`, `promQL` or `metric`. For an invalid item, its apparent kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Manual { .. } => "manual",
            Self::LabelWatch { .. } => "labelWatch",
            Self::PromQl(_) => "promQL",
            Self::Metric(_) => "metric",
            Self::Unreadable(kind) => kind,
        }
    }
}
