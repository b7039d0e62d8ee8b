//! Series for Prometheus: the one of `hack/plane` scrapes them, the one of the embedded cluster is told.

use std::{
    fmt::Write,
    net::Ipv4Addr,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock},
    time::Instant,
};

use jiff::Timestamp;
use kanary_sim::prometheus::Prometheus;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::admin;

/// Where Prometheus has its series from.
pub(crate) enum Metrics {
    /// The Prometheus of `hack/plane` scrapes the targets of this folder.
    Scraped { url: String, targets: PathBuf },
    /// The one of the embedded cluster.
    Embedded { url: String, prometheus: Prometheus },
}

impl Metrics {
    /// The address of Prometheus, without its scheme.
    pub(crate) fn server(&self) -> &str {
        let (Self::Scraped { url, .. } | Self::Embedded { url, .. }) = self;
        url.trim_start_matches("http://")
    }
}

pub(super) static METRICS: OnceLock<Metrics> = OnceLock::new();

pub(crate) fn metrics() -> &'static Metrics {
    let _cluster = admin();
    METRICS.get_or_init(|| Metrics::Scraped {
        url: std::env::var("KANARY_PLANE_PROMETHEUS").unwrap(),
        targets: std::env::var_os("KANARY_PLANE_PROMETHEUS_TARGETS").unwrap().into(),
    })
}

/// Counters that begin at 0, each with its increase per second. They are there until this is dropped.
pub(crate) struct Exporter {
    counters: Arc<Mutex<Vec<Counter>>>,
    file: Option<PathBuf>,
}

struct Counter {
    series: String,
    since: Instant,
    per_second: f64,
}

impl Exporter {
    pub(crate) async fn start(name: &str) -> Self {
        let counters = Arc::new(Mutex::new(Vec::new()));
        let file = match metrics() {
            Metrics::Embedded { .. } => None,
            Metrics::Scraped { targets, .. } => {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
                let file = targets.join(format!("{name}.json"));
                let address = listener.local_addr().unwrap();
                std::fs::write(&file, format!("[{{\"targets\": [\"{address}\"]}}]")).unwrap();
                let shown = counters.clone();
                tokio::spawn(async move {
                    while let Ok((stream, _)) = listener.accept().await {
                        serve(stream, &shown).await;
                    }
                });
                Some(file)
            }
        };
        Self { counters, file }
    }

    /// Lets series begin, in Prometheus' format.
    pub(crate) fn grow(&self, gains: impl IntoIterator<Item = (String, f64)>) {
        let since = Instant::now();
        for (series, per_second) in gains {
            if let Metrics::Embedded { prometheus, .. } = metrics() {
                prometheus.set(&series, Timestamp::now(), 0.0, per_second).unwrap();
            }
            let counter = Counter {
                series,
                since,
                per_second,
            };
            self.counters.lock().unwrap().push(counter);
        }
    }
}

/// Answers one scrape.
async fn serve(mut stream: TcpStream, counters: &Mutex<Vec<Counter>>) {
    let mut request = [0; 4096];
    let _read = stream.read(&mut request).await.unwrap();
    let mut text = String::new();
    for counter in &*counters.lock().unwrap() {
        let value = counter.per_second * counter.since.elapsed().as_secs_f64();
        writeln!(text, "{} {value}", counter.series).unwrap();
    }
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length:";
    let reply = format!("{head} {}\r\n\r\n{text}", text.len());
    stream.write_all(reply.as_bytes()).await.unwrap();
}

impl Drop for Exporter {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            let _ = std::fs::remove_file(file);
        }
    }
}
