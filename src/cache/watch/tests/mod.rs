//! Watches of the embedded cluster, in virtual time, behind a network that fails.

mod following;
mod missing;
mod sharing;

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use http::{Request, Response};
use k8s_openapi::api::core::v1::Service as KubeService;
use kanary_sim::{
    cluster::{Cluster, Options},
    network::{Line, Link, NetworkFaults},
    server::Server,
    write::DeleteOptions,
};
use kube::{
    Client,
    api::{Patch, PatchParams},
    client::Body,
};
use serde_json::{Value, json};
use tokio::{runtime::Builder, task::JoinHandle, time::sleep};
use tower::{Service, service_fn};

use super::*;

const MINUTE: Duration = Duration::from_mins(1);

/// How long a page may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// When what was asked for.
type Log = Arc<Mutex<Vec<(Instant, String)>>>;

/// A cluster, and what is known of it.
struct Rig {
    cluster: Cluster,
    server: Server,
    link: Link,
    sink: Sink,
    log: Log,
}

/// A watch that runs.
struct Running {
    heartbeat: Heartbeat,
    task: JoinHandle<()>,
}

impl Running {
    async fn drop(self) {
        self.task.abort();
        assert!(self.task.await.is_err());
    }
}

fn sink() -> Sink {
    Sink::new(Arc::default(), Arc::default(), Arc::default())
}

fn run<T>(test: impl AsyncFnOnce(Rig) -> T) -> T {
    fastrand::seed(7);
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async {
        // Few changes are remembered, so that only bookmarks keep a watch up to date.
        let options = Options {
            history: 20,
            ..Options::default()
        };
        let cluster = Cluster::new(options);
        let server = Server::new(cluster.clone());
        let rig = Rig {
            link: Link::new(server.connect("kanary"), 1),
            sink: sink(),
            log: Log::default(),
            cluster,
            server,
        };
        test(rig).await
    })
}

fn service(name: &str, shard: &str) -> KubeService {
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "default", "labels": {"shard": shard}},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80}]},
    }))
    .unwrap()
}

/// What is asked of an API server that answers as it is told.
fn scripted(log: &Log, answer: impl Fn(bool) -> (u16, Value) + Send + 'static) -> Client {
    let log = log.clone();
    let service = service_fn(move |request: Request<Body>| {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let (code, body) = answer(query.contains("watch=true"));
        log.lock().unwrap().push((Instant::now(), query));
        async move {
            sleep(Duration::from_millis(3)).await;
            let body = if body.is_null() {
                String::new()
            } else {
                format!("{body}\n")
            };
            let reply = Response::builder().status(code);
            reply.body(Body::from(body.into_bytes()))
        }
    });
    Client::new(service, "default")
}

fn asked(log: &Log, watch: bool) -> Vec<Instant> {
    let log = log.lock().unwrap();
    let asked = log.iter().filter(|(_, query)| query.contains("watch=true") == watch);
    asked.map(|(at, _)| *at).collect()
}

fn known(sink: &Sink) -> Vec<String> {
    let places = KubeService::places(&sink.cache);
    places.into_iter().map(|((_, name), _)| name).collect()
}

/// A watch that feeds a part of its own.
fn watch(sink: &Sink, selector: Option<&str>, heartbeat: &Heartbeat) -> Watch {
    Watch {
        route: Route::one(sink),
        selector: selector.map(str::to_owned),
        sink: sink.clone(),
        heartbeat: heartbeat.clone(),
    }
}

fn follow(client: Client, selector: Option<&str>, sink: &Sink) -> Running {
    let heartbeat = Heartbeat::default();
    let api: Api<KubeService> = Api::all(client);
    let task = tokio::spawn(objects(api, watch(sink, selector, &heartbeat)));
    Running { heartbeat, task }
}

impl Rig {
    /// Starts a watch of Services behind `link`.
    fn start_behind(&self, link: &Link, selector: Option<&str>) -> Running {
        let (log, link) = (self.log.clone(), link.clone());
        let noting = service_fn(move |request: Request<Body>| {
            let query = request.uri().query().unwrap_or_default().to_owned();
            log.lock().unwrap().push((Instant::now(), query));
            link.clone().call(request)
        });
        follow(Client::new(noting, "default"), selector, &self.sink)
    }

    fn start(&self) -> Running {
        self.start_behind(&self.link, None)
    }

    fn create(&self, name: &str, shard: &str) {
        self.cluster.create("user", &service(name, shard)).unwrap();
    }

    async fn label(&self, name: &str, shard: &str) {
        let api: Api<KubeService> = Api::namespaced(self.server.client("user"), "default");
        let patch = Patch::Merge(json!({"metadata": {"labels": {"shard": shard}}}));
        api.patch(name, &PatchParams::default(), &patch).await.unwrap();
    }

    fn delete(&self, name: &str) {
        let place = ("default".to_owned(), name.to_owned());
        self.cluster
            .delete("user", "services", &place, &DeleteOptions::default())
            .unwrap();
    }

    /// Nothing gets through for a minute, and changes are forgotten meanwhile.
    async fn outage(&self, change: impl AsyncFnOnce()) {
        self.link.set_line(Line::Refusing);
        sleep(MINUTE).await;
        change().await;
        sleep(Duration::from_secs(1)).await;
        self.cluster.compact();
        self.link.set_line(Line::Up);
        sleep(MINUTE).await;
    }

    /// What is in the cache.
    fn known(&self) -> Vec<String> {
        known(&self.sink)
    }

    /// When lists were asked for, page by page.
    fn lists(&self) -> Vec<Instant> {
        asked(&self.log, false)
    }

    /// When watches were asked for.
    fn watches(&self) -> Vec<Instant> {
        asked(&self.log, true)
    }
}

/// A page of a list.
fn list(names: &[&str], next: &str) -> Value {
    let items = names.iter().map(|name| {
        let mut service = serde_json::to_value(service(name, "a")).unwrap();
        service["metadata"]["resourceVersion"] = json!("8");
        service
    });
    json!({"metadata": {"resourceVersion": "9", "continue": next}, "items": items.collect::<Vec<_>>()})
}

/// A version is no longer known.
fn gone() -> Value {
    json!({"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old"})
}
