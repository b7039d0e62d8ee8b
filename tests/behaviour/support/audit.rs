//! The controller's requests, read from the API server's audit log.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use kanary_sim::server::Entry;
use serde_json::Value;

use super::{
    plane::{Kind, Plane},
    waiting::poll,
};

/// The controller's timeout is 10 s. It starts a little before the request arrives at the API server.
const IN_VAIN: SignedDuration = SignedDuration::from_millis(9500);

/// The controller's user.
pub(super) const USER: &str = "system:serviceaccount:kanary-system:kanary";

/// A request of the controller.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// `create`, `patch`, …
    pub(crate) verb: String,
    /// `deployments`, `kanarydeployments/status`, …
    pub(crate) resource: String,
    /// The object's name, or empty for a list.
    pub(crate) name: String,
    /// HTTP status of the response.
    pub(crate) code: i64,
    /// Arrival time.
    pub(crate) at: Timestamp,
    /// Time of the response.
    pub(crate) answered: Timestamp,
    /// The client program (`User-Agent`).
    pub(crate) agent: String,
}

impl Request {
    /// Whether the request is a write.
    pub(crate) fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list")
    }

    /// Whether the request creates an Event.
    pub(crate) fn is_event(&self) -> bool {
        self.resource == "events"
    }

    /// Whether the controller did not receive a response: it timed out, or the API server did not answer. The write may
    /// have been executed.
    pub(crate) fn is_lost(&self) -> bool {
        self.code >= 500 || self.answered.duration_since(self.at) > IN_VAIN
    }

    /// Whether the request is a retry of `first`.
    pub(crate) fn repeats(&self, first: &Self) -> bool {
        let what = |request: &Self| (request.verb.clone(), request.resource.clone(), request.name.clone());
        self.at > first.at && what(self) == what(first)
    }

    /// Whether the request succeeded.
    pub(crate) fn is_done(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// Whether the request was refused because `first`, the same request, had succeeded.
    fn is_refused_after(&self, first: &Self) -> bool {
        let refused = match self.verb.as_str() {
            "create" | "patch" => matches!(self.code, 409 | 422),
            "delete" => self.code == 404,
            _ => false,
        };
        refused && self.repeats(first) && (first.is_done() || first.is_lost())
    }
}

/// `requests` without retries: a write without a timely response and its retry count as one.
pub(crate) fn once(requests: &[Request]) -> Vec<&Request> {
    // The log does not show how long a request waited before it arrived, but no retry can be this early.
    let early = requests.first().map(|first| first.at + IN_VAIN);
    let is_early = |request: &Request| early.is_some_and(|early| request.at < early);
    let is_in_vain = |request: &Request| {
        let first = requests.iter().find(|first| request.is_refused_after(first));
        first.is_some_and(|first| first.is_lost() || !is_early(request))
    };
    let is_done_later =
        |request: &Request| request.is_lost() && requests.iter().any(|next| next.is_done() && next.repeats(request));
    let mut once: Vec<_> = requests.iter().collect();
    once.retain(|request| !is_in_vain(request) && !is_done_later(request));
    once
}

/// Lines of the log read so far, by namespace. The log is long, and each test needs only a few lines.
static READ: Mutex<Log> = Mutex::new(Log {
    offset: 0,
    half: Vec::new(),
    was_killed: false,
    under_way: BTreeMap::new(),
    requests: BTreeMap::new(),
});

#[derive(Debug)]
struct Log {
    offset: u64,
    /// The last line, if it is incomplete.
    half: Vec<u8>,
    /// Whether the API server was killed at some time.
    was_killed: bool,
    /// Namespaces of requests without a response, by their id in the log.
    under_way: BTreeMap<String, String>,
    /// By namespace.
    requests: BTreeMap<String, Vec<Request>>,
}

/// All requests of the controller in `namespace` so far, except watches.
///
/// A watch can report a write before its response is in the log, so this waits for pending requests.
pub(crate) async fn requests(plane: &Plane, namespace: &str) -> Vec<Request> {
    let begun = read(plane).begun(namespace);
    poll("all pending requests have a response", async || {
        let log = read(plane);
        match begun.iter().find(|id| log.under_way.contains_key(*id)) {
            Some(id) => Err(format!("{id} has no response")),
            None => Ok(log.of(namespace)),
        }
    })
    .await
}

