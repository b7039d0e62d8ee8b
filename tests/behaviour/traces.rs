//! The trace of a run: complete, whoever owned the run.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    no_data::item,
    shards::{grant, session_ends},
    support::{
        Controller, EVENT, Exporter, Fake, Jaeger, KANARY, Process, Span, Spy, World, assert_is_one_run, has_ended,
        named, phase, poll,
    },
};

const PHASES: [&str; 4] = ["Scheduled", "Running", "Succeeded", "DeploymentUpdated"];

/// A run that measures once a second.
fn measured(item: &Value, period: &str) -> Value {
    json!({"validation": {"validationPeriod": period, "maxIntervalPeriod": "1s", "items": [item]}})
}

/// A run that is soon over.
fn short(fake: &Fake) -> Value {
    measured(&item(&fake.address, json!({"interval": "300ms"})), "1s")
}

/// The id of the trace, from the status.
async fn trace_of(world: &World, kanary: &str) -> String {
    let has = |kanary: &Value| kanary["status"]["traceID"].is_string();
    let kanary = world.until(&KANARY, kanary, "its status names the trace", has).await;
    kanary["status"]["traceID"].as_str().unwrap().to_owned()
}

/// Asserts what each good run of these tests has in its trace.
fn assert_is_a_good_run(spans: &[Span], value: &str) {
    assert_is_one_run(spans, &PHASES);
    let root = named(spans, "run")[0];
    assert_eq!(root.attributes["kanary.phase"], "DeploymentUpdated");
    assert_eq!(
        (&*root.attributes["kanary.name"], &*root.attributes["kanary.run"]),
        ("batman", "1")
    );
    for write in ["create Deployment", "promote Deployment", "delete Deployment"] {
        assert_eq!(named(spans, write).len(), 1, "{write}");
    }
    assert!(named(spans, "write status").len() >= 3);
    assert!(!named(spans, "write Event").is_empty());
    let (scheduled, running) = (named(spans, "Scheduled")[0], named(spans, "Running")[0]);
    assert!(
        scheduled.begun <= named(spans, "create Deployment")[0].begun + 1_000_000,
        "{scheduled:#?}"
    );
    let measured = named(spans, "measure promQL[0]");
    assert!(measured.len() >= 3, "{measured:#?}");
    for measurement in measured {
        assert_eq!(measurement.parent.as_ref(), Some(&running.id));
        let of = |name: &str| measurement.attributes[name].as_str();
        assert_eq!(
            (of("kanary.result"), of("kanary.value")),
            ("pass", value),
            "{measurement:#?}"
        );
        assert!(of("kanary.message").contains(value), "{measurement:#?}");
    }
}

#[tokio::test]
async fn a_run_is_one_trace_also_if_its_controller_is_killed() {
    let world = World::unserved("traces").await;
    let (spy, fake) = (Spy::default(), Fake::value("0.25").await);
    world.target("app", 1).await;
    world.put(Controller::start_traced(world.plane, &world.ns, spy.collector("first")));
    let spec = measured(&item(&fake.address, json!({"interval": "1s"})), "8s");
    world.kanary("batman", "app", spec).await;
    let trace = trace_of(&world, "batman").await;
    let measures = |spans: &[Span]| named(spans, "measure promQL[0]").len() >= 2;
    spy.until(&trace, "the run was measured", measures).await;
    world.kill_controller();
    world.put(Controller::start_traced(
        world.plane,
        &world.ns,
        spy.collector("second"),
    ));
    let ended = world.ends("batman", "DeploymentUpdated").await;
    assert_eq!(ended["status"]["traceID"], *trace);
    let deleted = |spans: &[Span]| has_ended(spans) && !named(spans, "delete Deployment").is_empty();
    let spans = spy.until(&trace, "the run and its end have arrived", deleted).await;
    // The Event about the end may still be on its way.
    assert_is_a_good_run(&spans, "0.25");
    let replicas: std::collections::BTreeSet<_> = spans.iter().map(|span| &span.replica).collect();
    assert_eq!(replicas.len(), 2, "{spans:#?}");
    assert_eq!(spy.traces(), 1);
    // Prometheus is told which measurement asks, and the Events name the trace.
    let ids: Vec<_> = named(&spans, "measure promQL[0]")
        .iter()
        .map(|span| span.id.clone())
        .collect();
    let told = fake
        .asked()
        .into_iter()
        .filter_map(|asked| asked.headers.get("traceparent").cloned());
    let told: Vec<_> = told.collect();
    for id in ids {
        assert!(told.contains(&format!("00-{trace}-{id}-01")), "{id}: {told:?}");
    }
    let promoted = poll("the promotion has an Event", async || {
        let events = world.list(&EVENT, "").await;
        let promoted = events.into_iter().find(|event| event["reason"] == "Promoted");
        promoted.ok_or_else(|| "no Event has the reason Promoted".to_owned())
    });
    let promoted = promoted.await;
    let annotations = &promoted["metadata"]["annotations"];
    assert_eq!(annotations["kanary.k8s-operators.dev/trace-id"], *trace, "{promoted:#}");
}

