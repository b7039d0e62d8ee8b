//! Traces: spans on their way to a collector, by OTLP.
//!
//! Nobody waits for a collector. A span that finds the queue full is dropped and counted. What a span means is the business of
//! those who send it.

mod export;
mod otlp;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use jiff::Timestamp;
use kanary_core::trace::{SpanId, TraceId, TraceParent};
use opentelemetry::{
    InstrumentationScope,
    trace::{Event, Link, SpanContext, Status, TraceFlags, TraceState},
};
pub use opentelemetry::{KeyValue, Value, trace::SpanKind};
pub use opentelemetry_sdk::trace::SpanData;
use opentelemetry_sdk::trace::{SpanEvents, SpanLinks};
use tokio::{
    sync::{Notify, mpsc},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

pub use self::{
    export::Exporter,
    otlp::{Otlp, Protocol, headers},
};
use crate::{cluster::clock::Clock, metrics::Metrics};

/// Number of spans that may wait, each of up to about 4 KiB.
const WAITING: usize = 2048;

/// Maximum length of a text in a span, in bytes.
const MOST_TEXT: usize = 1024;

/// The result of a request to a collector: what it says why it failed.
pub type Sent = BoxFuture<'static, Result<(), String>>;

/// Where spans are sent, in batches.
#[derive(Clone)]
pub struct Collector(Arc<dyn Fn(Vec<SpanData>) -> Sent + Send + Sync>);

impl Collector {
    /// A collector in this process, for tests.
    pub fn from_fn(send: impl Fn(Vec<SpanData>) -> Sent + Send + Sync + 'static) -> Self {
        Self(Arc::new(send))
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").finish_non_exhaustive()
    }
}

/// Options of traces.
#[derive(Clone, Debug)]
pub struct TraceOptions {
    /// Where spans are sent.
    pub collector: Collector,
    /// The part of the good measurements that is sent, from 0 to 1. Everything else is always sent.
    pub ratio: f64,
}

/// A span that has ended.
#[derive(Clone, Debug)]
pub struct Span {
    /// Its trace.
    pub trace: TraceId,
    /// Its id.
    pub id: SpanId,
    /// The span that it is a part of.
    pub parent: Option<SpanId>,
    /// Its name, with few different values.
    pub name: Cow<'static, str>,
    /// Whether it is a request to a server.
    pub kind: SpanKind,
    /// When it began.
    pub begun: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// What is known about it.
    pub attributes: Vec<KeyValue>,
    /// Facts with a name and a time.
    pub facts: Vec<(Cow<'static, str>, Timestamp, Vec<KeyValue>)>,
    /// The span elsewhere that it depended on.
    pub link: Option<TraceParent>,
    /// Why it failed.
    pub failure: Option<String>,
}

/// Takes spans. Clones share the queue. The default takes nothing, and then traces cost nothing.
#[derive(Clone, Debug, Default)]
pub struct Traces(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    queue: mpsc::Sender<SpanData>,
    ratio: f64,
    clock: Clock,
    scope: InstrumentationScope,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    all_sent: Arc<Notify>,
}

impl Traces {
    /// Traces that are sent by the exporter, which somebody has to run.
    #[must_use]
    pub fn new(options: TraceOptions, clock: Clock, metrics: Arc<Metrics>) -> (Self, Exporter) {
        let (queue, waiting) = mpsc::channel(WAITING);
        let (stop, all_sent) = (CancellationToken::new(), Arc::new(Notify::new()));
        let exporter = Exporter::new(
            options.collector,
            waiting,
            metrics.clone(),
            (stop.clone(), all_sent.clone()),
        );
        let inner = Inner {
            queue,
            ratio: options.ratio,
            clock,
            scope: InstrumentationScope::builder("kanary")
                .with_version(env!("CARGO_PKG_VERSION"))
                .build(),
            metrics,
            stop,
            all_sent,
        };
        (Self(Some(Arc::new(inner))), exporter)
    }

    /// Whether traces are collected.
    #[must_use]
    pub fn are_on(&self) -> bool {
        self.0.is_some()
    }

    /// The current time, if traces are collected.
    #[must_use]
    pub fn now(&self) -> Option<Timestamp> {
        self.0.as_ref().map(|inner| inner.clock.now())
    }

    /// Whether a good measurement with this span is sent.
    #[must_use]
    pub fn samples(&self, span: SpanId) -> bool {
        self.0.as_ref().is_some_and(|inner| span.is_sampled(inner.ratio))
    }

    /// Takes a span, without waiting.
    pub fn send(&self, span: Span) {
        let Some(inner) = &self.0 else { return };
        let reason = match inner.queue.try_send(data(span, &inner.scope)) {
            Ok(()) => return,
            Err(mpsc::error::TrySendError::Full(_)) => "full",
            Err(mpsc::error::TrySendError::Closed(_)) => "stopping",
        };
        inner.metrics.traces.dropped(reason, 1);
    }

    /// Sends what waits, and takes nothing more. Returns after `limit` at the latest.
    pub async fn finish(&self, limit: Duration) {
        let Some(inner) = &self.0 else { return };
        inner.stop.cancel();
        if timeout(limit, inner.all_sent.notified()).await.is_err() {
            tracing::warn!("the collector of traces did not take the last spans in time");
        }
    }
}

/// A text as an attribute, shortened.
#[must_use]
pub fn text(key: &'static str, value: &str) -> KeyValue {
    KeyValue::new(key, shortened(value))
}

fn shortened(value: &str) -> String {
    let mut text = value
        .get(..value.floor_char_boundary(MOST_TEXT))
        .unwrap_or_default()
        .to_owned();
    if text.len() < value.len() {
        text.push('…');
    }
    text
}

fn context(trace: TraceId, span: SpanId) -> SpanContext {
    let (trace, span) = (
        opentelemetry::TraceId::from_bytes(trace.0),
        opentelemetry::SpanId::from_bytes(span.0),
    );
    SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::NONE)
}

/// A span in the form of the SDK.
fn data(span: Span, scope: &InstrumentationScope) -> SpanData {
    let mut events = SpanEvents::default();
    events.events = span
        .facts
        .into_iter()
        .map(|(name, at, attributes)| Event::new(name, at.into(), attributes, 0))
        .collect();
    let mut links = SpanLinks::default();
    links.links = span
        .link
        .map(|other| Link::new(context(other.trace, other.span), Vec::new(), 0))
        .into_iter()
        .collect();
    let parent = span.parent.map(|parent| opentelemetry::SpanId::from_bytes(parent.0));
    SpanData {
        span_context: context(span.trace, span.id),
        parent_span_id: parent.unwrap_or(opentelemetry::SpanId::INVALID),
        parent_span_is_remote: false,
        span_kind: span.kind,
        name: span.name,
        start_time: span.begun.into(),
        // The clock may have been set back meanwhile.
        end_time: span.ended.max(span.begun).into(),
        attributes: span.attributes,
        dropped_attributes_count: 0,
        events,
        links,
        status: span.failure.map_or(Status::Unset, |why| Status::error(shortened(&why))),
        instrumentation_scope: scope.clone(),
    }
}
