//! A cluster in virtual time with the real controller.

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kanary::{
    cluster::{
        client::learning,
        clock::{Clock, Monotonic},
    },
    controller::{self, Options},
    places::{self, CanaryLimits},
    prometheus::{Local, Transport},
    reconcile::turn::Decide,
    shard::{Sharding, leader::Election},
};
use kanary_core::{
    api::{KanaryKind, Layout, WorkloadKind},
    decide,
};
use kanary_sim::{
    cluster,
    controllers::{Behaviour, Fate},
    network::{Interceptor, Line, Link, NetworkFaults},
    prometheus::Prometheus,
    stack::Stack,
};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    client::Body,
};
use serde_json::Value;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tower::{BoxError, service_fn, util::MapRequest};

use crate::{
    heard::{Heard, Hears},
    resources::{api, resource, resource_of},
};

/// The kinds that every replica serves.
pub(crate) fn served() -> (BTreeSet<KanaryKind>, BTreeSet<WorkloadKind>) {
    (
        BTreeSet::from(KanaryKind::ALWAYS),
        BTreeSet::from([WorkloadKind::Deployment]),
    )
}

/// The namespace for all objects.
pub(crate) const NAMESPACE: &str = "shop";

/// Number of Prometheus servers with moods, in addition to the healthy one.
pub(crate) const MOODY: usize = 4;

/// The CRDs. Generating them takes longer than many a run.
static CRDS: LazyLock<Vec<CustomResourceDefinition>> = LazyLock::new(|| kanary_core::api::crds(&KanaryKind::ALL));

/// Images whose pods no longer become ready.
pub(crate) type Spoiled = Arc<Mutex<BTreeSet<String>>>;

/// When a replica sent the request that the API server is processing.
pub(crate) type Sent = Arc<Mutex<Option<Timestamp>>>;

/// Header extension with the time a request was sent.
#[derive(Clone, Copy)]
struct SentAt(Timestamp);

/// A cluster with its controllers and a Prometheus server.
pub(crate) struct World {
    pub(crate) stack: Stack,
    /// Further servers with the same series, each with its own mood: `moody0`, `moody1`, …
    pub(crate) moody: Vec<Prometheus>,
    pub(crate) spoiled: Spoiled,
    pub(crate) user: Client,
    /// Number of shards of sharing replicas.
    pub(crate) shards: u16,
    /// Limits of the replicas on canaries, if any.
    pub(crate) limits: Option<CanaryLimits>,
    /// The kinds of Kanaries and of targets that replicas serve.
    pub(crate) kinds: (BTreeSet<KanaryKind>, BTreeSet<WorkloadKind>),
    /// Whether replicas may create ScaledObjects.
    pub(crate) keda: bool,
    /// How long replicas let proxies follow a route, if they may change routes.
    pub(crate) routes: Option<Duration>,
    /// For hooks that check changes.
    pub(crate) sent: Sent,
    /// Recorded requests.
    pub(crate) heard: Heard,
    controllers: JoinHandle<()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.controllers.abort();
    }
}

/// The fate of a pod, by its image.
fn fate(image: &str, spoiled: &Spoiled) -> Option<Fate> {
    if spoiled.lock().unwrap().contains(image) || image.ends_with("-never-ready") {
        return Some(Fate::NeverReady);
    }
    image.ends_with("-crash").then_some(Fate::Crash)
}

impl World {
    /// Starts a cluster with the CRDs and a namespace. `look` is called for every change.
    pub(crate) fn start(seed: u64, look: cluster::Hook) -> Self {
        let options = cluster::Options {
            start: "2026-11-22T12:00:00Z".parse().unwrap(),
            seed,
            ..cluster::Options::default()
        };
        let stack = Stack::new(options);
        stack.cluster.on_change(look);
        stack.install(&CRDS).unwrap();
        let mut namespace = k8s_openapi::api::core::v1::Namespace::default();
        namespace.metadata.name = Some(NAMESPACE.to_owned());
        stack.cluster.create("system:admin", &namespace).unwrap();
        let spoiled = Spoiled::default();
        let told = spoiled.clone();
        let mut behaviour = Behaviour::default().image(move |image| fate(image, &told));
        behaviour.start = Duration::from_millis(50)..=Duration::from_secs(4);
        Self {
            controllers: tokio::spawn(stack.run(behaviour)),
            user: stack.server.client("user"),
            moody: (0..MOODY).map(|_| stack.prometheus.beside()).collect(),
            spoiled,
            shards: SHARDS,
            limits: None,
            kinds: served(),
            keda: false,
            routes: None,
            sent: Sent::default(),
            heard: Heard::default(),
            stack,
        }
    }

