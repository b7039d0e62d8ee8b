//! The client of the Kubernetes metrics APIs, which the API server passes on to other programs. It does not judge the result.
//!
//! These programs may be slow, hang, or be missing. So requests go through a pool of their own, with the same limits and fairness as
//! queries to Prometheus: each API is a server of its own, namespaces share it, requests that are the same are sent once, and a
//! circuit breaker answers in place of an API that keeps failing.

mod fetch;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use kanary_core::{
    trace::TraceParent,
    validation::metric::{
        Described, Metric, MetricAnswer, PodSelector, Requests, kind_path, pods_path, resource_of_kind,
    },
};
use serde_json::Value;
use tokio::time::Instant;

use self::fetch::{Failed, Why};
use crate::{
    cluster::clock::Clock,
    metrics::Metrics,
    prometheus::{
        Budget, MAX_LARGE, When,
        bounded::Bounded,
        pool::{Account, Answered, Assignment, Batch, Large, Query, QueryPool},
    },
};

/// Maximum number of kinds whose resource is remembered.
const MAX_KINDS: usize = 1000;

/// How long the resource of a kind is remembered.
const KEEP_KINDS: Duration = Duration::from_mins(10);

/// The name of the API server itself among the servers of the pool.
const CORE: &str = "the API server";

/// The limits for all replicas together. They are not settings, because the API server has its own. A replica has the part of them
/// that it has of the limits of queries.
fn budget(of_queries: &Budget) -> Budget {
    Budget {
        concurrency: 10,
        per_second: 50,
        total: 64,
        join: 1,
        endpoints: BTreeMap::new(),
        share: of_queries.share.clone(),
    }
}

/// A client of the metrics APIs. Clones share all state.
#[derive(Clone)]
pub struct MetricsApis {
    inner: Arc<Inner>,
}

struct Inner {
    client: kube::Client,
    clock: Clock,
    pool: Arc<QueryPool<Document>>,
    large: Large,
    /// The resource of each kind that is described by a metric, and until when it is known.
    kinds: Mutex<Bounded<(String, String), KnownKind>>,
}

type KnownKind = Mutex<Option<(Instant, String)>>;

/// The result of a request.
#[derive(Clone, Debug)]
struct Document {
    body: Result<Arc<Value>, Why>,
    /// The time for which it was asked.
    at: Timestamp,
    /// On whose behalf the request was sent, if that is known.
    sent_by: Option<TraceParent>,
}

impl Answered for Document {
    fn held_back(why: String, at: Timestamp) -> Self {
        Self {
            body: Err(Why::Unanswered(why)),
            at,
            sent_by: None,
        }
    }
}

/// The result of a measurement.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// The answer.
    pub answer: MetricAnswer,
    /// The time for which it was asked.
    pub at: Timestamp,
    /// On whose behalf the request was sent that brought the answer, if that is known.
    pub sent_by: Option<TraceParent>,
}

/// Which pods a metric is asked of, and for whom.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The namespace of the Kanary.
    pub namespace: &'a str,
    /// The pods of the run.
    pub pods: &'a PodSelector,
    /// The span of the measurement.
    pub parent: Option<TraceParent>,
}

impl MetricsApis {
    /// A client that asks through `client`. This replica has the part of the limits that it has of those of queries.
    #[must_use]
    pub fn new(client: kube::Client, clock: Clock, queries: &Budget, metrics: &Metrics) -> Self {
        Self {
            inner: Arc::new(Inner {
                client,
                pool: QueryPool::new(budget(queries), clock.clone(), metrics.metrics_apis.clone()),
                clock,
                large: Large::new(MAX_LARGE),
                kinds: Mutex::new(Bounded::new(MAX_KINDS)),
            }),
        }
    }

    /// Asks for the values of a metric. Each request waits for its turn within the budget, and after that it takes at most 10 s. There
    /// are up to two: of a kind or of the requests of pods, and of the values.
    pub async fn ask(&self, asker: Asker<'_>, metric: &Metric, when: When) -> Measurement {
        self.inner.ask(asker, metric, when).await
    }

    /// The current time of the cluster, by which values are fresh or stale.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }
}

impl Inner {
    async fn ask(self: &Arc<Self>, asker: Asker<'_>, metric: &Metric, when: When) -> Measurement {
        let without = |why: Why| Measurement {
            answer: why.into(),
            at: when.at,
            sent_by: None,
        };
        let resource = match metric.described() {
            None => None,
            Some(described) => match self.resource(asker, described, when).await {
                Ok(resource) => Some(resource),
                Err(why) => return without(why),
            },
        };
        let requests = if metric.needs_requests() {
            match self
                .get(asker, CORE, pods_path(asker.namespace, asker.pods), when)
                .await
                .body
            {
                Ok(pods) => Requests::of(&pods),
                Err(why) => return without(why),
            }
        } else {
            Requests::default()
        };
        let path = metric.path(asker.namespace, asker.pods, resource.as_deref());
        let Document { body, at, sent_by } = self.get(asker, metric.api().group(), path, when).await;
        let answer = match body {
            Ok(body) => metric.read(&body, &requests),
            Err(why) => why.into(),
        };
        Measurement { answer, at, sent_by }
    }

    /// The resource of a described object. Failures are not remembered.
    async fn resource(self: &Arc<Self>, asker: Asker<'_>, described: &Described, when: When) -> Result<String, Why> {
        let key = (described.api_version.clone(), described.kind.clone());
        let known = {
            let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
            kinds.get(&key, KnownKind::default)
        };
        let remembered = || {
            known
                .as_ref()
                .map(|known| known.lock().unwrap_or_else(PoisonError::into_inner))
        };
        if let Some((until, resource)) = remembered().as_deref().and_then(Option::as_ref)
            && Instant::now() < *until
        {
            return Ok(resource.clone());
        }
        let document = self.get(asker, CORE, kind_path(described), when).await;
        let list = document.body.map_err(|why| match why {
            Why::Missing(_) => Why::Unanswered(format!(
                "the API server does not serve {}, the apiVersion of describedObject",
                described.api_version
            )),
            why => why,
        })?;
        let resource = resource_of_kind(described, &list).map_err(Why::Rejected)?;
        if let Some(mut remembered) = remembered() {
            *remembered = Some((Instant::now() + KEEP_KINDS, resource.clone()));
        }
        Ok(resource)
    }

    /// Sends a request to one of the APIs, or takes the answer to the same request of somebody else.
    async fn get(self: &Arc<Self>, asker: Asker<'_>, server: &str, path: String, when: When) -> Document {
        let query = Query {
            account: Arc::new(Account {
                url: server.to_owned(),
                login: None,
            }),
            namespace: Arc::from(asker.namespace),
            text: Arc::from(path),
            when,
            shape: None,
        };
        match self.pool.turn(&query).await {
            Assignment::Done(document) => document,
            Assignment::Lead(batch) => self.lead(&batch, server, &query.text, asker.parent).await,
        }
    }

    async fn lead(&self, batch: &Batch<Document>, server: &str, path: &str, parent: Option<TraceParent>) -> Document {
        const ALL: Range<usize> = 0..1;
        let since = Instant::now();
        let fetched = self.fetch(server, path, batch).await;
        let failed = fetched.as_ref().err();
        self.pool.asked(failed.map_or("ok", Failed::result), since.elapsed());
        batch.record(ALL, failed.and_then(|failed| Some((failed.fault?, failed.why.text()))));
        let document = Document {
            body: fetched.map(Arc::new).map_err(|failed| failed.why),
            at: batch.time,
            sent_by: parent,
        };
        batch.answer(ALL.start, &document);
        document
    }
}