#[tokio::test]
async fn a_failed_run_keeps_its_bad_measurement_whatever_the_sample() {
    let world = World::unserved("traces").await;
    let (spy, fake) = (Spy::default(), Fake::value("0.25").await);
    world.target("app", 1).await;
    world.put(Controller::start_sampled(
        world.plane,
        &world.ns,
        spy.collector("only"),
        0.0,
    ));
    let spec = measured(&item(&fake.address, json!({"interval": "300ms"})), "1h");
    world.kanary("batman", "app", spec).await;
    let trace = trace_of(&world, "batman").await;
    fake.asked_times(3).await;
    fake.now_says(crate::support::Says::one("7"));
    world.ends("batman", "Failed").await;
    let spans = spy.until(&trace, "the run has arrived", has_ended).await;
    assert_is_one_run(&spans, &["Scheduled", "Running", "Failed"]);
    let measured = named(&spans, "measure promQL[0]");
    let results: Vec<_> = measured
        .iter()
        .map(|span| span.attributes["kanary.result"].as_str())
        .collect();
    assert_eq!(results, ["fail"], "{measured:#?}");
    assert_eq!(measured[0].attributes["kanary.value"], "7");
    assert!(named(&spans, "run")[0].attributes["kanary.message"].contains('7'));
    let sampled = |asked: &crate::support::Asked| asked.headers["traceparent"].ends_with("-01");
    assert!(!fake.asked().iter().any(sampled));
}

#[tokio::test]
async fn without_a_collector_nobody_hears_of_traces() {
    let world = World::new("traces").await;
    let fake = Fake::value("0.25").await;
    world.target("app", 1).await;
    world.kanary("batman", "app", short(&fake)).await;
    let ended = world.ends("batman", "DeploymentUpdated").await;
    assert_eq!(ended["status"]["traceID"], Value::Null);
    assert!(
        fake.asked()
            .iter()
            .all(|asked| !asked.headers.contains_key("traceparent"))
    );
}

#[tokio::test]
async fn a_dead_collector_costs_spans_and_nothing_else() {
    let world = World::unserved("traces").await;
    let (_reserved, address) = Fake::refused();
    let fake = Fake::value("0.25").await;
    let endpoint = format!("http://{address}");
    let mut process = Process::start(&world, &["--otlp-endpoint", &endpoint]);
    process.ready().await;
    world.target("app", 1).await;
    world.kanary("batman", "app", short(&fake)).await;
    world.ends("batman", "DeploymentUpdated").await;
    poll("the first spans are given up", async || {
        let (_, text) = process.page("/metrics").await?;
        let lost = text
            .lines()
            .find(|line| line.starts_with("kanary_trace_spans_dropped_total{reason=\"refused\"}"));
        let lost = lost.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0);
        if lost > 0 { Ok(()) } else { Err(text) }
    })
    .await;
    world.edit("batman", json!({"retry": 1})).await;
    world.phase("batman", "Running").await;
    let since = std::time::Instant::now();
    assert!(process.terminate().await.success(), "{:#?}", process.lines());
    assert!(since.elapsed() < Duration::from_secs(6), "{:?}", since.elapsed());
    let lines = process.lines();
    let said = lines.iter().filter(|line| line.contains("does not take spans")).count();
    assert_eq!(said, 1, "{lines:#?}");
}

