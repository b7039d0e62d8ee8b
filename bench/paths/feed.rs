//! An API server without objects that sends events to one watch.

use std::{
    convert::Infallible,
    future::ready,
    sync::{Arc, Mutex},
    task::Poll,
};

use futures::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Frame};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::{
    runtime::{Builder, Runtime},
    sync::{
        Notify,
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    },
};
use tower::{BoxError, service_fn};

type Answer = UnsyncBoxBody<Bytes, Infallible>;

/// A watch, and the object that its events are about.
pub(crate) struct Feed {
    runtime: Runtime,
    lines: UnboundedSender<Bytes>,
    /// The watch has processed every event.
    idle: Arc<Notify>,
    /// An event, before and after the version.
    event: [String; 2],
    version: u64,
}

impl Feed {
    /// Starts what watches `resource` with the client.
    pub(crate) fn start(resource: &'static str, mut object: Value, watch: impl FnOnce(Client)) -> Self {
        let (lines, received) = unbounded_channel();
        let idle = Arc::<Notify>::default();
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            watch(client(resource, received, idle.clone()));
            // The watch begins with nothing.
            idle.notified().await;
        });
        object["metadata"]["resourceVersion"] = json!("VERSION");
        let event = json!({"type": "MODIFIED", "object": object}).to_string();
        let (before, after) = event.split_once("VERSION").unwrap();
        Self {
            event: [before.to_owned(), format!("{after}\n")],
            version: 1_000_000,
            runtime,
            lines,
            idle,
        }
    }

    /// Sends an event with the next version, and waits until it was processed.
    pub(crate) fn send(&mut self) -> u64 {
        self.version += 1;
        let [before, after] = &self.event;
        let line = [before, self.version.to_string().as_str(), after].concat();
        self.lines.send(line.into()).unwrap();
        self.runtime.block_on(self.idle.notified());
        self.version
    }
}

fn client(resource: &'static str, lines: UnboundedReceiver<Bytes>, idle: Arc<Notify>) -> Client {
    let feed = Mutex::new(Some((lines, idle)));
    let service = service_fn(move |request: http::Request<Body>| {
        let is_watch = request.uri().query().unwrap_or_default().contains("watch=true");
        let feed = (request.uri().path().ends_with(resource) && is_watch).then(|| feed.lock().unwrap().take());
        let body = match feed.flatten() {
            Some((lines, idle)) => events(lines, idle),
            None if is_watch => StreamBody::new(stream::pending()).boxed_unsync(),
            None => Full::from(r#"{"metadata": {"resourceVersion": "1"}, "items": []}"#).boxed_unsync(),
        };
        ready(Ok::<_, BoxError>(http::Response::new(body)))
    });
    Client::new(service, "default")
}

fn events(mut lines: UnboundedReceiver<Bytes>, idle: Arc<Notify>) -> Answer {
    let mut is_news = true;
    let frames = stream::poll_fn(move |context| match lines.poll_recv(context) {
        Poll::Pending => {
            if std::mem::take(&mut is_news) {
                idle.notify_one();
            }
            Poll::Pending
        }
        Poll::Ready(line) => {
            is_news = true;
            Poll::Ready(line.map(|line| Ok(Frame::data(line))))
        }
    });
    StreamBody::new(frames).boxed_unsync()
}
