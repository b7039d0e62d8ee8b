//! A tenant whose Kanaries cannot make progress, beside those that are measured.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    api::{Api, kanaries},
    board::Board,
    plan::{Plan, Tenant},
    webhook::Webhook,
    workload,
};

/// Longer than any run, so that the tenant is there until its end.
const VALIDATION: Duration = Duration::from_hours(2);

/// How long the measurement waits for the tenant's canaries.
const HEAD_START: Duration = Duration::from_secs(30);

/// The tenant at work.
pub(crate) struct Trouble {
    tenant: Tenant,
    board: Arc<Board>,
    webhook: Option<Webhook>,
    /// One task for each server that never answers.
    servers: JoinSet<()>,
    connections: Arc<AtomicU64>,
}

impl Trouble {
    /// Creates the tenant's Kanaries; their targets exist.
    pub(crate) async fn begin(tenant: Tenant, plan: &Plan, api: &Api, board: Arc<Board>) -> anyhow::Result<Self> {
        let mut trouble = Self {
            tenant,
            board,
            webhook: None,
            servers: JoinSet::new(),
            connections: Arc::default(),
        };
        let mut servers = Vec::new();
        match tenant {
            Tenant::Webhook { delay, .. } => {
                trouble.webhook = Some(Webhook::start(api, &trouble.board.namespace, delay).await?);
            }
            Tenant::Endpoints { endpoints, .. } => servers = trouble.endpoints(endpoints).await?,
        }
        let mut servers = servers.into_iter();
        for number in 0..tenant.kanaries() {
            let items = trouble.items(plan, &mut servers);
            let kanary = workload::kanary(number, plan.template, VALIDATION, &items);
            api.create(&kanaries(&trouble.board.namespace), &kanary)
                .await
                .context("the tenant's Kanaries")?;
        }
        trouble.head_start().await;
        Ok(trouble)
    }

    fn items(&self, plan: &Plan, servers: &mut impl Iterator<Item = String>) -> Vec<Value> {
        let number = match self.tenant {
            Tenant::Webhook { .. } => 1,
            Tenant::Endpoints { items, .. } => items,
        };
        // Nothing listens on this address either. It is not asked, because there is no canary.
        let nobody = "http://127.2.0.1:9".to_owned();
        let mut items: Vec<_> = servers
            .take(number)
            .map(|url| workload::item(&url, plan.interval))
            .collect();
        if items.is_empty() {
            items.push(workload::item(&nobody, plan.interval));
        }
        items
    }

    /// Addresses of `number` servers: every other one refuses connections, the rest accept them and never answer.
    async fn endpoints(&mut self, number: usize) -> io::Result<Vec<String>> {
        let mut urls = Vec::with_capacity(number);
        for (index, host) in (0..number).zip(hosts()) {
            if index % 2 == 0 {
                // Port 9 is reserved for a service that nobody runs.
                urls.push(format!("http://127.2.{host}:9"));
                continue;
            }
            let listener = TcpListener::bind(format!("127.1.{host}:0")).await?;
            urls.push(format!("http://{}", listener.local_addr()?));
            self.servers.spawn(never_answer(listener, self.connections.clone()));
        }
        Ok(urls)
    }

    /// Waits until the tenant has what it can have: its canaries, or calls that wait for its webhook.
    async fn head_start(&self) {
        let end = Instant::now() + HEAD_START;
        let all = self.tenant.kanaries();
        while Instant::now() < end {
            let is_there = match &self.webhook {
                Some(webhook) => webhook.calls() > 0,
                None => self.board.progress().canaries == all && self.connections.load(Ordering::Relaxed) > 0,
            };
            if is_there {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// What the tenant did, and the end of it.
    pub(crate) async fn end(mut self, api: &Api) -> anyhow::Result<String> {
        self.servers.shutdown().await;
        let canaries = self.board.progress().canaries;
        let kanaries = self.tenant.kanaries();
        Ok(match self.webhook {
            Some(webhook) => {
                let calls = webhook.calls();
                webhook.remove(api).await?;
                format!(
                    "the tenant had {kanaries} Kanaries and {canaries} canaries; its webhook was called {calls} times"
                )
            }
            None => format!(
                "the tenant had {kanaries} Kanaries and {canaries} canaries; its servers that never answer accepted {} \
                 connections",
                self.connections.load(Ordering::Relaxed)
            ),
        })
    }
}

/// The last two numbers of addresses in a network of loopback addresses.
fn hosts() -> impl Iterator<Item = String> {
    (0..=u8::MAX).flat_map(|high| (1..u8::MAX).map(move |low| format!("{high}.{low}")))
}

async fn never_answer(listener: TcpListener, connections: Arc<AtomicU64>) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                connections.fetch_add(1, Ordering::Relaxed);
                open.spawn(until_closed(stream));
            }
            Some(_closed) = open.join_next() => {}
        }
    }
}

/// Reads until the client closes the connection.
async fn until_closed(stream: TcpStream) {
    let mut buffer = [0; 1024];
    while stream.readable().await.is_ok() {
        match stream.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, net::Ipv4Addr};

    use super::*;

    #[test]
    fn every_server_has_an_address_of_its_own() {
        let hosts: BTreeSet<_> = hosts().take(20_000).map(|host| format!("127.1.{host}")).collect();
        assert_eq!(hosts.len(), 20_000);
        assert!(
            hosts
                .iter()
                .all(|host| host.parse::<Ipv4Addr>().is_ok_and(|host| host.is_loopback()))
        );
    }

    #[tokio::test]
    async fn a_server_that_never_answers_notices_that_the_client_left() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        client.try_write(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        drop(client);
        until_closed(stream).await;
    }
}
