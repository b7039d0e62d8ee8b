//! The loop of one watch: a list, and watches from there on for as long as the API server remembers.

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
    parse::{self, Event, address},
    share::{Feed, Share},
};
use crate::cluster::error::{backoff, is_silence, words};

/// Objects on a page of a list.
const PAGE: u32 = 500;

/// How long a page may take, and the beginning of a watch.
const PATIENCE: Duration = Duration::from_secs(30);

/// The API server ends a watch after so many seconds, and up to [`SPREAD`] more: not all of them at once.
const TERM: u32 = 60;
const SPREAD: u32 = 30;

/// A watch that says nothing for so much longer than it should last has stalled.
const GRACE: Duration = Duration::from_secs(15);

/// A watch that ends so shortly before its time has ended in time.
const SLACK: Duration = Duration::from_secs(1);

/// A watch that lived for so long worked, even if it had nothing to say before something cut it off.
const SETTLED: Duration = Duration::from_secs(5);

/// The first pause after an error, and the longest: after a refusal, and where nobody answers, who will not notice.
const BASE: Duration = Duration::from_millis(200);
const CAP: Duration = Duration::from_secs(30);
const CAP_OF_SILENCE: Duration = Duration::from_secs(10);

/// Why a list or a watch did not go on.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("{}", words(.0))]
    Call(#[from] kube::Error),
    #[error("the connection broke: {0}")]
    Broken(std::io::Error),
    #[error("the answer cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
    #[error("the list has no resourceVersion")]
    NoVersion,
    #[error("no answer within {PATIENCE:?}")]
    Slow,
    #[error("nothing was heard for {0:?}")]
    Stalled(Duration),
    #[error("the watch ended before its time")]
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

    /// Nobody answered.
    fn is_silence(&self) -> bool {
        match self {
            Self::Call(error) => is_silence(error),
            Self::Broken(_) | Self::Slow => true,
            _ => false,
        }
    }
}

/// Follows objects of one kind.
pub(super) struct Follower<F: Feed> {
    client: Client,
    request: Request,
    selector: Option<String>,
    share: Share<F>,
    heartbeat: Heartbeat,
    /// Everything up to here was heard. `None` before a list.
    version: Option<String>,
    /// Troubles in a row.
    troubles: u32,
    /// The last thing that worked was a list: no watch has said anything since.
    just_listed: bool,
}

impl<F: Feed> Follower<F> {
    pub(super) fn new(api: Api<F::Object>, selector: Option<String>, share: Share<F>, heartbeat: Heartbeat) -> Self {
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

    /// Never ends.
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

    /// Lists everything as it is now. An older list would do for a watch, but not for whoever takes over from somebody else:
    /// it could show a Kanary without the verdict that is already written.
    async fn list(&mut self) -> Result<(), Trouble> {
        self.share.begin_list();
        let mut params = ListParams {
            label_selector: self.selector.clone(),
            ..ListParams::default().limit(PAGE)
        };
        let mut version = None;
        loop {
            let request = self.request.list(&params).map_err(kube::Error::BuildRequest)?;
            let answer = timeout(PATIENCE, self.client.request_text(request)).await;
            let (meta, items) = parse::page::<F::Object>(&answer.map_err(|_| Trouble::Slow)??)?;
            self.heartbeat.beat();
            for item in &items {
                self.share.applied(item);
            }
            // Of the first page: whatever a later one may be newer by is told again.
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

    /// Watches until the API server says that the time is over.
    async fn watch(&mut self, version: &str) -> Result<(), Trouble> {
        let term = TERM + fastrand::u32(..=SPREAD);
        let params = WatchParams {
            label_selector: self.selector.clone(),
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
        // Also one that is always cut off before its first bookmark is heard of.
        self.heartbeat.beat();
        let opened = Instant::now();
        let ended = self.hear(&mut stream, begun, term).await;
        let is_cut_off = matches!(ended, Err(Trouble::Early | Trouble::Broken(_)));
        if is_cut_off && opened.elapsed() >= SETTLED {
            // Such as by a proxy that does not like idle connections: no reason to hesitate.
            self.troubles = 0;
        }
        ended
    }

    /// Takes in all that a watch tells, which was asked for at `begun` and is to last for `term`.
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

    /// Takes in what a watch tells.
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

    /// A watch works.
    fn heard(&mut self) {
        self.heartbeat.beat();
        self.troubles = 0;
        self.just_listed = false;
    }

    /// Takes note, and waits for as long as it takes before the next try.
    async fn recover(&mut self, trouble: &Trouble) {
        self.note(trouble);
        let was_watching = self.version.is_some();
        if trouble.code() == 410 {
            self.version = None;
        }
        let at_once = match trouble {
            Trouble::Stalled(_) => true,
            // Two lists in a row never are: a list is what costs most.
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
            // As whatever is between us and the API server likes it. It goes on where it was.
            tracing::debug!(%kind, error = %trouble, "a watch goes on");
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
            tracing::warn!(%kind, error = %trouble, "a watch starts anew");
        }
    }
}
