use std::sync::{Mutex, PoisonError};

use http::{Method, Request, Response};
use kanary_core::api::Layout;
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tower::{BoxError, service_fn};

use super::*;
use crate::{
    cache::watch::CachePart,
    cluster::clock::{Clock, Monotonic},
    metrics::Metrics,
    shard::{
        Fence, Sharding,
        leader::Election,
        serve::{Served, Source, Watches},
    },
};

/// A Lease on an API server that can lose the answer to a creation, and carry it out later.
#[derive(Default)]
struct Server {
    stored: Option<Value>,
    /// A creation is not carried out now.
    is_late: bool,
    late: Vec<Value>,
}

fn lock(server: &Mutex<Server>) -> std::sync::MutexGuard<'_, Server> {
    server.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    fn answer(&mut self, method: &Method, body: Option<Value>) -> (u16, Value) {
        let refused = |code: u16, reason: &str| {
            let refusal =
                json!({"kind": "Status", "status": "Failure", "message": "no", "reason": reason, "code": code});
            (code, refusal)
        };
        match (method, body) {
            (&Method::GET, _) => self
                .stored
                .clone()
                .map_or_else(|| refused(404, "NotFound"), |lease| (200, lease)),
            (&Method::POST, Some(lease)) if self.is_late => {
                self.late.push(lease);
                refused(504, "Timeout")
            }
            (&Method::POST, Some(lease)) => (201, self.store(lease, "1")),
            _ => refused(409, "Conflict"),
        }
    }

    fn store(&mut self, mut lease: Value, version: &str) -> Value {
        lease["metadata"]["resourceVersion"] = json!(version);
        self.stored = Some(lease.clone());
        lease
    }
}

fn member(server: &Arc<Mutex<Server>>) -> Member {
    let server = server.clone();
    let service = service_fn(move |request: Request<Body>| {
        let server = server.clone();
        async move {
            let method = request.method().clone();
            let body = request.into_body().collect_bytes().await?;
            let (code, reply) = lock(&server).answer(&method, serde_json::from_slice(&body).ok());
            let body = Body::from(reply.to_string().into_bytes());
            Ok::<_, BoxError>(Response::builder().status(code).body(body)?)
        }
    });
    let (layout, time, changed) = (Layout::new(1).unwrap(), Monotonic::default(), Arc::new(Notify::new()));
    let options = Sharding {
        client: Client::new(service, "system"),
        namespace: "system".to_owned(),
        identity: "replica".to_owned(),
        template: String::new(),
        ttl: Duration::from_secs(15),
        time: time.clone(),
        shards: layout,
        election: Election::default(),
    };
    let fence = Arc::new(Fence::new(layout, time));
    let source = Source {
        open: Box::new(|| -> CachePart { unreachable!("no shard is served") }),
        watch: Box::new(|_| -> Watches { unreachable!("no shard is served") }),
    };
    let shards = Served::new(fence.clone(), source, Box::new(|_| {}), changed.clone());
    let metrics = Arc::new(Metrics::default());
    Member::new(options, Clock::default(), fence, Arc::new(shards), metrics, changed)
}

#[tokio::test]
async fn a_creation_of_its_own_session_that_is_carried_out_late_ends_the_session_and_not_the_process() {
    let server = Arc::new(Mutex::new(Server {
        is_late: true,
        ..Server::default()
    }));
    let member = member(&server);
    let error = member.try_begin().await.expect_err("no answer");
    assert!(error.contains("Lease"), "{error}");
    lock(&server).is_late = false;
    member.try_begin().await.unwrap();
    let second = member.session();
    assert!(!second.is_empty());
    // Others delete the Lease, and the first creation is carried out after all.
    {
        let mut server = lock(&server);
        let first = server.late.remove(0);
        assert_ne!(first["spec"]["holderIdentity"], json!(second));
        server.store(first, "2");
    }
    assert_eq!(member.renew().await.unwrap(), Beat::Over);
}

#[tokio::test]
async fn a_session_of_another_process_with_the_same_identity_ends_the_process() {
    let server = Arc::new(Mutex::new(Server::default()));
    let (this, other) = (member(&server), member(&server));
    this.try_begin().await.unwrap();
    lock(&server).stored = None;
    other.try_begin().await.unwrap();
    let error = this.renew().await.unwrap_err();
    assert!(error.to_string().contains(&other.session()), "{error}");
}

#[test]
fn a_process_remembers_a_bounded_number_of_its_sessions() {
    let member = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(async { member(&Arc::default()) });
    for number in 0..100 {
        member.remember(&number.to_string());
    }
    let tried = member.lock().tried.clone();
    assert_eq!((tried.len(), tried.back().map(String::as_str)), (TRIED, Some("99")));
}