/// Drops pending requests after the API server was killed, because they get no response.
pub(super) fn forget_under_way(plane: &Plane) {
    read(plane).under_way.clear();
}

/// The API server is about to be killed, and may leave a part of a line.
pub(super) fn expect_a_part_of_a_line() {
    lock().was_killed = true;
}

/// A case that fails while it reads must not fail all others.
fn lock() -> MutexGuard<'static, Log> {
    READ.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads the log up to its current end.
fn read(plane: &Plane) -> MutexGuard<'static, Log> {
    let mut read = lock();
    match plane.kind() {
        Kind::Real { audit_log, .. } => read.go_on(audit_log).expect("the audit log can be read"),
        Kind::Embedded(embedded) => read.take(embedded.server.take_entries()),
    }
    read
}

impl Log {
    fn begun(&self, namespace: &str) -> BTreeSet<String> {
        let under_way = self.under_way.iter();
        let ours = under_way.filter(|(_, place)| *place == namespace);
        ours.map(|(id, _)| id.clone()).collect()
    }

    fn of(&self, namespace: &str) -> Vec<Request> {
        let mut requests = self.requests.get(namespace).cloned().unwrap_or_default();
        requests.sort_by_key(|request| request.at);
        requests
    }

    fn take(&mut self, entries: Vec<Entry>) {
        let ours = |entry: &Entry| &*entry.user == USER && entry.verb != "watch";
        for entry in entries.into_iter().filter(ours) {
            let requests = self.requests.entry(entry.namespace).or_default();
            requests.push(Request {
                verb: entry.verb.to_owned(),
                resource: entry.resource,
                name: entry.name,
                code: i64::from(entry.code),
                at: entry.at,
                answered: entry.at,
                agent: entry.agent,
            });
        }
    }

    fn go_on(&mut self, log: &Path) -> std::io::Result<()> {
        let mut file = File::open(log)?;
        file.seek(SeekFrom::Start(self.offset))?;
        let mut news = std::mem::take(&mut self.half);
        self.offset += u64::try_from(file.read_to_end(&mut news)?).expect("the size fits into u64");
        let whole = news.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.half = news.split_off(whole);
        for line in String::from_utf8_lossy(&news)
            .lines()
            .filter(|line| line.contains(USER))
        {
            let entry: Value = match serde_json::from_str(line) {
                Ok(entry) => entry,
                Err(_) if self.was_killed => continue,
                Err(error) => panic!("{error} in the audit log: {line}"),
            };
            if entry["user"]["username"] == USER && entry["verb"] != "watch" {
                self.note(&entry);
            }
        }
        Ok(())
    }

    /// Records an entry. The log has one when a request arrives and one when its response is sent.
    fn note(&mut self, entry: &Value) {
        let Some(namespace) = entry["objectRef"]["namespace"].as_str() else {
            return;
        };
        let id = entry["auditID"].as_str().expect("every request has an id");
        if entry["stage"] == "RequestReceived" {
            self.under_way.insert(id.to_owned(), namespace.to_owned());
            return;
        }
        self.under_way.remove(id);
        let requests = self.requests.entry(namespace.to_owned()).or_default();
        requests.push(request(entry));
    }
}

fn request(entry: &Value) -> Request {
    let text = |pointer: &str| {
        let text = entry.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let resource = text("/objectRef/resource");
    let time = |pointer: &str| text(pointer).parse().expect("the audit log has timestamps");
    Request {
        verb: text("/verb"),
        resource: match text("/objectRef/subresource").as_str() {
            "" => resource,
            subresource => format!("{resource}/{subresource}"),
        },
        name: text("/objectRef/name"),
        code: entry
            .pointer("/responseStatus/code")
            .and_then(Value::as_i64)
            .unwrap_or_default(),
        at: time("/requestReceivedTimestamp"),
        answered: time("/stageTimestamp"),
        agent: text("/userAgent"),
    }
}
