//! A scrape target for Prometheus with the series of a test case. The embedded Prometheus receives the series directly.

use std::{
    collections::BTreeMap,
    fmt::Write,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Instant,
};

use axum::{Router, routing::get};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use super::{
    World,
    plane::{Kind, Plane},
    poll,
};

/// A series: its start value and its increase per second.
#[derive(Clone, Copy, Debug)]
struct Line {
    since: Instant,
    start: f64,
    per_second: f64,
}

/// A scrape target. It exists until it is dropped.
#[derive(Debug)]
pub(crate) struct Exporter {
    prometheus: String,
    plane: &'static Plane,
    scraped: Option<Scraped>,
}

/// For the real Prometheus: a server, and a service discovery file with its address.
#[derive(Debug)]
struct Scraped {
    lines: Arc<Mutex<BTreeMap<String, Line>>>,
    file: PathBuf,
    task: JoinHandle<()>,
}

impl Exporter {
    /// Starts an exporter and registers it with Prometheus.
    pub(crate) async fn start(world: &World) -> Self {
        let scraped = match world.plane.kind() {
            Kind::Real { prometheus_targets, .. } => Some(Scraped::start(prometheus_targets, &world.ns).await),
            Kind::Embedded(_) => None,
        };
        Self {
            prometheus: world.plane.prometheus().to_owned(),
            plane: world.plane,
            scraped,
        }
    }

    /// Sets a series, in Prometheus' format: `requests{pod="a"}`.
    pub(crate) fn set(&self, series: &str, value: f64) {
        self.put([(series, value, 0.0)]);
    }

    /// Starts series at 0 at the same time, each with its increase per second, such as the buckets of a histogram.
    pub(crate) fn grow(&self, gains: &[(String, f64)]) {
        let series = gains.iter();
        self.put(series.map(|(series, per_second)| (series.as_str(), 0.0, *per_second)));
    }

    /// Sets series with their start values and increases per second.
    fn put<'a>(&self, all: impl IntoIterator<Item = (&'a str, f64, f64)>) {
        match (&self.scraped, self.plane.kind()) {
            (Some(scraped), _) => {
                let since = Instant::now();
                let lines = all.into_iter().map(|(series, start, per_second)| {
                    let line = Line {
                        since,
                        start,
                        per_second,
                    };
                    (series.to_owned(), line)
                });
                scraped.lines.lock().unwrap().extend(lines);
            }
            (None, Kind::Embedded(embedded)) => {
                let now = embedded.server.cluster().now();
                for (series, start, per_second) in all {
                    let set = embedded.prometheus.set(series, now, start, per_second);
                    set.expect("a series is in Prometheus' format");
                }
            }
            (None, Kind::Real { .. }) => unreachable!("the real Prometheus scrapes"),
        }
    }

    /// Waits until Prometheus returns a result for `query`.
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

impl Scraped {
    async fn start(folder: &Path, ns: &str) -> Self {
        let lines = Arc::new(Mutex::new(BTreeMap::new()));
        let shown = lines.clone();
        let app = Router::new().route("/metrics", get(async move || render(&shown.lock().unwrap())));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("the listener is bound");
        let task = tokio::spawn(async move { axum::serve(listener, app).await.expect("the exporter serves") });
        let file = folder.join(format!("{ns}-{}.json", address.port()));
        // Renaming is atomic, so Prometheus never reads a partial file.
        let draft = file.with_extension("draft");
        let targets = json!([{"targets": [address.to_string()]}]).to_string();
        std::fs::write(&draft, targets).expect("the folder of targets can be written");
        std::fs::rename(&draft, &file).expect("a file can be renamed");
        Self { lines, file, task }
    }
}

fn render(lines: &BTreeMap<String, Line>) -> String {
    let now = Instant::now();
    let mut text = String::new();
    for (series, line) in lines {
        let value = line.start + line.per_second * now.duration_since(line.since).as_secs_f64();
        writeln!(text, "{series} {value}").expect("writing to a string cannot fail");
    }
    text
}

impl Drop for Scraped {
    fn drop(&mut self) {
        self.task.abort();
        // The test environment's folder may already be deleted.
        let _ = std::fs::remove_file(&self.file);
    }
}
