//! Users who send requests at a steady rate, and a record of what became of each.

mod answers;
mod user;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

pub use answers::{Answer, Answers, Failure};
use user::{Sender, User};

/// How many requests may be under way. On a slow machine there are fewer requests instead of ever later answers.
const UNDER_WAY: usize = 64;

/// A steady load. Requests start when they are due, if not too many are under way.
#[derive(Clone, Debug)]
pub struct Load {
    gateway: SocketAddr,
    host: String,
    path: String,
    per_second: f64,
    headers: Vec<(String, String)>,
    users: usize,
    is_grpc: bool,
}

impl Load {
    /// 200 requests per second to a host behind a gateway, by users without cookies.
    #[must_use]
    pub fn new(gateway: SocketAddr, host: &str) -> Self {
        Self {
            gateway,
            host: host.to_owned(),
            path: "/".to_owned(),
            per_second: 200.0,
            headers: Vec::new(),
            users: 0,
            is_grpc: false,
        }
    }

    /// Sets the number of requests per second.
    #[must_use]
    pub fn per_second(self, per_second: f64) -> Self {
        Self { per_second, ..self }
    }

    /// Sets the path of each request.
    #[must_use]
    pub fn path(self, path: &str) -> Self {
        Self {
            path: path.to_owned(),
            ..self
        }
    }

    /// Adds a header to each request.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Lets this many users send the requests in turn. Each keeps its cookies, and waits for one answer before it asks again.
    #[must_use]
    pub fn users(self, users: usize) -> Self {
        Self { users, ..self }
    }

    /// Makes each request a call in gRPC, by HTTP/2 without TLS.
    #[must_use]
    pub fn grpc(self) -> Self {
        Self { is_grpc: true, ..self }
    }

    /// Sends one request.
    pub async fn once(&self) -> Answer {
        self.user(0).send(&self.sender()).await
    }

    /// Starts the load, in a thread of its own.
    ///
    /// # Errors
    ///
    /// The thread or its runtime can't be created.
    pub fn start(self) -> std::io::Result<Running> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (answers, stop) = (Record::default(), CancellationToken::new());
        let sending = self.send_until(stop.clone(), answers.clone());
        let thread = std::thread::Builder::new().name("load".to_owned());
        let thread = thread.spawn(move || runtime.block_on(sending))?;
        Ok(Running {
            answers,
            stop,
            thread: Some(thread),
        })
    }

    fn sender(&self) -> Sender {
        Sender::new(self.gateway, (&self.host, &self.path), &self.headers, self.is_grpc)
    }

    fn user(&self, number: usize) -> User {
        User::new(number, self.users > 0)
    }

    async fn send_until(self, stop: CancellationToken, answers: Record) {
        let sender = Arc::new(self.sender());
        let users: Vec<_> = (0..self.users)
            .map(|number| Arc::new(tokio::sync::Mutex::new(self.user(number))))
            .collect();
        let mut ticks = interval(Duration::from_secs_f64(1.0 / self.per_second));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let places = Arc::new(Semaphore::new(UNDER_WAY));
        let mut requests = JoinSet::new();
        let mut turns = users.iter().cycle();
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            // The semaphore is never closed.
            let Ok(place) = places.clone().acquire_owned().await else {
                break;
            };
            let user = turns.next().cloned();
            let user = user.unwrap_or_else(|| Arc::new(tokio::sync::Mutex::new(self.user(0))));
            let (sender, answers) = (sender.clone(), answers.clone());
            requests.spawn(async move {
                let answer = user.lock().await.send(&sender).await;
                answers.push(answer);
                drop(place);
            });
            while requests.try_join_next().is_some() {}
        }
        requests.join_all().await;
    }
}

#[derive(Clone, Debug, Default)]
struct Record(Arc<Mutex<Vec<Answer>>>);

impl Record {
    fn push(&self, answer: Answer) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
    }

    fn all(&self) -> Answers {
        Answers(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// A load that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct Running {
    answers: Record,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// What became of the requests so far.
    #[must_use]
    pub fn answers(&self) -> Answers {
        self.answers.all()
    }

    /// Stops, waits for the answers to all requests, and returns them.
    pub async fn stop(mut self) -> Answers {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed, and the number of answers shows it.
            let _ = tokio::task::spawn_blocking(|| thread.join().is_ok()).await;
        }
        self.answers.all()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
