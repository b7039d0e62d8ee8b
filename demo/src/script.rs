//! What happens in the demo: who tries what, what comes of it, and when. The same seed gives the same script.

use std::{collections::BTreeSet, time::Duration};

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use kanary_core::api::{Word, names::canary_name};
use serde_json::{Value, json};

use super::{
    generate,
    manifests::{self, alert, manual, prom_ql},
    series::{self, Course},
};

/// When the cluster's clock starts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start(pub(super) Timestamp);

impl Start {
    /// So much later.
    pub(super) fn at(self, offset: Duration) -> Timestamp {
        let offset = SignedDuration::try_from(offset).unwrap_or(SignedDuration::MAX);
        self.0.checked_add(offset).unwrap_or(Timestamp::MAX)
    }
}

/// How a run ends that goes as the script says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Promoted,
    Failed,
    DryRun,
    /// It does not: it waits for data.
    Waits,
}

/// What somebody does to a Kanary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// An alert labels the canary's pods.
    Alert,
    /// A person gives a verdict.
    Word(Word),
}

/// What a query measures, for people.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Gauge {
    /// The share of requests that fail.
    ErrorRate,
    /// The 99th percentile of the time that requests take.
    P99,
}

impl Gauge {
    /// The query.
    fn query(self) -> &'static str {
        match self {
            Self::ErrorRate => series::ERROR_RATE,
            Self::P99 => series::P99,
        }
    }

    /// The largest value that is good.
    pub(super) const fn limit(self) -> f64 {
        match self {
            Self::ErrorRate => 0.01,
            Self::P99 => 0.5,
        }
    }
}

/// One Kanary and what becomes of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part {
    pub(super) name: String,
    /// The Deployment that it is about.
    pub(super) target: String,
    /// The version that it tries.
    pub(super) version: &'static str,
    /// What is particular about it.
    pub(super) about: &'static str,
    pub(super) gauge: Option<Gauge>,
    /// When it is applied.
    pub(super) from: Duration,
    /// Its spec but for target, traffic and template; without a schedule.
    pub(super) spec: Value,
    /// Nothing is to start before.
    pub(super) schedule: Option<Duration>,
    pub(super) courses: Vec<Course>,
    pub(super) deed: Option<(Duration, Deed)>,
    /// Its pods never become ready.
    pub(super) broken: bool,
    /// It is one of those that were asked for by their number.
    pub(super) is_extra: bool,
    pub(super) end: End,
}

/// What somebody does at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Cue<'a> {
    /// Applies the target, which runs what it ran so far.
    Target(&'a Part),
    /// Applies the Kanary.
    Kanary(&'a Part),
    /// Does something to it.
    Deed(&'a Part, Deed),
}

/// All of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Script {
    pub(super) parts: Vec<Part>,
}

/// When the first Kanary is applied.
const FIRST: Duration = Duration::from_secs(30);
/// A target is there so much earlier than a Kanary, and has rolled out.
const LEAD: Duration = Duration::from_secs(25);

pub(super) const fn minutes(minutes: u64) -> Duration {
    Duration::from_mins(minutes)
}

impl Script {
    /// The mix that everybody sees, and `more` that are generated.
    pub(super) fn new(seed: u64, more: u32) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut parts = Vec::new();
        parts.extend(judged_by_queries(&mut rng));
        parts.extend(judged_otherwise(&mut rng));
        parts.extend(two_on_one_target(&mut rng));
        parts.extend(in_trouble());
        let parts = parts.into_iter().zip(0..).map(|(part, place)| Part {
            from: FIRST + Duration::from_secs(2 * place),
            ..part
        });
        let parts = parts.chain(generate::parts(&mut rng, more, FIRST)).collect();
        Self { parts }
    }

    /// Who does what and when, in the order of time.
    pub(super) fn cues(&self) -> Vec<(Duration, Cue<'_>)> {
        let mut targets = BTreeSet::new();
        let mut cues = Vec::new();
        for part in &self.parts {
            if targets.insert(&part.target) {
                cues.push((part.from.saturating_sub(LEAD), Cue::Target(part)));
            }
            cues.push((part.from, Cue::Kanary(part)));
            cues.extend(part.deed.map(|(at, deed)| (at, Cue::Deed(part, deed))));
        }
        cues.sort_by_key(|(at, _)| *at);
        cues
    }

    /// The images whose pods never become ready.
    pub(super) fn broken_images(&self) -> Vec<String> {
        let broken = self.parts.iter().filter(|part| part.broken);
        broken.map(Part::image).collect()
    }
}

impl Part {
    /// One that is judged for `period` by `items`, from a minute after its pods are ready.
    pub(super) fn new(name: &str, target: &str, period: Duration, items: &[Value]) -> Self {
        let spec = json!({"validation": {
            "initialDelay": "1m",
            "validationPeriod": format!("{}s", period.as_secs()),
            "items": items,
        }});
        Self {
            name: name.to_owned(),
            target: target.to_owned(),
            version: "v2",
            about: "",
            gauge: None,
            from: FIRST,
            spec,
            schedule: None,
            courses: Vec::new(),
            deed: None,
            broken: false,
            is_extra: false,
            end: End::Promoted,
        }
    }

    /// One that is judged by a query.
    pub(super) fn measured(name: &str, target: &str, period: Duration, gauge: Gauge) -> Self {
        let items = [prom_ql(gauge.query(), gauge.limit())];
        Self {
            gauge: Some(gauge),
            ..Self::new(name, target, period, &items)
        }
    }

