//! The series store. A series is a function of time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use promql_parser::{
    label::MatchOp,
    parser::{Expr, parse},
};

use super::{
    matchers::Matchers,
    value::{Labels, NAME, Range, seconds},
};

/// A function that returns the series of one metric.
pub(super) type Script = Arc<dyn Fn(&Matchers<'_>, Timestamp) -> Vec<(Labels, f64)> + Send + Sync>;

#[derive(Default)]
pub(super) struct Store {
    metrics: BTreeMap<String, Metric>,
    scripts: BTreeMap<String, Script>,
}

/// The series of one metric name.
#[derive(Default)]
struct Metric {
    series: BTreeMap<Arc<Labels>, Vec<Course>>,
    /// Index by label and value: a test may have a series for each of thousands of canaries.
    with: BTreeMap<String, BTreeMap<String, BTreeSet<Arc<Labels>>>>,
}

/// The values of a series from a point in time.
#[derive(Clone, Copy)]
struct Course {
    from: i64,
    start: f64,
    per_second: f64,
}

impl Course {
    fn value(self, at: i64) -> f64 {
        self.start + self.per_second * seconds(at.saturating_sub(self.from))
    }
}

impl Store {
    pub(super) fn set(&mut self, series: &str, from: i64, start: f64, per_second: f64) -> Result<(), String> {
        let labels = Arc::new(labels_of(series)?);
        let name = labels.get(NAME).cloned().unwrap_or_default();
        let metric = self.metrics.entry(name).or_default();
        for (label, value) in labels.iter() {
            let values = metric.with.entry(label.clone()).or_default();
            values.entry(value.clone()).or_default().insert(labels.clone());
        }
        let courses = metric.series.entry(labels).or_default();
        courses.retain(|course| course.from < from);
        courses.push(Course {
            from,
            start,
            per_second,
        });
        Ok(())
    }

    pub(super) fn remove(&mut self, series: &str) {
        let Ok(labels) = labels_of(series) else { return };
        let Some(metric) = labels.get(NAME).and_then(|name| self.metrics.get_mut(name)) else {
            return;
        };
        metric.series.remove(&labels);
        for (label, value) in &labels {
            if let Some(same) = metric.with.get_mut(label).and_then(|values| values.get_mut(value)) {
                same.remove(&labels);
            }
        }
    }

    pub(super) fn script(&mut self, metric: &str, script: Script) {
        self.scripts.insert(metric.to_owned(), script);
    }

    /// The selected series with their values at `times`, which are sorted. Series without any value are left out.
    pub(super) fn select(&self, matchers: &Matchers<'_>, times: &[i64]) -> BTreeMap<Labels, Vec<(i64, f64)>> {
        let mut found = BTreeMap::new();
        for metric in named(&self.metrics, matchers) {
            metric.select(matchers, times, &mut found);
        }
        found
    }

    /// The scripts of the selected metrics, with the metric names. They run after the lock is released.
    pub(super) fn scripts(&self, matchers: &Matchers<'_>) -> Vec<(String, Script)> {
        let scripts = self.scripts.iter();
        let wanted = scripts.filter(|(name, _)| matchers.get(NAME).is_none_or(|wanted| wanted == name.as_str()));
        wanted.map(|(name, script)| (name.clone(), script.clone())).collect()
    }
}

impl Metric {
    fn select(&self, matchers: &Matchers<'_>, times: &[i64], found: &mut BTreeMap<Labels, Vec<(i64, f64)>>) {
        let mut add = |labels: &Labels, courses: &[Course]| {
            if matchers.select(labels) {
                let points = points(courses, times);
                if !points.is_empty() {
                    found.insert(labels.clone(), points);
                }
            }
        };
        match self.fewest(matchers) {
            Some(candidates) => {
                for labels in candidates {
                    add(labels, self.series.get(labels).map_or(&[], Vec::as_slice));
                }
            }
            None => self.series.iter().for_each(|(labels, courses)| add(labels, courses)),
        }
    }

    /// The smallest indexed set that contains the selected series, if a matcher narrows them down.
    fn fewest(&self, matchers: &Matchers<'_>) -> Option<&BTreeSet<Arc<Labels>>> {
        static NONE: BTreeSet<Arc<Labels>> = BTreeSet::new();
        let narrowing = matchers.equal().filter(|(_, value)| !value.is_empty());
        narrowing
            .map(|(label, value)| {
                let values = self.with.get(label);
                values.and_then(|values| values.get(value)).unwrap_or(&NONE)
            })
            .min_by_key(|candidates| candidates.len())
    }
}

fn named<'a, T>(all: &'a BTreeMap<String, T>, matchers: &Matchers<'_>) -> Vec<&'a T> {
    match matchers.get(NAME) {
        Some(name) => all.get(name).into_iter().collect(),
        None => all.values().collect(),
    }
}

fn points(courses: &[Course], times: &[i64]) -> Vec<(i64, f64)> {
    times
        .iter()
        .filter_map(|at| {
            let course = courses.iter().rev().find(|course| course.from <= *at)?;
            Some((*at, course.value(*at)))
        })
        .collect()
}

/// Adds the series that `script` returns at `times` for the metric `name`.
pub(super) fn ask(
    (name, script): &(String, Script),
    matchers: &Matchers<'_>,
    times: &[i64],
    found: &mut BTreeMap<Labels, Vec<(i64, f64)>>,
) {
    // Most scripts return the same series in the same order every time, which avoids a lookup for each of them.
    let mut answers: Vec<(Labels, Vec<(i64, f64)>)> = Vec::new();
    for at in times {
        let Ok(time) = Timestamp::from_millisecond(*at) else {
            continue;
        };
        for (nth, (labels, value)) in script(matchers, time).into_iter().enumerate() {
            match answers.get_mut(nth) {
                Some((same, points)) if *same == labels => points.push((*at, value)),
                _ => answers.push((labels, vec![(*at, value)])),
            }
        }
    }
    for (mut labels, points) in answers {
        labels.insert(NAME.to_owned(), name.clone());
        if matchers.select(&labels) {
            found.entry(labels).or_default().extend(points);
        }
    }
    for points in found.values_mut() {
        points.sort_by_key(|(at, _)| *at);
        points.dedup_by_key(|(at, _)| *at);
    }
}

pub(super) fn ranges(found: BTreeMap<Labels, Vec<(i64, f64)>>) -> Vec<Range> {
    let found = found.into_iter();
    found.map(|(labels, points)| Range { labels, points }).collect()
}

/// Parses `requests{pod="a"}`.
fn labels_of(series: &str) -> Result<Labels, String> {
    let wrong = |why: &str| format!("{series:?} is not a series: {why}");
    let Expr::VectorSelector(selector) = parse(series).map_err(|error| wrong(&error))? else {
        return Err(wrong("expected a name and labels"));
    };
    if selector.offset.is_some() || selector.at.is_some() || !selector.matchers.or_matchers.is_empty() {
        return Err(wrong("expected a name and labels"));
    }
    let mut labels = Labels::new();
    for matcher in selector.matchers.matchers {
        if !matches!(matcher.op, MatchOp::Equal) {
            return Err(wrong("expected \"=\" between labels and values"));
        }
        if labels.insert(matcher.name, matcher.value).is_some() {
            return Err(wrong("a label is there twice"));
        }
    }
    if let Some(name) = selector.name {
        labels.insert(NAME.to_owned(), name);
    }
    // An empty value is equivalent to a missing label.
    labels.retain(|_, value| !value.is_empty());
    if labels.contains_key(NAME) {
        Ok(labels)
    } else {
        Err(wrong("it has no name"))
    }
}
