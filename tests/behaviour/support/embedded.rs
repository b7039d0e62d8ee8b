//! The embedded cluster, which runs in a thread of its own until the process ends.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Mutex, mpsc},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use kanary_sim::{
    cluster::Options,
    controllers::Behaviour,
    gateway::Gateway,
    prometheus::{self, Prometheus},
    server::{Listener, Server},
    stack::Stack,
};

use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
};

use super::audit;

/// A free port on loopback.
const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A cluster in this process.
pub(crate) struct Embedded {
    pub(crate) server: Server,
    pub(crate) prometheus: Prometheus,
    pub(crate) gateway: Gateway,
    pub(crate) prometheus_url: String,
    address: SocketAddr,
    /// The runtime that serves the API. Dropping it closes every connection.
    api: Mutex<Option<Runtime>>,
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Embedded {
    /// Starts a cluster.
    pub(crate) fn start() -> Self {
        let stack = stack();
        let routes = stack.gateway.install_gateway_api();
        routes
            .and_then(|()| stack.gateway.install_istio())
            .expect("the kinds of routes can be installed");
        let (bound, metrics) = mpsc::channel();
        let running = stack.clone();
        std::thread::spawn(move || runtime().block_on(run(running, &bound)));
        let metrics = metrics.recv().expect("the embedded cluster starts");
        let (api, address) = serve(stack.server.clone(), ANY);
        Self {
            server: stack.server,
            prometheus: stack.prometheus,
            gateway: stack.gateway,
            prometheus_url: format!("http://{metrics}"),
            address,
            api: Mutex::new(Some(api)),
        }
    }

    /// Closes all connections to the API and accepts no more.
    pub(crate) fn kill_api_server(&self) {
        let api = self.api.lock().unwrap().take();
        api.expect("it runs").shutdown_background();
    }

    /// Serves the API again.
    pub(crate) fn revive_api_server(&self) {
        let (api, _) = serve(self.server.clone(), self.address);
        *self.api.lock().unwrap() = Some(api);
    }

    /// A kubeconfig for a user.
    pub(crate) fn kubeconfig(&self, file: &str, user: &str) -> PathBuf {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(std::process::id().to_string());
        std::fs::create_dir_all(&folder).expect("the folder for temporary files can be written");
        let path = folder.join(file);
        std::fs::write(&path, kanary_sim::server::kubeconfig(self.address, user)).expect("a file can be written");
        path
    }
}

/// An empty cluster with the time of this machine.
fn stack() -> Stack {
    loop {
        let stack = Stack::new(Options {
            start: Timestamp::now(),
            seed: fastrand::u64(..),
            ..Options::default()
        });
        // If this thread was delayed before the clock started, the clock would stay behind.
        let shown = stack.now();
        if Timestamp::now().duration_since(shown) <= SignedDuration::from_millis(1) {
            return stack;
        }
    }
}

fn runtime() -> Runtime {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime can be created")
}

/// Serves the API in a runtime of its own and returns the address.
fn serve(server: Server, address: SocketAddr) -> (Runtime, SocketAddr) {
    let runtime = runtime();
    let (bound, listens) = mpsc::channel();
    runtime.spawn(async move {
        let listener = Listener::bind(address).await.expect("there is a free port");
        bound.send(listener.address()).expect("the receiver waits for it");
        let ended = listener.serve(server, &["kubernetes-admin", audit::USER]).await;
        ended.expect("the API server serves");
    });
    let address = listens.recv().expect("the API server starts");
    (runtime, address)
}

/// Runs the cluster's components except for the API server.
async fn run(stack: Stack, bound: &mpsc::Sender<SocketAddr>) {
    let metrics = TcpListener::bind(ANY).await.expect("there is a free port");
    let address = metrics.local_addr().expect("the listener is bound");
    bound.send(address).expect("the receiver waits for it");
    // The setting of the real control plane (hack/plane).
    let behaviour = Behaviour::default().with_autoscaler_period(Duration::from_secs(2));
    tokio::join!(
        stack.run(behaviour),
        prometheus::serve(metrics, stack.prometheus.clone(), move || stack.now()),
    );
}
