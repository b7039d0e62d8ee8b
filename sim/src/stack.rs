//! The parts of a cluster, connected: the demo, the simulation and the behaviour suite all start with these.

use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use crate::{
    cluster::{Cluster, Options},
    controllers::{self, Behaviour},
    failure::Failure,
    gateway::Gateway,
    prometheus::{Prometheus, Refused},
    server::Server,
};

/// A cluster, the server of its API, its gateway, and a Prometheus with the cluster's time. Clones share the same state.
#[derive(Clone)]
pub struct Stack {
    /// The state of the cluster.
    pub cluster: Cluster,
    /// The server of its API.
    pub server: Server,
    /// The Prometheus, without any series.
    pub prometheus: Prometheus,
    /// The gateway, without any kind of route.
    pub gateway: Gateway,
}

impl Stack {
    /// A cluster without objects, in which no controller runs yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let cluster = Cluster::new(options);
        Self {
            server: Server::new(cluster.clone()),
            prometheus: Prometheus::new(),
            gateway: Gateway::new(&cluster),
            cluster,
        }
    }

    /// Installs CRDs.
    ///
    /// # Errors
    ///
    /// Returns the API server's refusal.
    pub fn install(&self, crds: &[CustomResourceDefinition]) -> Result<(), Failure> {
        for crd in crds {
            self.cluster.create("system:admin", crd)?;
        }
        Ok(())
    }

    /// Runs the cluster's controllers until the future is dropped.
    pub fn run(&self, behaviour: Behaviour) -> impl Future<Output = ()> + Send + use<> {
        controllers::run(self.cluster.clone(), self.gateway.clone(), behaviour)
    }

    /// The current time, which is also the evaluation time of queries without one.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.cluster.now()
    }

    /// Answers a query that a client sends to the Prometheus of this cluster, or to one [beside](Prometheus::beside) it.
    ///
    /// # Errors
    ///
    /// Fails if the Prometheus refuses connections.
    pub async fn query(
        &self,
        prometheus: &Prometheus,
        request: &http::Request<Vec<u8>>,
    ) -> Result<http::Response<Vec<u8>>, Refused> {
        let form = String::from_utf8_lossy(request.body());
        let reply = prometheus.answer(request.uri().path(), &form, self.now()).await?;
        Ok(reply.response(prometheus.shows(self.now())))
    }
}
