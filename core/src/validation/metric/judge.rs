//! The outcome of an answer.

use jiff::Timestamp;

use super::{AHEAD, Described, FRESH, Flaw, How, Metric, MetricAnswer, MetricValue, Scope, Source, Target};
use crate::validation::{
    Outcome, Sample,
    promql::{listed, short},
};

/// Relative tolerance for rounding.
const ROUNDING: f64 = 1e-9;

pub(super) fn judge(metric: &Metric, answer: &MetricAnswer, scope: &Scope<'_>) -> Sample {
    let without = |outcome, message: String| Sample {
        outcome,
        value: None,
        message,
    };
    let values = match answer {
        MetricAnswer::Unanswered(why) => return without(Outcome::Error, why.clone()),
        MetricAnswer::Rejected(why) => return without(Outcome::Invalid, why.clone()),
        _ if scope.pods.is_empty() => return without(Outcome::NoData, "no ready canary pod".to_owned()),
        MetricAnswer::Unknown(why) => return without(Outcome::NoData, why.clone()),
        MetricAnswer::Values(values) => values,
    };
    if metric.is_per_pod() {
        per_pod(metric, values, scope)
    } else {
        as_a_whole(metric, values, scope)
    }
}

fn no_data(message: String) -> Sample {
    Sample {
        outcome: Outcome::NoData,
        value: None,
        message,
    }
}

/// Why a value does not count.
fn unusable(value: &MetricValue, scope: &Scope<'_>) -> Option<String> {
    let at = value.at;
    let age = scope.now.duration_since(at);
    if age > FRESH {
        return Some(format!("is stale: it is of {at:.0}, and older than 2m"));
    }
    if age < -AHEAD {
        return Some(format!("is of {at:.0}, which has not come yet: a clock is wrong"));
    }
    // A target is an upper limit, and many programs answer -1 where they know no value.
    if value.value < 0.0 {
        return Some(format!("is {}: a negative value proves nothing", short(value.value)));
    }
    let begun = at.checked_sub(value.window).unwrap_or(Timestamp::MIN);
    (begun < scope.since).then(|| format!("is of {begun:.0}, before the canary's validation"))
}

/// The outcome of a measurement that needs a value with a flaw.
fn flawed(flaw: &Flaw) -> Sample {
    Sample {
        outcome: flaw.outcome,
        value: None,
        message: flaw.why.clone(),
    }
}

/// Each pod by itself. A bad value decides; otherwise each pod needs a good one.
fn per_pod(metric: &Metric, values: &[Result<MetricValue, Flaw>], scope: &Scope<'_>) -> Sample {
    let is_own = |pod: &str| scope.pods.contains(pod);
    let own = || values.iter().flatten().filter(|value| is_own(&value.object));
    let usable = || own().filter(|value| unusable(value, scope).is_none());
    let worst = usable().max_by(|one, other| one.value.total_cmp(&other.value));
    if let Some(worst) = worst.filter(|worst| !metric.target.is_met_by(worst.value)) {
        return verdict(metric, worst.value, Some(&worst.object));
    }
    let mut flaws = values.iter().filter_map(|value| value.as_ref().err());
    if let Some(flaw) = flaws.find(|flaw| is_own(&flaw.object)) {
        return flawed(flaw);
    }
    if let Some((value, why)) = own().find_map(|value| Some((value, unusable(value, scope)?))) {
        return no_data(format!("{}: the value of pod {} {why}", metric.name(), value.object));
    }
    let has_value = |pod: &&str| own().any(|value| value.object == **pod);
    let missing: Vec<&str> = scope.pods.iter().copied().filter(|pod| !has_value(pod)).collect();
    match worst {
        Some(worst) if missing.is_empty() => verdict(metric, worst.value, Some(&worst.object)),
        _ => no_data(format!("{}: no value of {}", metric.name(), listed(&missing))),
    }
}

/// The sum of external values, or the one value of an object.
fn as_a_whole(metric: &Metric, values: &[Result<MetricValue, Flaw>], scope: &Scope<'_>) -> Sample {
    let name = metric.name();
    if let Source::Object(described, _) = &metric.source
        && let Some(why) = not_the_one(values, described)
    {
        return Sample {
            outcome: Outcome::Error,
            value: None,
            message: format!("{name}: {why}"),
        };
    }
    let values: Vec<&MetricValue> = match values.iter().map(Result::as_ref).collect() {
        Ok(values) => values,
        Err(flaw) => return flawed(flaw),
    };
    if values.is_empty() {
        return no_data(format!("{name}: no value"));
    }
    if let Some(why) = values.iter().find_map(|value| unusable(value, scope)) {
        return no_data(format!("{name}: the value {why}"));
    }
    let sum: f64 = values.iter().map(|value| value.value).sum();
    let pods = u32::try_from(scope.pods.len()).unwrap_or(u32::MAX);
    let value = if metric.target.how == How::PerPod {
        sum / f64::from(pods)
    } else {
        sum
    };
    verdict(metric, value, None)
}

/// Why an answer does not have the one value of an object.
fn not_the_one(values: &[Result<MetricValue, Flaw>], described: &Described) -> Option<String> {
    let Described { kind, name, .. } = described;
    if values.len() > 1 {
        return Some(format!(
            "{} values of {kind} {name}, and one is due: narrow metric.selector",
            values.len()
        ));
    }
    let mut objects = values.iter().map(|value| match value {
        Ok(value) => &value.object,
        Err(flaw) => &flaw.object,
    });
    // The name of the other one is as long as the server likes.
    let is_other = objects.any(|object| object != name);
    is_other.then(|| format!("the answer is about another object than {kind} {name}"))
}

impl Target {
    /// With a tolerance, so that rounding does not turn 80 % into more than 80 %. What is not a number meets nothing.
    fn is_met_by(&self, value: f64) -> bool {
        if self.reaching_fails {
            value < self.limit - ROUNDING * self.limit
        } else {
            value <= self.limit + ROUNDING * self.limit
        }
    }
}

/// Whether a value meets the target.
fn verdict(metric: &Metric, value: f64, pod: Option<&str>) -> Sample {
    let target = &metric.target;
    let is_bad = !target.is_met_by(value);
    let unit = match (target.how, pod) {
        (How::Utilization, _) => " % of the request",
        (How::PerPod, None) => " per pod",
        _ => "",
    };
    let relation = match (is_bad, target.reaching_fails) {
        (false, false) => "within",
        (true, false) => "above",
        (false, true) => "below",
        (true, true) => "not below",
    };
    let place = pod.map_or_else(String::new, |pod| format!(" on pod {pod}"));
    Sample {
        outcome: if is_bad { Outcome::Fail } else { Outcome::Pass },
        value: Some(value),
        message: format!(
            "{} {}{unit}, {relation} {}{place}",
            metric.name(),
            short(value),
            target.shown
        ),
    }
}