    /// The time since the start.
    pub(crate) fn now(&self) -> Timestamp {
        self.stack.cluster.now()
    }

    /// The user's API for objects of a kind.
    pub(crate) fn api(&self, kind: &str) -> Api<DynamicObject> {
        api(self.user.clone(), &resource(kind))
    }

    /// Creates an object as the user.
    pub(crate) async fn create(&self, manifest: &Value) {
        let object: DynamicObject = serde_json::from_value(manifest.clone()).unwrap();
        let api = api(self.user.clone(), &resource_of(manifest));
        let created = api.create(&PostParams::default(), &object).await;
        created.unwrap_or_else(|error| panic!("{error}: {manifest}"));
    }

    /// Patches an object as the user. Returns whether it exists.
    pub(crate) async fn patch(&self, kind: &str, name: &str, patch: &Value) -> bool {
        let api = self.api(kind);
        match api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(_) => true,
            Err(kube::Error::Api(status)) if status.code == 404 => false,
            Err(error) => panic!("{error}: {kind} {name} {patch}"),
        }
    }

    /// Deletes an object as the user.
    pub(crate) async fn delete(&self, kind: &str, name: &str) {
        self.api(kind).delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// A replica's link to the API server. Its requests contain the time they were sent.
    fn link(&self, name: &str, seed: u64, interceptor: Option<Interceptor>) -> Link {
        let (link, sent) = (Link::new(self.stack.server.connect(name), seed), self.sent.clone());
        let (heard, cluster, actor) = (self.heard.clone(), self.stack.cluster.clone(), name.to_owned());
        link.set_interceptor(Arc::new(move |head: &http::request::Parts, body| {
            let sent_at = head.extensions.get::<SentAt>().map(|at| at.0);
            *sent.lock().unwrap() = sent_at;
            heard.note_request(&actor, head, sent_at, cluster.now());
            match &interceptor {
                Some(interceptor) => interceptor(head, body),
                None => vec![body],
            }
        }));
        link
    }

    /// A replica's client over that link.
    fn client(&self, link: &Link, clock: &Clock) -> Client {
        let cluster = self.stack.cluster.clone();
        let stamped = MapRequest::new(link.clone(), move |mut request: http::Request<Body>| {
            request.extensions_mut().insert(SentAt(cluster.now()));
            request
        });
        Client::new(learning(stamped, clock.clone()), "default")
    }

    /// The transport for queries to Prometheus. The host determines whether the server is healthy, dead, moody, or
    /// another server.
    pub(crate) fn transport(&self) -> Transport {
        let (stack, moody) = (self.stack.clone(), self.moody.clone());
        Transport::Local(Local::new(service_fn(move |request: http::Request<Vec<u8>>| {
            let host = request.uri().host().unwrap_or_default().to_owned();
            let number = host
                .strip_prefix("moody")
                .and_then(|number| number.parse::<usize>().ok());
            let prometheus = number.and_then(|number| moody.get(number)).unwrap_or(&stack.prometheus);
            let (prometheus, stack) = (prometheus.clone(), stack.clone());
            async move {
                sleep(Duration::from_millis(3)).await;
                match host.as_str() {
                    "dead" => return Err(BoxError::from("connection refused")),
                    "html" => return Ok(http::Response::new(b"<html>Log in".to_vec())),
                    _ => {}
                }
                Ok(stack.query(&prometheus, &request).await?)
            }
        })))
    }
}

/// How a mutant differs from the released controller.
#[derive(Clone)]
pub(crate) struct Wrong {
    pub(crate) decide: Decide,
    pub(crate) interceptor: Option<Interceptor>,
    /// Changes the answers of Prometheus.
    pub(crate) hears: Option<Hears>,
}

impl Default for Wrong {
    fn default() -> Self {
        Self {
            decide,
            interceptor: None,
            hears: None,
        }
    }
}

