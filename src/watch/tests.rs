//! Watches of the embedded cluster, in virtual time, behind a network that fails.

use std::{future::Future, sync::Mutex, time::Duration};

use http::{Request, Response};
use k8s_openapi::api::core::v1::Service as KubeService;
use kanary_sim::{
    cluster::{Cluster, Options},
    network::{Faults, Line, Link, Weather},
    server::Server,
    write::DeleteOptions,
};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::{
    runtime::Builder,
    task::{JoinHandle, yield_now},
    time::{Instant, sleep},
};
use tower::{BoxError, Service, service_fn};

use super::*;

const MINUTE: Duration = Duration::from_mins(1);

/// When what was asked for.
type Log = Arc<Mutex<Vec<(Duration, String)>>>;

/// A cluster, and what is known of it.
struct Rig {
    cluster: Cluster,
    server: Server,
    link: Link,
    sink: Sink,
    log: Log,
    start: Instant,
}

/// A watch that runs.
struct Running {
    pulse: Pulse,
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
            history: 5,
            ..Options::default()
        };
        let cluster = Cluster::new(options);
        let server = Server::new(cluster.clone());
        let rig = Rig {
            link: Link::new(server.connect("kanary"), 1),
            sink: sink(),
            log: Log::default(),
            start: Instant::now(),
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

/// A client that notes what it asks for.
fn noting<S, B>(log: &Log, start: Instant, service: S) -> Client
where
    S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>, Future: Send + 'static>
        + Clone
        + Send
        + 'static,
    B: http_body::Body<Data = bytes::Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let log = log.clone();
    let noting = service_fn(move |request: Request<Body>| {
        let query = request.uri().query().unwrap_or_default().to_owned();
        log.lock().unwrap().push((start.elapsed(), query));
        service.clone().call(request)
    });
    Client::new(noting, "default")
}

impl Rig {
    /// Starts a watch of Services behind `link`.
    fn start_behind(&self, link: &Link, selector: Option<&str>) -> Running {
        let client = noting(&self.log, self.start, link.clone());
        follow(client, selector, &self.sink)
    }

    fn start(&self) -> Running {
        self.start_behind(&self.link, None)
    }

    fn create(&self, name: &str, shard: &str) {
        self.cluster.create("user", &service(name, shard)).unwrap();
    }

    fn label(&self, name: &str, shard: &str) {
        let mut service: KubeService = self.cluster.get("default", name).unwrap();
        service.metadata.labels = Some([("shard".to_owned(), shard.to_owned())].into());
        self.cluster.update("user", &service).unwrap();
    }

    fn delete(&self, name: &str) {
        let place = ("default", name).into();
        self.cluster
            .delete("user", "services", &place, &DeleteOptions::default())
            .unwrap();
    }

    /// Nothing gets through for a minute, and changes are forgotten meanwhile.
    async fn outage(&self, change: impl FnOnce()) {
        self.link.set_line(Line::Refusing);
        sleep(MINUTE).await;
        change();
        self.cluster.compact();
        self.link.set_line(Line::Up);
        sleep(MINUTE).await;
    }

    /// What is in the cache.
    fn known(&self) -> Vec<String> {
        let places = KubeService::places(&self.sink.cache);
        places.into_iter().map(|((_, name), _)| name).collect()
    }

    /// When lists were asked for, page by page.
    fn lists(&self) -> Vec<Duration> {
        self.asked(false)
    }

    /// When watches were asked for.
    fn watches(&self) -> Vec<Duration> {
        self.asked(true)
    }

    fn asked(&self, watch: bool) -> Vec<Duration> {
        let log = self.log.lock().unwrap();
        let asked = log.iter().filter(|(_, query)| query.contains("watch=true") == watch);
        asked.map(|(at, _)| *at).collect()
    }
}

fn follow(client: Client, selector: Option<&str>, sink: &Sink) -> Running {
    let pulse = Pulse::default();
    let api: Api<KubeService> = Api::all(client);
    let selector = selector.map(str::to_owned);
    let task = tokio::spawn(objects(api, selector, sink.clone(), pulse.clone()));
    Running { pulse, task }
}
