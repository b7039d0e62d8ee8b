//! What a run looks like in its trace: a span for the run, and in it one for each phase. A phase contains its writes and its
//! measurements.
//!
//! The spans of the run and of a phase are sent when they end, by the replica that writes the status with the end. Their ids and
//! times come from the status, so it does not matter which replica began them.

use std::borrow::Cow;

use jiff::Timestamp;
use kanary_core::{
    ParsedKanary,
    api::{ItemStatus, KanaryStatus},
    decision::{Action, SetTemplate},
    status::{self, Phase},
    trace::{self, Ended, SpanId, TraceId, TraceParent},
    validation::{Outcome, Sample},
};

use super::check::{Check, Question};
use crate::{
    cluster::error::ApiError,
    shard::Right,
    traces::{KeyValue, Span, SpanKind, Traces, text},
};

/// How many items the span of a run describes.
const ITEMS: usize = 32;

/// Where something happens in the trace of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The trace.
    pub trace: TraceId,
    /// The span of the phase.
    pub phase: SpanId,
    /// The epoch under which this replica acts.
    pub epoch: Option<i64>,
}

impl Place {
    /// The place of what follows a status. `None` if no traces are collected.
    #[must_use]
    pub fn of(traces: &Traces, kanary: &ParsedKanary, status: &KanaryStatus, right: Right) -> Option<Self> {
        if !traces.are_on() {
            return None;
        }
        let trace = TraceId::of(&kanary.uid, status);
        Some(Self {
            trace,
            phase: SpanId::of_phase(trace, Phase::of(status)),
            epoch: right.epoch,
        })
    }

    /// The id of something that `parts` identify, done by this owner at `at`.
    fn id(&self, at: Timestamp, parts: &[&str]) -> SpanId {
        let owner = self.epoch.unwrap_or_default().to_be_bytes();
        let at = at.as_millisecond().to_be_bytes();
        let mut all: Vec<&[u8]> = vec![&owner, &at];
        all.extend(parts.iter().map(|part| part.as_bytes()));
        SpanId::of(self.trace, &all)
    }
}

/// The attribute for the epoch under which something is done.
fn epoch(of: Option<i64>) -> Option<KeyValue> {
    of.map(|epoch| KeyValue::new("kanary.epoch", epoch))
}

/// The context of the log lines about the run in a status. Without traces it adds nothing to them.
#[must_use]
pub fn log_context(traces: &Traces, uid: &str, status: &KanaryStatus) -> tracing::Span {
    log_context_of(traces.are_on().then(|| TraceId::of(uid, status)))
}

/// The context of the log lines about a run with this trace.
#[must_use]
pub fn log_context_of(trace: Option<TraceId>) -> tracing::Span {
    let Some(trace_id) = trace else {
        return tracing::Span::none();
    };
    // Of the highest level, so that no filter removes it from the lines that it lets through.
    tracing::error_span!(parent: None, "run", %trace_id)
}

/// A write that is about to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// Its name in metrics.
    pub label: &'static str,
    /// Kind and name of the object.
    pub object: (&'static str, &'a str),
    /// The status that is written.
    pub status: Option<&'a KanaryStatus>,
}

impl<'a> Write<'a> {
    /// The write of an action with this name in metrics.
    #[must_use]
    pub fn of(kanary: &'a ParsedKanary, label: &'static str, action: &'a Action) -> Self {
        let object = match action {
            Action::Create { object, name, .. } | Action::Delete { object, name, .. } => {
                (object.as_str(), name.as_str())
            }
            Action::ScaleCanary { canary: workload, .. }
            | Action::PlaceCanary { canary: workload, .. }
            | Action::HandOver { target: workload, .. }
            | Action::SetTemplate(SetTemplate { target: workload, .. }) => {
                (workload.kind.as_str(), workload.name.as_str())
            }
            Action::Update(update) => (update.workload.kind.as_str(), update.workload.name.as_str()),
            Action::Unlabel { pod, .. } | Action::Adopt { pod, .. } => ("Pod", pod.as_str()),
            Action::Hold { .. } | Action::Release | Action::HoldInPlace | Action::ReleaseInPlace => {
                (kanary.key.kind.id(), kanary.key.name.as_str())
            }
            Action::Keep(keep) => (keep.resource.kind, keep.name.as_str()),
            Action::SetRoute { route, .. } => (route.kind.as_str(), route.name.as_str()),
        };
        Self {
            label,
            object,
            status: None,
        }
    }
}

