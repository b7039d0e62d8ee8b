//! The loop of one watch: a list, then watches from its version until the API server has expired that version.

use std::{pin::pin, time::Duration};

use futures::{AsyncBufRead, AsyncBufReadExt};
use kube::{
    Api, Client,
    api::{ListParams, WatchParams},
    core::Request,
};
use tokio::time::{Instant, sleep, timeout};

use super::{
    Heartbeat,
    feed::{Feed, Share},
    parse::{self, Event, address},
};
use crate::cluster::error::{backoff, describe, is_silence};

/// Page size of list requests.
const PAGE: u32 = 500;

/// Timeout for a page of a list, and for the start of a watch.
const PATIENCE: Duration = Duration::from_secs(30);

/// Minimum timeout of a watch, in seconds. Up to [`SPREAD`] is added, so that not all watches end at once.
const TERM: u32 = 60;
const SPREAD: u32 = 30;

/// A watch has stalled if it is silent for this long after its timeout.
const GRACE: Duration = Duration::from_secs(15);

/// A watch that ends at most this long before its timeout has ended normally.
const SLACK: Duration = Duration::from_secs(1);

/// A watch that lived this long was working, even if it received nothing before it was cut off.
const SETTLED: Duration = Duration::from_secs(5);

/// The first and the longest backoff after an error; the longest is shorter if the API server does not respond at all, because
/// retries do not burden it then.
const BASE: Duration = Duration::from_millis(200);
const CAP: Duration = Duration::from_secs(30);
const CAP_OF_SILENCE: Duration = Duration::from_secs(10);