/// The replica that sent the newest measurement.
fn owner(spans: &[Span]) -> Option<String> {
    let measured = named(spans, "measure promQL[0]");
    let last = measured.into_iter().max_by_key(|span| span.begun)?;
    Some(last.replica.clone())
}

/// A run that asks the Prometheus of the plane.
async fn scraped(world: &World) -> (Exporter, Value) {
    let exporter = Exporter::start(world).await;
    let series = format!("errors_ratio{{ns=\"{}\"}}", world.ns);
    exporter.set(&series, 0.25);
    exporter.answers(&series).await;
    let query = json!({
        "prometheusURL": world.plane.prometheus(), "query": series, "allPodsQuery": true, "interval": "2s",
        "valueInRange": {"min": 0, "max": 0.5},
    });
    let mut spec = measured(&json!({"promQL": query}), "26s");
    let slower = json!({"validation": {"initialDelay": "3s", "maxIntervalPeriod": "2s"}});
    crate::support::merge(&mut spec, slower);
    (exporter, spec)
}

/// With a Jaeger, which `just traces` starts. One replica sends over gRPC and the other one over HTTP.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jaeger_shows_one_trace_of_a_run_whose_owner_is_killed() {
    let Some(jaeger) = Jaeger::of_environment() else {
        eprintln!("there is no Jaeger: this case is skipped; `just traces` runs it");
        return;
    };
    let world = World::alone("traces").await;
    grant(&world).await;
    let start = |identity: &str, endpoint: &str, protocol: &str| {
        let arguments = [
            "--shards",
            "8",
            "--otlp-endpoint",
            endpoint,
            "--otlp-protocol",
            protocol,
        ];
        Process::start_replica(&world, identity, "3s", &arguments)
    };
    let over_grpc = start("over-grpc", &jaeger.grpc, "grpc");
    let over_http = start("over-http", &jaeger.http, "http/protobuf");
    for replica in [&over_grpc, &over_http] {
        replica.ready().await;
    }
    world.target("app", 2).await;
    let (_exporter, spec) = scraped(&world).await;
    world.kanary("batman", "app", spec).await;
    let trace = trace_of(&world, "batman").await;
    let measures = |spans: &[Span]| named(spans, "measure promQL[0]").len() >= 3;
    let spans = jaeger.until(&trace, "the run was measured", measures).await;
    let killed = owner(&spans).unwrap();
    let mut replicas = [over_grpc, over_http];
    let index = usize::from(killed == "over-http");
    replicas[index].kill().await;
    println!("killed {killed}, the owner of the run, with SIGKILL");
    session_ends(&world, &killed).await;
    let running = world.get(&KANARY, "batman").await;
    assert_eq!(phase(&running), "Running", "the run goes on: {running:#}");
    world.ends("batman", "DeploymentUpdated").await;
    let complete = |spans: &[Span]| has_ended(spans) && !named(spans, "delete Deployment").is_empty();
    let spans = jaeger.until(&trace, "the run and its end have arrived", complete).await;
    assert_is_a_good_run(&spans, "0.25");
    let by = |name: &str| spans.iter().filter(|span| span.replica == name).count();
    let (grpc, http) = (by("over-grpc"), by("over-http"));
    assert!(grpc > 0 && http > 0, "{grpc} spans over gRPC, {http} over HTTP");
    println!("{} spans in one trace: {grpc} over gRPC, {http} over HTTP", spans.len());
    println!("{}", jaeger.page(&trace));
    if let Some(file) = std::env::var_os("KANARY_TRACE_PAGE") {
        std::fs::write(file, jaeger.page(&trace)).unwrap();
    }
    let told = |line: &&String| line.contains(&trace) && line.contains("phase changed");
    for replica in &replicas {
        assert!(replica.lines().iter().any(|line| told(&line)), "{:#?}", replica.lines());
    }
}