/// Sends the span of a write that began at `begun`.
pub fn wrote(traces: &Traces, place: Place, write: Write<'_>, begun: Timestamp, error: Option<&ApiError>) {
    let Some(ended) = traces.now() else { return };
    let (kind, name) = write.object;
    let mut attributes = vec![
        KeyValue::new("k8s.object.kind", kind),
        text("k8s.object.name", name),
        KeyValue::new("kanary.result", error.map_or("ok", |error| error.class().as_str())),
    ];
    attributes.extend(epoch(place.epoch));
    if let Some(status) = write.status {
        attributes.extend(of_status(status));
    }
    let span = match write.label {
        "status" => "write status".into(),
        "event" => "write Event".into(),
        label => format!("{label} {kind}").into(),
    };
    traces.send(Span {
        trace: place.trace,
        id: place.id(begun, &["write", write.label, kind, name]),
        parent: Some(place.phase),
        name: span,
        kind: SpanKind::Client,
        begun,
        ended,
        attributes,
        facts: Vec::new(),
        link: None,
        failure: error.map(ApiError::message),
    });
}

/// What a status reports, with the numbers that decided.
fn of_status(status: &KanaryStatus) -> Vec<KeyValue> {
    let shown = status.report.status.as_str();
    let mut attributes = vec![text("kanary.phase", shown)];
    let condition = status::find(status, shown).filter(|condition| condition.status == "True");
    if let Some(condition) = condition {
        attributes.push(text("kanary.reason", &condition.reason));
        attributes.push(text("kanary.message", &condition.message));
    }
    attributes
}

/// Sends the spans of what ended when `next` replaced `former`, which this replica wrote.
pub fn ended(traces: &Traces, kanary: &ParsedKanary, (former, next): (&KanaryStatus, &KanaryStatus), right: Right) {
    let Some(now) = traces.now() else { return };
    for ended in trace::ended(former, next) {
        match ended {
            Ended::Phase(status, begun) => traces.send(phase(kanary, status, right, begun, now)),
            Ended::Run(status) => {
                // It lasts, but what ended with it is known.
                traces.send(phase(kanary, status, right, Some(now), now));
                traces.send(run(kanary, status, right, now, false));
            }
            Ended::Superseded(status) => traces.send(run(kanary, status, right, now, true)),
        }
    }
}

fn phase(kanary: &ParsedKanary, status: &KanaryStatus, right: Right, begun: Option<Timestamp>, now: Timestamp) -> Span {
    let (trace, phase) = (TraceId::of(&kanary.uid, status), Phase::of(status));
    Span {
        trace,
        id: SpanId::of_phase(trace, phase),
        parent: Some(SpanId::of_run(trace)),
        name: Cow::Borrowed(phase.as_str()),
        kind: SpanKind::Internal,
        begun: begun.unwrap_or(now),
        ended: now,
        attributes: epoch(right.epoch).into_iter().collect(),
        facts: Vec::new(),
        link: None,
        failure: (phase == Phase::Failed).then(|| message(status)),
    }
}

fn run(kanary: &ParsedKanary, status: &KanaryStatus, right: Right, now: Timestamp, superseded: bool) -> Span {
    let trace = TraceId::of(&kanary.uid, status);
    let key = &kanary.key;
    let mut attributes = vec![
        KeyValue::new("kanary.kind", key.kind.id()),
        text("k8s.namespace.name", &key.namespace),
        text("kanary.name", &key.name),
        text("kanary.uid", &kanary.uid),
        KeyValue::new("kanary.run", status.run_number()),
        text("kanary.target", &kanary.spec.target.name),
        text(
            "kanary.template_hash",
            status.current_hash.as_deref().unwrap_or_default(),
        ),
        KeyValue::new("kanary.superseded", superseded),
    ];
    attributes.extend(epoch(right.epoch));
    attributes.extend(of_status(status));
    Span {
        trace,
        id: SpanId::of_run(trace),
        parent: None,
        name: Cow::Borrowed("run"),
        kind: SpanKind::Internal,
        begun: trace::begun(status).unwrap_or(now),
        ended: now,
        attributes,
        facts: status.items.iter().take(ITEMS).map(|item| fact(item, now)).collect(),
        link: None,
        failure: (Phase::of(status) == Phase::Failed).then(|| message(status)),
    }
}

