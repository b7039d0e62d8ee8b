//! A cluster in virtual time, with the real controller on it.

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
    prometheus::{Local, Transport},
    reconcile::turn::Decide,
    shard::{Sharding, leader::Election},
};
use kanary_core::{api::Layout, decide};
use kanary_sim::{
    cluster::{self, Cluster},
    controllers::{self, Behaviour, Fate},
    network::{Interceptor, Line, Link, NetworkFaults},
    prometheus::Prometheus,
    server::Server,
};
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    client::Body,
};
use serde_json::Value;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tower::{BoxError, service_fn, util::MapRequest};

use crate::heard::{Heard, Hears};

/// Where everything happens.
pub(crate) const NAMESPACE: &str = "shop";

/// Servers of metrics beside the one that is always well.
pub(crate) const MOODY: usize = 4;

/// The kinds, which take longer to make than many a seed.
static CRDS: LazyLock<Vec<CustomResourceDefinition>> = LazyLock::new(kanary_core::api::crds);

/// Images whose pods never become ready any more.
pub(crate) type Spoiled = Arc<Mutex<BTreeSet<String>>>;

/// When a replica sent what the API server carries out at this moment.
pub(crate) type Sent = Arc<Mutex<Option<Timestamp>>>;

/// What a request carries of that.
#[derive(Clone, Copy)]
struct SentAt(Timestamp);

/// A cluster with its controllers and a Prometheus.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) server: Server,
    pub(crate) prometheus: Prometheus,
    /// Others with the same series, each with moods of its own: `moody0`, `moody1`, …
    pub(crate) moody: Vec<Prometheus>,
    pub(crate) spoiled: Spoiled,
    pub(crate) user: Client,
    /// Parts that sharing replicas divide the Kanaries into.
    pub(crate) shards: u16,
    /// For whoever looks at changes.
    pub(crate) sent: Sent,
    /// The same, of what is asked.
    pub(crate) heard: Heard,
    controllers: JoinHandle<()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.controllers.abort();
    }
}

/// What becomes of a pod, by its image.
fn fate(image: &str, spoiled: &Spoiled) -> Option<Fate> {
    if spoiled.lock().unwrap().contains(image) || image.ends_with("-never-ready") {
        return Some(Fate::NeverReady);
    }
    image.ends_with("-crash").then_some(Fate::Crash)
}

impl World {
    /// Starts a cluster that has the kinds and a namespace. `look` is told of every change.
    pub(crate) fn start(seed: u64, look: cluster::Hook) -> Self {
        let options = cluster::Options {
            start: "2026-11-22T12:00:00Z".parse().unwrap(),
            seed,
            ..cluster::Options::default()
        };
        let cluster = Cluster::new(options);
        cluster.on_change(look);
        for crd in &*CRDS {
            cluster.create("system:admin", crd).unwrap();
        }
        let mut namespace = k8s_openapi::api::core::v1::Namespace::default();
        namespace.metadata.name = Some(NAMESPACE.to_owned());
        cluster.create("system:admin", &namespace).unwrap();
        let spoiled = Spoiled::default();
        let told = spoiled.clone();
        let mut behaviour = Behaviour::default().image(move |image| fate(image, &told));
        behaviour.start = Duration::from_millis(50)..=Duration::from_secs(4);
        let server = Server::new(cluster.clone());
        let prometheus = Prometheus::new();
        Self {
            controllers: tokio::spawn(controllers::run(cluster.clone(), behaviour)),
            user: server.client("user"),
            moody: (0..MOODY).map(|_| prometheus.beside()).collect(),
            prometheus,
            spoiled,
            shards: SHARDS,
            sent: Sent::default(),
            heard: Heard::default(),
            server,
            cluster,
        }
    }

    /// The time that passed since the beginning.
    pub(crate) fn now(&self) -> Timestamp {
        self.cluster.now()
    }

