//! A program that the real Prometheus scrapes, with the series that a case sets.

use std::{
    collections::BTreeMap,
    fmt::Write,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Instant,
};

use axum::{Router, routing::get};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use super::{World, poll};

/// The value of a series: where it started, and what it gains per second.
#[derive(Clone, Copy, Debug)]
struct Line {
    since: Instant,
    start: f64,
    per_second: f64,
}

/// A scraped program, until it is dropped.
#[derive(Debug)]
pub(crate) struct Exporter {
    lines: Arc<Mutex<BTreeMap<String, Line>>>,
    file: PathBuf,
    prometheus: String,
    task: JoinHandle<()>,
}

impl Exporter {
    /// Starts one and tells Prometheus about it.
    pub(crate) async fn start(world: &World) -> Self {
        let lines = Arc::new(Mutex::new(BTreeMap::new()));
        let shown = lines.clone();
        let app = Router::new().route("/metrics", get(async move || render(&shown.lock().unwrap())));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("the listener is bound");
        let task = tokio::spawn(async move { axum::serve(listener, app).await.expect("the exporter serves") });
        let folder = world.plane.prometheus_targets();
        let file = folder.join(format!("{}-{}.json", world.ns, address.port()));
        // Prometheus must not read half a file.
        let draft = file.with_extension("draft");
        let targets = json!([{"targets": [address.to_string()]}]).to_string();
        std::fs::write(&draft, targets).expect("the folder of targets can be written");
        std::fs::rename(&draft, &file).expect("a file can be renamed");
        Self {
            lines,
            file,
            prometheus: world.plane.prometheus().to_owned(),
            task,
        }
    }

    /// Sets a series, written as Prometheus writes it: `requests{pod="a"}`.
    pub(crate) fn set(&self, series: &str, value: f64) {
        self.grow(series, value, 0.0);
    }

    /// A series that gains `per_second` from now on.
    pub(crate) fn grow(&self, series: &str, start: f64, per_second: f64) {
        let line = Line {
            since: Instant::now(),
            start,
            per_second,
        };
        self.lines.lock().unwrap().insert(series.to_owned(), line);
    }

    /// Waits until Prometheus answers `query` with something.
    pub(crate) async fn answers(&self, query: &str) {
        let client = reqwest::Client::new();
        poll(&format!("Prometheus answers {query}"), async || {
            let url = format!("{}/api/v1/query", self.prometheus);
            let answer = client.get(url).query(&[("query", query)]).send().await;
            let answer = answer.map_err(|e| e.to_string())?;
            let answer: Value =
                serde_json::from_str(&answer.text().await.map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
            let found = answer["data"]["result"]
                .as_array()
                .is_some_and(|result| !result.is_empty());
            found.then_some(()).ok_or_else(|| answer.to_string())
        })
        .await;
    }
}

fn render(lines: &BTreeMap<String, Line>) -> String {
    let mut text = String::new();
    for (series, line) in lines {
        let value = line.start + line.per_second * line.since.elapsed().as_secs_f64();
        writeln!(text, "{series} {value}").expect("a string takes everything");
    }
    text
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.task.abort();
        // The plane's folder may be gone already.
        let _ = std::fs::remove_file(&self.file);
    }
}