fn message(status: &KanaryStatus) -> String {
    let failed = status::find(status, status::FAILED);
    failed.map(|failed| failed.message.clone()).unwrap_or_default()
}

/// The state of an item at the end of its run.
fn fact(item: &ItemStatus, now: Timestamp) -> (Cow<'static, str>, Timestamp, Vec<KeyValue>) {
    let mut attributes = vec![
        text("kanary.item", &item.name),
        KeyValue::new("kanary.state", format!("{:?}", item.state)),
        KeyValue::new("kanary.good", i64::from(item.good)),
        KeyValue::new("kanary.bad", i64::from(item.bad)),
        KeyValue::new("kanary.errors", i64::from(item.errors)),
        text("kanary.message", &item.message),
    ];
    attributes.extend(item.last_value.map(|value| KeyValue::new("kanary.value", value)));
    ("item".into(), item.last_check.unwrap_or(now), attributes)
}

/// The span of a measurement that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measuring {
    place: Place,
    id: SpanId,
    /// Whether it is sent if it turns out to be good.
    sampled: bool,
}

impl Measuring {
    /// A measurement of an item that is due at `at`.
    #[must_use]
    pub fn begin(traces: &Traces, place: Place, index: usize, at: Timestamp) -> Self {
        let id = place.id(at, &["measure", &index.to_string()]);
        Self {
            place,
            id,
            sampled: traces.samples(id),
        }
    }

    /// What its queries tell the server.
    #[must_use]
    pub fn parent(&self) -> TraceParent {
        TraceParent {
            trace: self.place.trace,
            span: self.id,
            sampled: self.sampled,
        }
    }

    /// Its span. `None` if it is good and does not belong to the sample. `result` is its name in metrics, and `sent_by` is the measurement whose request brought the
    /// answer.
    #[must_use]
    pub fn span(
        &self,
        check: &Check,
        (sample, result, at): (&Sample, &'static str, Timestamp),
        sent_by: Option<TraceParent>,
        (begun, ended): (Timestamp, Timestamp),
    ) -> Option<Span> {
        if sample.outcome == Outcome::Pass && !self.sampled {
            return None;
        }
        let is_failure = !matches!(sample.outcome, Outcome::Pass | Outcome::NoData);
        let item = format!("{}[{}]", check.question.kind(), check.index);
        let (asked, server) = check.question.shown();
        let server_name = match check.question {
            Question::PromQl { .. } => "url.full",
            Question::Metric { .. } => "kanary.metrics_api",
        };
        let mut attributes = vec![
            text("kanary.item", &item),
            KeyValue::new("kanary.result", result),
            text("kanary.message", &sample.message),
            text("kanary.query", &asked),
            text(server_name, &server),
            KeyValue::new("kanary.evaluated_at", at.to_string()),
            KeyValue::new("kanary.pods", i64::try_from(check.pods.len()).unwrap_or(i64::MAX)),
        ];
        attributes.extend(sample.value.map(|value| KeyValue::new("kanary.value", value)));
        attributes.extend(epoch(self.place.epoch));
        Some(Span {
            trace: self.place.trace,
            id: self.id,
            parent: Some(self.place.phase),
            name: format!("measure {item}").into(),
            kind: SpanKind::Client,
            begun,
            ended,
            attributes,
            facts: Vec::new(),
            link: sent_by.filter(|by| *by != self.parent()),
            failure: is_failure.then(|| sample.message.clone()),
        })
    }
}