/// How a replica shares the work with others.
#[derive(Clone)]
pub(crate) struct Sharing {
    /// Its identity. The next process with this identity takes over its session.
    pub(crate) identity: String,
    pub(crate) template: String,
    pub(crate) ttl: Duration,
    /// Speed of its monotonic clock.
    pub(crate) rate: f64,
    /// A bug: its monotonic clock stops at this time.
    pub(crate) stops: Option<Duration>,
    /// Whether calls for Leases have a separate connection, which may be cut.
    pub(crate) apart: bool,
    /// Whether it is told to lead.
    pub(crate) leads: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// Number of shards in a simulation: just enough to tell them apart.
pub(crate) const SHARDS: u16 = 8;

impl Sharing {
    /// The default: its clock is accurate, and it leads if it may.
    pub(crate) fn of(identity: &str) -> Self {
        Self {
            identity: identity.to_owned(),
            template: String::new(),
            ttl: Duration::from_secs(15),
            rate: 1.0,
            stops: None,
            apart: false,
            leads: Arc::new(|| true),
        }
    }

    fn sharding(&self, client: Client, shards: u16) -> Sharding {
        let (start, rate) = (Instant::now(), self.rate);
        let stops = self.stops.unwrap_or(Duration::MAX);
        Sharding {
            client,
            namespace: NAMESPACE.to_owned(),
            identity: self.identity.clone(),
            template: self.template.clone(),
            ttl: self.ttl,
            time: Monotonic::from_source(move || Duration::from_secs(100) + start.elapsed().min(stops).mul_f64(rate)),
            shards: Layout::new(shards).unwrap(),
            election: Election::Told(self.leads.clone()),
        }
    }
}

/// A controller process.
pub(crate) struct Replica {
    pub(crate) link: Link,
    /// Separate connection for Leases, if any.
    leases: Option<Link>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Replica {
    /// Starts a replica whose clock is wrong by `skew`.
    pub(crate) fn start(
        world: &World,
        name: &str,
        seed: u64,
        skew: SignedDuration,
        wrong: &Wrong,
        sharing: Option<&Sharing>,
    ) -> Self {
        let link = world.link(name, seed, wrong.interceptor.clone());
        let apart = sharing.is_some_and(|sharing| sharing.apart);
        let leases = apart.then(|| world.link(name, !seed, wrong.interceptor.clone()));
        let cluster = world.stack.cluster.clone();
        let clock = Clock::from_source(move || cluster.now() + skew);
        let client = world.client(&link, &clock);
        let of_leases = leases.as_ref().map(|leases| world.client(leases, &clock));
        let of_leases = of_leases.unwrap_or_else(|| client.clone());
        let options = Options {
            clock,
            instance: name.to_owned(),
            prometheus: world
                .heard
                .listen(name, &world.stack.cluster, world.transport(), wrong.hears.clone()),
            decide: wrong.decide,
            places: world
                .limits
                .map(|limits| places::PlaceOptions::new(limits, NAMESPACE.to_owned())),
            sharding: sharing.map(|sharing| sharing.sharding(of_leases, world.shards)),
            kinds: world.kinds.0.iter().copied().collect(),
            target_kinds: world.kinds.1.clone(),
            routes: world.routes,
            keda: world.keda,
            metrics_apis: true,
            ..Options::default()
        };
        let stop = CancellationToken::new();
        let running = controller::run(client, options, stop.clone());
        let task = tokio::spawn(async move {
            // The controller ends by itself only because of a bug.
            drop(running.await);
        });
        Self {
            link,
            leases,
            stop,
            task,
        }
    }

    /// Sets the network faults of its requests.
    pub(crate) fn set_network(&self, network_faults: &NetworkFaults) {
        for link in [&self.link].into_iter().chain(&self.leases) {
            link.set_network(network_faults.clone());
        }
    }

    /// Sets the state of its connection.
    pub(crate) fn set_line(&self, line: Line) {
        self.link.set_line(line);
        self.set_line_of_leases(line);
    }

    /// Sets the state of its separate connection for Leases, if it has one.
    pub(crate) fn set_line_of_leases(&self, line: Line) {
        if let Some(leases) = &self.leases {
            leases.set_line(line);
        }
    }

    /// Whether it ended by itself.
    pub(crate) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Ends it like `kill -9`: requests in flight stay in flight.
    pub(crate) async fn kill(self) {
        self.set_line(Line::Frozen);
        self.task.abort();
        let _aborted = self.task.await;
    }

    /// Ends it like SIGTERM.
    pub(crate) async fn terminate(self) {
        self.stop.cancel();
        let _ended = self.task.await;
    }
}
