//! What a collector of traces received: one in this process, or a Jaeger.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use futures::FutureExt;
use kanary::traces::{Collector, SpanData};
use serde_json::Value;

use super::poll;

/// A span that arrived.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) id: String,
    pub(crate) parent: Option<String>,
    pub(crate) name: String,
    /// The replica that sent it.
    pub(crate) replica: String,
    pub(crate) attributes: BTreeMap<String, String>,
    /// In microseconds.
    pub(crate) begun: u64,
}

/// In microseconds. Times in the status have whole seconds.
const SECOND: u64 = 1_000_000;

/// Spans by the ids of their traces.
type Spans = BTreeMap<String, Vec<Span>>;

/// A collector in this process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spy(Arc<Mutex<Spans>>);

impl Spy {
    /// A collector for the replica with this name.
    pub(crate) fn collector(&self, replica: &str) -> Collector {
        let (spans, replica) = (self.0.clone(), replica.to_owned());
        Collector::from_fn(move |batch| {
            let mut spans = spans.lock().unwrap();
            for span in batch {
                let trace = span.span_context.trace_id().to_string();
                spans.entry(trace).or_default().push(received(span, &replica));
            }
            async { Ok(()) }.boxed()
        })
    }

    /// Waits until the spans of a trace satisfy `test`.
    pub(crate) async fn until(&self, trace: &str, what: &str, test: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        poll(what, async || {
            let spans = self.0.lock().unwrap();
            let spans = spans.get(trace).cloned().unwrap_or_default();
            if test(&spans) {
                Ok(spans)
            } else {
                Err(format!("{spans:#?}"))
            }
        })
        .await
    }

    /// Number of traces.
    pub(crate) fn traces(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

fn received(span: SpanData, replica: &str) -> Span {
    let parent = (span.parent_span_id != opentelemetry::SpanId::INVALID).then(|| span.parent_span_id.to_string());
    let begun = span
        .start_time
        .duration_since(std::time::UNIX_EPOCH)
        .expect("it is after 1970");
    let attributes = span.attributes.into_iter();
    Span {
        id: span.span_context.span_id().to_string(),
        parent,
        name: span.name.into_owned(),
        replica: replica.to_owned(),
        attributes: attributes
            .map(|of| (of.key.to_string(), of.value.to_string()))
            .collect(),
        begun: u64::try_from(begun.as_micros()).expect("it is before the year 500000"),
    }
}

/// A Jaeger that `hack/traces/jaeger` started.
#[derive(Debug)]
pub(crate) struct Jaeger {
    query: String,
    /// Where it takes OTLP over gRPC.
    pub(crate) grpc: String,
    /// Where it takes OTLP over HTTP.
    pub(crate) http: String,
}

impl Jaeger {
    /// The Jaeger of the environment, if there is one.
    pub(crate) fn of_environment() -> Option<Self> {
        let variable = |name: &str| std::env::var(name).ok();
        Some(Self {
            query: variable("KANARY_JAEGER_QUERY")?,
            grpc: variable("KANARY_JAEGER_GRPC")?,
            http: variable("KANARY_JAEGER_HTTP")?,
        })
    }

    /// Waits until the spans of a trace satisfy `test`, as the query API shows them.
    pub(crate) async fn until(&self, trace: &str, what: &str, test: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        let url = format!("{}/api/traces/{trace}", self.query);
        poll(what, async || {
            let answer = reqwest::get(&url).await.map_err(|error| error.to_string())?;
            let answer = answer.text().await.map_err(|error| error.to_string())?;
            let spans = serde_json::from_str(&answer).map_or_else(|_| Vec::new(), |answer| shown(&answer));
            if test(&spans) { Ok(spans) } else { Err(answer) }
        })
        .await
    }

    /// Where a browser shows a trace.
    pub(crate) fn page(&self, trace: &str) -> String {
        format!("{}/trace/{trace}", self.query)
    }
}

fn shown(answer: &Value) -> Vec<Span> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let trace = &answer["data"][0];
    let tags = |of: &Value| -> BTreeMap<String, String> {
        let tags = of["tags"].as_array().into_iter().flatten();
        tags.map(|tag| {
            let value = &tag["value"];
            (
                text(&tag["key"]),
                value.as_str().map_or_else(|| value.to_string(), str::to_owned),
            )
        })
        .collect()
    };
    let spans = trace["spans"].as_array().into_iter().flatten();
    spans
        .map(|span| {
            let mut references = span["references"].as_array().into_iter().flatten();
            let parent = references.find(|reference| reference["refType"] == "CHILD_OF");
            let process = &trace["processes"][text(&span["processID"])];
            Span {
                id: text(&span["spanID"]),
                parent: parent.map(|parent| text(&parent["spanID"])),
                name: text(&span["operationName"]),
                replica: tags(process).remove("service.instance.id").unwrap_or_default(),
                attributes: tags(span),
                begun: span["startTime"].as_u64().unwrap_or_default(),
            }
        })
        .collect()
}

/// Whether the span of the run has arrived, which is sent last.
pub(crate) fn has_ended(spans: &[Span]) -> bool {
    spans.iter().any(|span| span.name == "run")
}

/// The spans with a name.
pub(crate) fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

/// Asserts that the spans are one complete tree of a run with these phases.
pub(crate) fn assert_is_one_run(spans: &[Span], phases: &[&str]) {
    let ids: BTreeSet<_> = spans.iter().map(|span| &span.id).collect();
    assert_eq!(ids.len(), spans.len(), "an id twice: {spans:#?}");
    let roots: Vec<_> = spans.iter().filter(|span| span.parent.is_none()).collect();
    let [root] = roots[..] else {
        panic!("{} roots: {roots:#?}", roots.len());
    };
    assert_eq!(root.name, "run");
    for span in spans {
        assert!(
            span.parent.as_ref().is_none_or(|parent| ids.contains(parent)),
            "an orphan: {span:#?}"
        );
        assert!(span.begun + SECOND >= root.begun, "before the run: {span:#?}");
    }
    for phase in phases {
        let found = named(spans, phase);
        assert_eq!(found.len(), 1, "{phase}: {found:#?}");
        assert_eq!(found[0].parent.as_ref(), Some(&root.id), "{phase}");
    }
}