    /// The user's way to objects of a kind.
    pub(crate) fn api(&self, kind: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.user.clone(), NAMESPACE, &resource(kind))
    }

    /// The user creates an object.
    pub(crate) async fn create(&self, manifest: &Value) {
        let object: DynamicObject = serde_json::from_value(manifest.clone()).unwrap();
        let kind = manifest["kind"].as_str().unwrap();
        let created = self.api(kind).create(&PostParams::default(), &object).await;
        created.unwrap_or_else(|error| panic!("{error}: {manifest}"));
    }

    /// The user patches an object. Whether it was there.
    pub(crate) async fn patch(&self, kind: &str, name: &str, patch: &Value) -> bool {
        let api = self.api(kind);
        match api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(_) => true,
            Err(kube::Error::Api(status)) if status.code == 404 => false,
            Err(error) => panic!("{error}: {kind} {name} {patch}"),
        }
    }

    /// The user deletes an object.
    pub(crate) async fn delete(&self, kind: &str, name: &str) {
        self.api(kind).delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// A replica's way to the API server. What is carried out says when it was sent.
    fn link(&self, name: &str, seed: u64, interceptor: Option<Interceptor>) -> Link {
        let (link, sent) = (Link::new(self.server.connect(name), seed), self.sent.clone());
        let (heard, cluster, actor) = (self.heard.clone(), self.cluster.clone(), name.to_owned());
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

    /// A replica's client at the end of that way.
    fn client(&self, link: &Link, clock: &Clock) -> Client {
        let cluster = self.cluster.clone();
        let stamped = MapRequest::new(link.clone(), move |mut request: http::Request<Body>| {
            request.extensions_mut().insert(SentAt(cluster.now()));
            request
        });
        Client::new(learning(stamped, clock.clone()), "default")
    }

    /// What carries queries to a Prometheus: by host, it is well, dead, moody, or somebody else.
    pub(crate) fn transport(&self) -> Transport {
        let (well, moody, cluster) = (self.prometheus.clone(), self.moody.clone(), self.cluster.clone());
        Transport::Local(Local::new(service_fn(move |request: http::Request<Vec<u8>>| {
            let host = request.uri().host().unwrap_or_default().to_owned();
            let number = host
                .strip_prefix("moody")
                .and_then(|number| number.parse::<usize>().ok());
            let prometheus = number.and_then(|number| moody.get(number)).unwrap_or(&well).clone();
            let cluster = cluster.clone();
            async move {
                sleep(Duration::from_millis(3)).await;
                match host.as_str() {
                    "dead" => return Err(BoxError::from("connection refused")),
                    "html" => return Ok(http::Response::new(b"<html>Log in".to_vec())),
                    _ => {}
                }
                let form = String::from_utf8_lossy(request.body()).into_owned();
                let reply = prometheus.answer(request.uri().path(), &form, cluster.now()).await?;
                let date = prometheus.shows(cluster.now()).strftime("%a, %d %b %Y %H:%M:%S GMT");
                let response = http::Response::builder().status(reply.status);
                let response = response.header("date", date.to_string());
                Ok(response
                    .header("content-type", reply.content_type)
                    .body(reply.body.to_vec())?)
            }
        })))
    }
}

/// The kinds that users write.
pub(crate) fn resource(kind: &str) -> ApiResource {
    let (group, version) = match kind {
        "Deployment" | "ReplicaSet" => ("apps", "v1"),
        "Pod" | "Service" | "ResourceQuota" => ("", "v1"),
        _ => ("kanary.k8s-operators.dev", "v1alpha1"),
    };
    let gvk = kube::core::GroupVersionKind::gvk(group, version, kind);
    ApiResource::from_gvk(&gvk)
}

/// How a replica differs from what is released.
#[derive(Clone)]
pub(crate) struct Wrong {
    pub(crate) decide: Decide,
    pub(crate) interceptor: Option<Interceptor>,
    /// What it makes of answers of Prometheus.
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
    /// Its name among them; whoever has it next takes up what it had.
    pub(crate) identity: String,
    pub(crate) template: String,
    pub(crate) ttl: Duration,
    /// How fast its monotonic clock runs.
    pub(crate) rate: f64,
    /// A bug: its monotonic clock stands still from then on.
    pub(crate) stops: Option<Duration>,
    /// Calls about Leases have a way of their own, which may be cut.
    pub(crate) apart: bool,
    /// Whether it is told to lead.
    pub(crate) leads: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// Shards of a simulation: as many as are needed to tell them apart.
pub(crate) const SHARDS: u16 = 8;

impl Sharing {
    /// As released: its clock runs as clocks do, and it leads if it may.
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
    /// The way of calls about Leases, if that is another.
    leases: Option<Link>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Replica {
    /// Starts one whose clock is wrong by `skew`.
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
        let cluster = world.cluster.clone();
        let clock = Clock::from_source(move || cluster.now() + skew);
        let client = world.client(&link, &clock);
        let of_leases = leases.as_ref().map(|leases| world.client(leases, &clock));
        let of_leases = of_leases.unwrap_or_else(|| client.clone());
        let options = Options {
            clock,
            instance: name.to_owned(),
            prometheus: world
                .heard
                .listen(name, &world.cluster, world.transport(), wrong.hears.clone()),
            decide: wrong.decide,
            sharding: sharing.map(|sharing| sharing.sharding(of_leases, world.shards)),
            ..Options::default()
        };
        let stop = CancellationToken::new();
        let running = controller::run(client, options, stop.clone());
        let task = tokio::spawn(async move {
            // Only what must never happen ends it by itself.
            drop(running.await);
        });
        Self {
            link,
            leases,
            stop,
            task,
        }
    }

    /// What becomes of its requests from now on.
    pub(crate) fn set_network(&self, network_faults: &NetworkFaults) {
        for link in [&self.link].into_iter().chain(&self.leases) {
            link.set_network(network_faults.clone());
        }
    }

    /// Whether any of its requests gets through from now on.
    pub(crate) fn set_line(&self, line: Line) {
        self.link.set_line(line);
        self.set_line_of_leases(line);
    }

    /// Whether calls about Leases get through, where they have a way of their own.
    pub(crate) fn set_line_of_leases(&self, line: Line) {
        if let Some(leases) = &self.leases {
            leases.set_line(line);
        }
    }

    /// Whether it ended by itself.
    pub(crate) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Ends it as `kill -9` does: what is on its way stays on its way.
    pub(crate) async fn kill(self) {
        self.set_line(Line::Frozen);
        self.task.abort();
        let _aborted = self.task.await;
    }

    /// Ends it as SIGTERM does.
    pub(crate) async fn terminate(self) {
        self.stop.cancel();
        let _ended = self.task.await;
    }
}