    /// With this in a block of its spec.
    pub(super) fn with(mut self, block: &str, field: &str, value: &str) -> Self {
        if let Some(spec) = self.spec.as_object_mut() {
            let block = spec.entry(block).or_insert_with(|| json!({}));
            if let Some(block) = block.as_object_mut() {
                block.insert(field.to_owned(), json!(value));
            }
        }
        self
    }

    /// Its query yields these values, minute by minute.
    pub(super) fn with_values(self, values: &[f64]) -> Self {
        let canary = canary_name(&self.target, &self.name);
        let courses = match self.gauge {
            Some(Gauge::ErrorRate) => series::errors(&canary, self.from, values),
            Some(Gauge::P99) => series::latencies(&canary, self.from, values),
            None => Vec::new(),
        };
        Self { courses, ..self }
    }

    /// The image that it tries.
    pub(super) fn image(&self) -> String {
        format!("{}:{}", self.target, self.version)
    }

    /// The Kanary.
    pub(super) fn manifest(&self, start: Start) -> Value {
        let mut spec = self.spec.clone();
        if let (Some(schedule), Some(spec)) = (self.schedule, spec.as_object_mut()) {
            let at = start.at(schedule);
            let second = Timestamp::from_second(at.as_second()).unwrap_or(at);
            spec.insert("schedule".to_owned(), json!(second.to_string()));
        }
        manifests::kanary(&self.name, &self.target, &self.image(), spec)
    }
}

/// A value for each minute that the demo may last, about `middle`.
pub(super) fn about(rng: &mut Rng, middle: f64) -> Vec<f64> {
    (0..20).map(|_| middle * (0.7 + 0.6 * rng.f64())).collect()
}

fn judged_by_queries(rng: &mut Rng) -> Vec<Part> {
    let slow: Vec<f64> = (0..20)
        .map(|minute| (0.16_f64 + 0.02 * rng.f64() + 0.11 * f64::from((minute - 2).max(0))).min(0.95))
        .collect();
    let mut rising = about(rng, 0.004);
    for (share, minute) in rising.iter_mut().skip(4).zip(1_u8..) {
        *share = (*share + 0.005 * f64::from(minute)).min(0.2);
    }
    vec![
        Part {
            about: "its error rate stays low",
            ..Part::measured("checkout-good", "checkout", minutes(10), Gauge::ErrorRate)
        }
        .with_values(&about(rng, 0.003)),
        Part {
            about: "it gets slower and slower",
            end: End::Failed,
            ..Part::measured("payments-slow", "payments", minutes(10), Gauge::P99)
        }
        .with_values(&slow),
        Part {
            about: "it begins to answer with errors",
            end: End::Failed,
            ..Part::measured("search-5xx", "search", minutes(10), Gauge::ErrorRate)
        }
        .with_values(&rising),
    ]
}

fn judged_otherwise(rng: &mut Rng) -> Vec<Part> {
    let mut second = |minute: u64| minutes(minute) + Duration::from_secs(rng.u64(0..60));
    let (alerted, spoken) = (second(5), second(7));
    vec![
        Part {
            about: "an alert labels its pods",
            deed: Some((alerted, Deed::Alert)),
            end: End::Failed,
            ..Part::new("reports-alert", "reports", minutes(10), &[alert()])
        },
        Part {
            about: "waits for a person's word",
            deed: Some((spoken, Deed::Word(Word::Valid))),
            ..Part::new("billing-manual", "billing", minutes(10), &[manual()])
        },
        Part {
            about: "starts on schedule",
            schedule: Some(minutes(4)),
            ..Part::measured("frontend-later", "frontend", minutes(6), Gauge::P99)
        }
        .with_values(&about(rng, 0.18)),
        dry_run(Part {
            about: "is tried and never promoted",
            ..Part::measured("catalog-dry-run", "catalog", minutes(8), Gauge::ErrorRate)
        })
        .with_values(&about(rng, 0.002)),
    ]
}

/// One that leaves its target alone.
pub(super) fn dry_run(part: Part) -> Part {
    Part {
        end: End::DryRun,
        ..part.with("rollout", "mode", "dry-run")
    }
}

/// One whose pods never become ready, which fails after `patience`.
pub(super) fn broken(part: Part, patience: &str) -> Part {
    Part {
        about: "its pods never become ready",
        broken: true,
        end: End::Failed,
        ..part.with("rollout", "progressDeadline", patience)
    }
}

fn two_on_one_target(rng: &mut Rng) -> Vec<Part> {
    vec![
        Part {
            about: "two on one target: this one is quicker",
            ..Part::measured("profile-first", "profile", minutes(6), Gauge::ErrorRate)
        }
        .with_values(&about(rng, 0.004)),
        Part {
            version: "v3",
            about: "two on one target: this one comes too late",
            end: End::Failed,
            ..Part::measured("profile-second", "profile", minutes(10), Gauge::ErrorRate)
        }
        .with_values(&about(rng, 0.004)),
    ]
}

fn in_trouble() -> Vec<Part> {
    let gauge = Gauge::ErrorRate;
    vec![
        Part {
            about: "nobody measures it",
            end: End::Waits,
            ..Part::measured("emails-no-data", "emails", minutes(9), gauge)
        },
        broken(Part::measured("images-broken", "images", minutes(5), gauge), "8m"),
    ]
}
