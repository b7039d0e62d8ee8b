//! Replicas of the `kanary` program, with the flags of deploy/operator.yaml.

use std::{fs, path::PathBuf, process::Stdio, sync::Arc, time::Duration};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use crate::{
    plan::Plan,
    plane::{LEASE_NAMESPACE, Plane},
    processes::Recorder,
};

/// Name of all replicas in the samples.
pub(crate) const KANARY: &str = "kanary";

/// How long a replica may take to become ready, or to end.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running replica. It is killed when this is dropped.
pub(crate) struct Replica {
    child: Child,
    log: PathBuf,
}

/// Starts replicas.
#[derive(Clone)]
pub(crate) struct Starter {
    pub(crate) plan: Arc<Plan>,
    pub(crate) plane: Arc<Plane>,
    pub(crate) recorder: Recorder,
    /// Distinguishes the logs of several runs.
    pub(crate) part: usize,
}

impl Starter {
    /// Starts a replica whose pod has the template `template`, and waits until it is ready.
    pub(crate) async fn start(&self, identity: &str, template: &str) -> anyhow::Result<Replica> {
        let log = self.plane.log(&format!("{identity}-{}", self.part));
        // A replica that is started again continues its log, but its address has to be found behind the earlier ones.
        let _absent = fs::remove_file(&log);
        let file = fs::File::create(&log)?;
        let child = Command::new(&self.plan.program)
            .args([
                "run",
                "--admin-addr=127.0.0.1:0",
                "--log-format=json",
                "--identity",
                identity,
            ])
            .args(["--lease-namespace", LEASE_NAMESPACE, "--pod-template-hash", template])
            .args(&self.plan.program_arguments)
            .env("KUBECONFIG", &self.plane.kanary_kubeconfig)
            // With a kubeconfig, Kanary refuses to run behind a proxy.
            .env_remove("HTTPS_PROXY")
            .env_remove("https_proxy")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("could not start {}", self.plan.program.display()))?;
        let mut replica = Replica { child, log };
        if let Some(pid) = replica.child.id() {
            self.recorder.track_new(KANARY, pid);
        }
        replica.ready().await?;
        Ok(replica)
    }
}

impl Replica {
    async fn ready(&mut self) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        let mut seen = String::new();
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "kanary ended by itself ({status}); the end of its log:\n{}",
                    self.end_of_log()
                );
            }
            match self.page("/readyz").await {
                Ok((200, _)) => return Ok(()),
                Ok((_, text)) => seen = text,
                Err(error) => seen = error.to_string(),
            }
            sleep(Duration::from_millis(100)).await;
        }
        bail!(
            "kanary is not ready after {PATIENCE:?}: {seen}; the end of its log:\n{}",
            self.end_of_log()
        );
    }

    fn end_of_log(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(10).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Status and text of a page of the admin server.
    async fn page(&self, path: &str) -> anyhow::Result<(u16, String)> {
        let address = address(&fs::read_to_string(&self.log)?).context("the admin server does not listen yet")?;
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
        let answer = timeout(
            Duration::from_secs(5),
            client.get(format!("http://{address}{path}").parse()?),
        )
        .await??;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    /// Sends SIGKILL and waits for the end.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await?;
        Ok(())
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) async fn terminate(mut self) -> anyhow::Result<()> {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        kill_process(pid.context("kanary has ended before it was asked to")?, Signal::TERM)?;
        let ended = timeout(PATIENCE, self.child.wait()).await;
        let status = ended.with_context(|| format!("kanary still runs {PATIENCE:?} after SIGTERM"))??;
        ensure!(
            status.success(),
            "kanary ended with {status}; the end of its log:\n{}",
            self.end_of_log()
        );
        Ok(())
    }
}

/// Waits until every shard has an owner: until then some Kanaries have none.
pub(crate) async fn divide(plane: &Plane, replicas: &[Replica]) -> anyhow::Result<()> {
    let map = format!("/api/v1/namespaces/{LEASE_NAMESPACE}/configmaps/kanary-shardmap");
    let map: Value = plane.admin.get(&map).await.context("ConfigMap kanary-shardmap")?;
    let all = map.pointer("/data/shards").and_then(Value::as_str);
    let all: u64 = all
        .and_then(|shards| shards.parse().ok())
        .context("ConfigMap kanary-shardmap has no shards")?;
    let end = Instant::now() + PATIENCE;
    loop {
        let mut owned = 0;
        for replica in replicas {
            let (_, page) = replica.page("/metrics").await?;
            owned += shards(&page);
        }
        if owned == all {
            return Ok(());
        }
        ensure!(
            Instant::now() < end,
            "{owned} of {all} shards have an owner after {PATIENCE:?}"
        );
        sleep(Duration::from_millis(200)).await;
    }
}

/// Number of shards of a replica in its metrics.
fn shards(metrics: &str) -> u64 {
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("kanary_shards_owned "));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or_default()
}

/// The address of the admin server in a log.
fn address(log: &str) -> Option<String> {
    let line = log.lines().find(|line| line.contains("admin server listens"))?;
    let (_, rest) = line.split_once("127.0.0.1:")?;
    let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some(format!("127.0.0.1:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_contains_the_address() {
        let log = "{\"message\":\"starting\"}\n{\"message\":\"admin server listens\",\"addr\":\"127.0.0.1:4242\"}\n";
        assert_eq!(address(log).as_deref(), Some("127.0.0.1:4242"));
        assert_eq!(
            address("{\"message\":\"starting\",\"server\":\"https://127.0.0.1:1\"}"),
            None
        );
    }

    #[test]
    fn the_metrics_contain_the_number_of_shards() {
        assert_eq!(
            shards("# TYPE kanary_shards_owned gauge\nkanary_shards_owned 32\n# EOF\n"),
            32
        );
        assert_eq!(shards("# EOF\n"), 0);
    }
}
