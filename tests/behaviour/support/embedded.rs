//! The embedded cluster, in a thread of its own for as long as the process lives.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::mpsc,
    time::Duration,
};

use kanary_sim::{
    cluster::{Cluster, Options},
    controllers::{self, Behaviour},
    prometheus::{self, Prometheus},
    server::{Listener, Server},
};

use super::audit;

/// A cluster that was started in this process.
pub(crate) struct Embedded {
    pub(crate) server: Server,
    pub(crate) prometheus: Prometheus,
    pub(crate) prometheus_url: String,
    address: SocketAddr,
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Embedded {
    /// Starts it.
    pub(crate) fn start() -> Self {
        let (started, ready) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build();
            runtime.expect("a runtime can be made").block_on(serve(&started));
        });
        ready.recv().expect("the embedded cluster starts")
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

async fn serve(started: &mpsc::Sender<Embedded>) {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let options = Options {
        start: jiff::Timestamp::now(),
        seed: fastrand::u64(..),
        ..Options::default()
    };
    let cluster = Cluster::new(options);
    let (server, prometheus) = (Server::new(cluster.clone()), Prometheus::new());
    let listener = Listener::bind(any).await.expect("there is a free port");
    let metrics = tokio::net::TcpListener::bind(any).await.expect("there is a free port");
    let metrics_address = metrics.local_addr().expect("the listener is bound");
    let embedded = Embedded {
        server: server.clone(),
        prometheus: prometheus.clone(),
        prometheus_url: format!("http://{metrics_address}"),
        address: listener.address(),
    };
    started.send(embedded).expect("somebody waits for it");
    let clock = cluster.clock();
    // As the real control plane is set (hack/plane).
    let behaviour = Behaviour::default().with_autoscaler_period(Duration::from_secs(2));
    tokio::join!(
        controllers::run(cluster, behaviour),
        prometheus::serve(metrics, prometheus, move || clock.now()),
        async move {
            let ended = listener.serve(server, &["kubernetes-admin", audit::USER]).await;
            ended.expect("the API server serves");
        },
    );
}
