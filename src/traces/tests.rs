use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use futures::FutureExt;
use kanary_core::api::KanaryStatus;
use tokio::{task::JoinHandle, time::sleep};

use super::*;
use crate::metrics::LossLabels;

/// What a collector received, in batches.
type Received = Arc<Mutex<Vec<Vec<String>>>>;

/// Traces that are sent to a collector in this process.
struct Rig {
    traces: Traces,
    metrics: Arc<Metrics>,
    received: Received,
    /// Whether the collector refuses everything.
    refuses: Arc<AtomicBool>,
    exporter: JoinHandle<()>,
}

/// A rig whose collector answers after `delay`.
fn rig(delay: Duration) -> Rig {
    let (received, refuses) = (Received::default(), Arc::new(AtomicBool::new(false)));
    let (into, refusing) = (received.clone(), refuses.clone());
    let collector = Collector::from_fn(move |batch| {
        let (into, refusing) = (into.clone(), refusing.clone());
        async move {
            sleep(delay).await;
            if refusing.load(Ordering::Relaxed) {
                return Err("refused".to_owned());
            }
            let names = batch.into_iter().map(|span| span.name.into_owned()).collect();
            into.lock().unwrap().push(names);
            Ok(())
        }
        .boxed()
    });
    let metrics = Arc::new(Metrics::default());
    let options = TraceOptions { collector, ratio: 1.0 };
    let (traces, exporter) = Traces::new(options, Clock::default(), metrics.clone());
    Rig {
        traces,
        metrics,
        received,
        refuses,
        exporter: tokio::spawn(exporter.run()),
    }
}

impl Rig {
    fn send(&self, number: usize) {
        let trace = TraceId::of("u", &KanaryStatus::default());
        self.traces.send(Span {
            trace,
            id: SpanId::of(trace, &[&number.to_be_bytes()]),
            parent: Some(SpanId::of_run(trace)),
            name: number.to_string().into(),
            kind: SpanKind::Internal,
            begun: Timestamp::UNIX_EPOCH,
            ended: Timestamp::UNIX_EPOCH,
            attributes: Vec::new(),
            facts: Vec::new(),
            link: None,
            failure: None,
        });
    }

    fn dropped(&self, reason: &'static str) -> u64 {
        let counted = self.metrics.traces.dropped.get(&LossLabels { reason });
        counted.map_or(0, |count| count.get())
    }

    fn sizes(&self) -> Vec<usize> {
        self.received.lock().unwrap().iter().map(Vec::len).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn spans_are_sent_in_order_and_in_batches() {
    let rig = rig(Duration::from_millis(1));
    (0..700).for_each(|number| rig.send(number));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.sizes(), [512, 188]);
    let all: Vec<_> = rig.received.lock().unwrap().concat();
    assert_eq!(all, (0..700).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(rig.metrics.traces.exported.get(), 700);
    assert!(!rig.exporter.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_hangs_delays_nobody_and_what_finds_no_room_is_counted() {
    let rig = rig(Duration::from_hours(1));
    let since = tokio::time::Instant::now();
    (0..512).for_each(|number| rig.send(number));
    sleep(Duration::from_millis(1)).await;
    (0..WAITING + 10).for_each(|number| rig.send(number));
    assert!(since.elapsed() < Duration::from_millis(10));
    assert_eq!((rig.dropped("full"), rig.dropped("refused")), (10, 0));
    // What may have arrived is not sent again.
    sleep(Duration::from_secs(11)).await;
    assert_eq!((rig.dropped("full"), rig.dropped("refused")), (10, 512));
    assert_eq!(rig.metrics.traces.failed.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn spans_outlive_a_short_outage_of_the_collector() {
    let rig = rig(Duration::from_millis(1));
    rig.refuses.store(true, Ordering::Relaxed);
    rig.send(1);
    sleep(Duration::from_secs(5)).await;
    rig.send(2);
    rig.refuses.store(false, Ordering::Relaxed);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(rig.sizes(), [1, 1]);
    assert_eq!(rig.metrics.traces.exported.get(), 2);
    assert_eq!(rig.dropped("refused"), 0);
}

#[tokio::test(start_paused = true)]
async fn spans_that_are_refused_for_long_are_dropped() {
    let rig = rig(Duration::from_millis(1));
    rig.refuses.store(true, Ordering::Relaxed);
    rig.send(1);
    sleep(Duration::from_secs(20)).await;
    assert_eq!((rig.dropped("refused"), rig.metrics.traces.failed.get()), (1, 5));
}

#[tokio::test(start_paused = true)]
async fn at_the_end_everything_that_waits_is_sent() {
    let rig = rig(Duration::from_millis(1));
    (0..1500).for_each(|number| rig.send(number));
    rig.traces.finish(Duration::from_secs(2)).await;
    assert_eq!(rig.sizes().iter().sum::<usize>(), 1500);
    // Whatever ends later is lost, and counted.
    rig.send(1);
    assert_eq!(rig.dropped("stopping"), 1);
    rig.exporter.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_end_does_not_wait_for_a_dead_collector() {
    for (delay, refuses) in [(Duration::from_millis(1), true), (Duration::from_hours(1), false)] {
        let rig = rig(delay);
        rig.refuses.store(refuses, Ordering::Relaxed);
        (0..1500).for_each(|number| rig.send(number));
        sleep(Duration::from_secs(3)).await;
        let since = tokio::time::Instant::now();
        rig.traces.finish(Duration::from_secs(2)).await;
        assert!(since.elapsed() <= Duration::from_secs(2));
    }
}

#[tokio::test(start_paused = true)]
async fn an_exporter_that_panics_goes_on() {
    let metrics = Arc::new(Metrics::default());
    let options = TraceOptions {
        collector: Collector::from_fn(|_| async { panic!("a bug") }.boxed()),
        ratio: 1.0,
    };
    let (traces, exporter) = Traces::new(options, Clock::default(), metrics.clone());
    let (received, refuses) = (Received::default(), Arc::default());
    let rig = Rig {
        traces,
        metrics,
        received,
        refuses,
        exporter: tokio::spawn(exporter.run()),
    };
    for _ in 0..2 {
        rig.send(1);
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(rig.dropped("refused"), 2);
    assert!(!rig.exporter.is_finished());
}

#[tokio::test]
async fn without_traces_nothing_is_taken() {
    let traces = Traces::default();
    assert!(!traces.are_on() && traces.now().is_none());
    traces.finish(Duration::from_hours(1)).await;
}

#[test]
fn a_text_is_bounded() {
    let long = "ä".repeat(MOST_TEXT);
    let KeyValue { value, .. } = text("key", &long);
    assert!(value.as_str().len() <= MOST_TEXT + '…'.len_utf8());
    assert_eq!(text("key", "short").value.as_str(), "short");
}
