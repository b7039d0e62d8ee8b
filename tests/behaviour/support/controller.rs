//! A controller within the test process. It has its own runtime, so that killing it ends all its tasks.

use std::{collections::BTreeSet, time::Duration};

use kanary::{
    cluster::clock::Clock,
    controller::{Options, run},
    places::{self, CanaryLimits},
    traces::{Collector, TraceOptions},
};
use kanary_core::api::{KanaryKind, WorkloadKind};
use kube::Client;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use super::{World, faults::Faults, interceptor::Webhook, plane::Plane};

/// A running controller.
#[derive(Debug)]
pub(crate) struct Controller {
    runtime: Option<Runtime>,
    stop: CancellationToken,
}

impl Controller {
    /// Starts a controller that serves only the namespace `namespace`.
    pub(crate) fn start(plane: &'static Plane, namespace: &str, faults: Option<Faults>) -> Self {
        Self::with(namespace, Options::default(), move |clock| async move {
            plane.kanary(clock, faults.as_ref()).await
        })
    }

    /// The same with a webhook between the controller and the API server.
    pub(crate) fn start_behind(plane: &'static Plane, namespace: &str, webhook: Webhook) -> Self {
        Self::with(namespace, Options::default(), move |clock| async move {
            plane.kanary_behind(clock, &webhook).await
        })
    }

    /// A controller that runs one canary at the same time.
    fn start_limited(plane: &'static Plane, namespace: &str) -> Self {
        let limits = CanaryLimits {
            total: Some(1),
            per_namespace: None,
        };
        let places = places::PlaceOptions {
            settle: Duration::ZERO,
            ..places::PlaceOptions::new(limits, namespace.to_owned())
        };
        let options = Options {
            places: Some(places),
            ..Options::default()
        };
        Self::with(namespace, options, move |clock| async move {
            plane.kanary(clock, None).await
        })
    }

    /// A controller that may change routes, and lets proxies follow for a second.
    fn start_routing(plane: &'static Plane, namespace: &str) -> Self {
        let options = Options {
            routes: Some(Duration::from_secs(1)),
            ..Options::default()
        };
        Self::with(namespace, options, move |clock| async move {
            plane.kanary(clock, None).await
        })
    }

    /// A controller for targets of all kinds that may ask the metrics APIs.
    fn start_with_metrics_apis(plane: &'static Plane, namespace: &str) -> Self {
        let options = Options {
            metrics_apis: true,
            target_kinds: BTreeSet::from(WorkloadKind::ALL),
            ..Options::default()
        };
        Self::with(namespace, options, move |clock| async move {
            plane.kanary(clock, None).await
        })
    }

    /// A controller that serves every kind, may change routes, and lets proxies follow for a second.
    fn start_of_apps(plane: &'static Plane, namespace: &str) -> Self {
        let options = Options {
            kinds: KanaryKind::ALL.to_vec(),
            routes: Some(Duration::from_secs(1)),
            ..Options::default()
        };
        Self::with(namespace, options, move |clock| async move {
            plane.kanary(clock, None).await
        })
    }

    /// A controller that serves every kind.
    fn start_of_all_kinds(plane: &'static Plane, namespace: &str) -> Self {
        let options = Options {
            kinds: KanaryKind::ALL.to_vec(),
            ..Options::default()
        };
        Self::with(namespace, options, move |clock| async move {
            plane.kanary(clock, None).await
        })
    }

    /// A controller that sends traces.
    pub(crate) fn start_traced(plane: &'static Plane, namespace: &str, collector: Collector) -> Self {
        Self::start_sampled(plane, namespace, collector, 1.0)
    }

    /// The same with this part of the good measurements.
    pub(crate) fn start_sampled(plane: &'static Plane, namespace: &str, collector: Collector, ratio: f64) -> Self {
        let options = Options {
            traces: Some(TraceOptions { collector, ratio }),
            ..Options::default()
        };
        Self::with(namespace, options, move |clock| async move {
            plane.kanary(clock, None).await
        })
    }

    pub(super) fn with<F>(namespace: &str, options: Options, client: impl FnOnce(Clock) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Client> + Send,
    {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime can be created");
        let stop = CancellationToken::new();
        let options = Options {
            namespace: Some(namespace.to_owned()),
            instance: "suite".to_owned(),
            ..options
        };
        let token = stop.clone();
        runtime.spawn(async move {
            let client = client(options.clock.clone()).await;
            let namespace = options.namespace.clone();
            if let Err(error) = Box::pin(run(client, options, token)).await {
                eprintln!("the controller of {namespace:?} ended: {error}");
            }
        });
        Self {
            runtime: Some(runtime),
            stop,
        }
    }

    /// Stops the controller immediately, without a graceful shutdown.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl World {
    /// Starts a controller that runs one canary at the same time.
    pub(crate) fn start_limited_controller(&self) {
        self.put(Controller::start_limited(self.plane, &self.ns));
    }

    /// Starts a controller that may ask the metrics APIs.
    pub(crate) fn start_controller_with_metrics_apis(&self) {
        self.put(Controller::start_with_metrics_apis(self.plane, &self.ns));
    }

    /// Starts a controller that serves every kind.
    pub(crate) fn start_controller_of_all_kinds(&self) {
        self.put(Controller::start_of_all_kinds(self.plane, &self.ns));
    }

    /// Starts a controller that serves every kind and may change routes.
    pub(crate) fn start_controller_of_apps(&self) {
        self.put(Controller::start_of_apps(self.plane, &self.ns));
    }

    /// Starts a controller that may change routes.
    pub(crate) fn start_routing_controller(&self) {
        self.put(Controller::start_routing(self.plane, &self.ns));
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.stop.cancel();
        self.end();
    }
}