/// Why a list or a watch failed.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("{}", describe(.0))]
    Call(#[from] kube::Error),
    #[error("connection error: {0}")]
    Broken(std::io::Error),
    #[error("could not parse the response: {0}")]
    Unreadable(#[from] serde_json::Error),
    #[error("the list has no resourceVersion")]
    NoVersion,
    #[error("no response within {PATIENCE:?}")]
    Slow,
    #[error("no event or bookmark for {0:?}")]
    Stalled(Duration),
    #[error("the watch ended early")]
    Early,
}

impl Trouble {
    fn code(&self) -> u16 {
        match self {
            Self::Call(kube::Error::Api(status)) if ["Expired", "Gone"].contains(&status.reason.as_str()) => 410,
            Self::Call(kube::Error::Api(status)) => status.code,
            _ => 0,
        }
    }

    /// Whether there was no response at all.
    fn is_silence(&self) -> bool {
        match self {
            Self::Call(error) => is_silence(error),
            Self::Broken(_) | Self::Slow => true,
            _ => false,
        }
    }
}

/// The objects that a watch follows.
#[derive(Debug, Default)]
pub(super) struct WatchSelector {
    pub(super) labels: Option<String>,
    pub(super) fields: Option<String>,
}

/// Follows objects of one kind.
pub(super) struct Follower<F: Feed> {
    client: Client,
    request: Request,
    selector: WatchSelector,
    share: Share<F>,
    heartbeat: Heartbeat,
    /// The last version received; `None` before a list.
    version: Option<String>,
    /// Consecutive failures.
    troubles: u32,
    /// The last success was a list: no watch has received anything since.
    just_listed: bool,
}

impl<F: Feed> Follower<F> {
    pub(super) fn new(api: Api<F::Object>, selector: WatchSelector, share: Share<F>, heartbeat: Heartbeat) -> Self {
        Self {
            request: Request::new(api.resource_url()),
            client: api.into_client(),
            selector,
            share,
            heartbeat,
            version: None,
            troubles: 0,
            just_listed: false,
        }
    }

    /// Runs forever.
    pub(super) async fn run(mut self) {
        loop {
            let ended = match self.version.clone() {
                None => self.list().await,
                Some(version) => self.watch(&version).await,
            };
            if let Err(trouble) = ended {
                self.recover(&trouble).await;
            }
        }
    }

    /// Lists the current state. A watch could start from an older list, but a replica that takes over a shard cannot use one: an
    /// older list could contain a Kanary without the verdict that has already been written.
    async fn list(&mut self) -> Result<(), Trouble> {
        self.share.begin_list();
        let mut params = ListParams {
            label_selector: self.selector.labels.clone(),
            field_selector: self.selector.fields.clone(),
            ..ListParams::default().limit(PAGE)
        };
        let mut version = None;
        loop {
            let request = self.request.list(&params).map_err(kube::Error::BuildRequest)?;
            let answer = timeout(PATIENCE, self.client.request_text(request)).await;
            let (meta, items) = parse::page::<F::Object>(&answer.map_err(|_| Trouble::Slow)??)?;
            self.heartbeat.beat();
            for item in &items {
                self.share.list(item);
            }
            // The version of the first page: changes since then that later pages already contain are reported again by the
            // watch.
            version = version.or(meta.resource_version);
            params.continue_token = meta.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                break;
            }
        }
        let version = version.filter(|version| !version.is_empty());
        let version = version.ok_or(Trouble::NoVersion)?;
        self.share.end_list(&version);
        self.heartbeat.listed();
        self.version = Some(version);
        if !self.just_listed {
            self.troubles = 0;
        }
        self.just_listed = true;
        Ok(())
    }

    /// Watches until the API server ends the watch.
    async fn watch(&mut self, version: &str) -> Result<(), Trouble> {
        let term = TERM + fastrand::u32(..=SPREAD);
        let params = WatchParams {
            label_selector: self.selector.labels.clone(),
            field_selector: self.selector.fields.clone(),
            ..WatchParams::default().timeout(term)
        };
        let term = Duration::from_secs(term.into());
        let request = self
            .request
            .watch(&params, version)
            .map_err(kube::Error::BuildRequest)?;
        let begun = Instant::now();
        let answer = timeout(PATIENCE, self.client.request_stream(request)).await;
        let mut stream = pin!(answer.map_err(|_| Trouble::Slow)??);
        // Count the start as a heartbeat, for a watch that is always cut off before its first bookmark.
        self.heartbeat.opened();
        let opened = Instant::now();
        let ended = self.hear(&mut stream, begun, term).await;
        let is_cut_off = matches!(ended, Err(Trouble::Early | Trouble::Broken(_)));
        if is_cut_off && opened.elapsed() >= SETTLED {
            // For example, a proxy closed an idle connection. Retry without backoff.
            self.troubles = 0;
        }
        ended
    }

    /// Processes the events of a watch that was started at `begun` with timeout `term`.
    async fn hear(
        &mut self,
        stream: &mut (impl AsyncBufRead + Unpin),
        begun: Instant,
        term: Duration,
    ) -> Result<(), Trouble> {
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = timeout(term + GRACE, stream.read_until(b'\n', &mut line)).await;
            let read = read.map_err(|_| Trouble::Stalled(term + GRACE))?;
            let is_over = read.map_err(Trouble::Broken)? == 0;
            if is_over && begun.elapsed() + SLACK < term {
                return Err(Trouble::Early);
            }
            if !is_over {
                match parse::event(&line) {
                    Ok(event) => self.take(event)?,
                    Err(_) if !line.ends_with(b"\n") => return Err(Trouble::Early),
                    Err(error) => return Err(error.into()),
                }
            }
            self.heard();
            if is_over {
                return Ok(());
            }
        }
    }

    /// Processes one event.
    fn take(&mut self, event: Event<F::Object>) -> Result<(), Trouble> {
        let version = match event {
            Event::Applied(item) => {
                self.share.applied(&item);
                address(&item).1
            }
            Event::Deleted(item) => {
                self.share.deleted(&item);
                address(&item).1
            }
            Event::Bookmark(version) => version,
            Event::Error(status) => return Err(kube::Error::Api(status).into()),
        };
        if !version.is_empty() {
            self.version = Some(version);
        }
        Ok(())
    }

    /// Records that the watch works.
    fn heard(&mut self) {
        self.heartbeat.beat();
        self.troubles = 0;
        self.just_listed = false;
    }

    /// Records a failure and waits for the backoff.
    async fn recover(&mut self, trouble: &Trouble) {
        if trouble.code() == 404 && self.share.missing() {
            // A cluster without this kind has no objects of it, so nothing waits for a list.
            tracing::debug!(kind = %self.share.kind(), "the API server does not know this kind");
            self.version = None;
            self.heartbeat.listed();
            self.heartbeat.opened();
            sleep(CAP).await;
            return;
        }
        self.note(trouble);
        let was_watching = self.version.is_some();
        if trouble.code() == 410 {
            self.version = None;
        }
        let at_once = match trouble {
            Trouble::Stalled(_) => true,
            // Avoid two consecutive lists, because a list is the most expensive request.
            _ => trouble.code() == 410 && was_watching && !self.just_listed,
        };
        if !at_once {
            let cap = if trouble.is_silence() { CAP_OF_SILENCE } else { CAP };
            let pause = backoff(self.troubles, BASE, cap, fastrand::f64());
            self.troubles = self.troubles.saturating_add(1);
            sleep(pause).await;
        }
    }

    fn note(&self, trouble: &Trouble) {
        let kind = self.share.kind();
        if matches!(trouble, Trouble::Early) {
            // The connection was cut by a proxy or the API server. The watch resumes at its last version.
            tracing::debug!(%kind, error = %trouble, "resuming a watch");
            return;
        }
        let metrics = &self.share.sink.metrics;
        self.heartbeat.restarted();
        metrics.watch_restarts.inc();
        if matches!(trouble, Trouble::Stalled(_)) {
            metrics.watch_stalls.inc();
        }
        if trouble.code() == 404 {
            tracing::warn!(
                %kind,
                "the API server does not know this kind: `kanary crds | kubectl apply -f -` installs it"
            );
        } else {
            tracing::warn!(%kind, error = %trouble, "restarting a watch");
        }
    }
}
