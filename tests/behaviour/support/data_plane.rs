//! A real data plane, which `hack/dataplane/dataplane run` starts beside the real control plane.

use std::{net::SocketAddr, path::PathBuf};

use kanary_dataplane::load::Load;
use tokio::process::Command;

use super::poll;

/// Addresses of the data plane.
#[derive(Clone, Debug)]
pub(crate) struct DataPlane {
    /// The Envoy that istiod configures.
    pub(crate) gateway: SocketAddr,
    /// The Envoy that Envoy Gateway configures, if it runs.
    pub(crate) session_gateway: Option<SocketAddr>,
    backend: String,
    folder: PathBuf,
}

impl DataPlane {
    /// The data plane of the environment, if there is one.
    pub(crate) fn of_environment() -> Option<Self> {
        let variable = |name: &str| std::env::var(name).ok();
        let address = |name: &str| Some(variable(name)?.parse().expect("it is an address"));
        Some(Self {
            gateway: address("KANARY_DATAPLANE_GATEWAY")?,
            session_gateway: address("KANARY_DATAPLANE_SESSION_GATEWAY"),
            backend: variable("KANARY_DATAPLANE_BACKEND")?,
            folder: variable("KANARY_PLANE_DIR")?.into(),
        })
    }

    /// How many requests the pods of a version in a namespace got, with those whose answers were discarded.
    pub(crate) async fn received(&self, namespace: &str, version: &str) -> usize {
        let page = poll("the backend shows its counts", async || {
            let answer = reqwest::get(format!("{}/metrics", self.backend)).await?;
            answer.text().await
        });
        let page = page.await;
        let (namespace, version) = (format!("namespace=\"{namespace}\""), format!("version=\"{version}\""));
        let of = |line: &&str| {
            line.starts_with("http_requests_total{") && line.contains(&namespace) && line.contains(&version)
        };
        let counts = page.lines().filter(of).map(|line| line.rsplit(' ').next());
        counts
            .map(|count| count.and_then(|count| count.parse::<usize>().ok()).expect("a count"))
            .sum()
    }

    /// Waits until a version answers.
    pub(crate) async fn until_answers(&self, load: &Load, version: &str) {
        poll(&format!("version {version} answers"), async || {
            let answer = load.once().await;
            if answer.result.as_deref() == Ok(version) {
                Ok(())
            } else {
                Err(format!("{answer:?}"))
            }
        })
        .await;
    }

    /// Restarts istiod, which then passes changes on after a delay, such as `2s`, or as usual.
    pub(crate) async fn restart_istiod(&self, delay: &str) {
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/hack/dataplane/dataplane");
        let ran = Command::new(program).args(["restart-istiod", delay]).output().await;
        let ran = ran.expect("the script runs");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }

    /// Sends a signal to istiod.
    pub(crate) async fn signal_istiod(&self, signal: &str) {
        let id = std::fs::read_to_string(self.folder.join("pids/pilot-discovery")).expect("istiod runs");
        let sent = Command::new("kill").args([&format!("-{signal}"), id.trim()]).status();
        assert!(sent.await.expect("kill is in PATH").success());
    }
}
