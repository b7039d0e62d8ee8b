//! What the controller asked of the API server, from the API server's own log.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
    sync::{Mutex, MutexGuard},
};

use jiff::{SignedDuration, Timestamp};
use kanary_sim::server::Entry;
use serde_json::Value;

use super::{
    plane::{Kind, Plane},
    waiting::poll,
};

/// The controller waits 10 s for an answer, which begin a little earlier than the API server's.
const IN_VAIN: SignedDuration = SignedDuration::from_millis(9500);

/// The controller's user.
pub(super) const USER: &str = "system:serviceaccount:kanary-system:kanary";

/// One request of the controller.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// `create`, `patch`, …
    pub(crate) verb: String,
    /// `deployments`, `kanarydeployments/status`, …
    pub(crate) resource: String,
    /// The object's name; empty for a list.
    pub(crate) name: String,
    /// The answer's status.
    pub(crate) code: i64,
    /// When it arrived.
    pub(crate) at: Timestamp,
    /// When it was answered.
    pub(crate) answered: Timestamp,
    /// Which program asked.
    pub(crate) agent: String,
}

impl Request {
    /// Whether it changes anything.
    pub(crate) fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list")
    }

    /// Whether it makes an Event.
    pub(crate) fn is_event(&self) -> bool {
        self.resource == "events"
    }

    /// Whether the API server was too slow for it: nobody waited for the answer, or there was none. It may have been done.
    pub(crate) fn is_lost(&self) -> bool {
        self.code >= 500 || self.answered.duration_since(self.at) > IN_VAIN
    }

    /// Whether it is the same once more, after `first`.
    pub(crate) fn repeats(&self, first: &Self) -> bool {
        let what = |request: &Self| (request.verb.clone(), request.resource.clone(), request.name.clone());
        self.at > first.at && what(self) == what(first)
    }

    /// Whether it was done.
    pub(crate) fn is_done(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// Whether it was refused because `first`, the same, had been done.
    fn is_refused_after(&self, first: &Self) -> bool {
        let refused = match self.verb.as_str() {
            "create" | "patch" => matches!(self.code, 409 | 422),
            "delete" => self.code == 404,
            _ => false,
        };
        refused && self.repeats(first) && (first.is_done() || first.is_lost())
    }
}

/// `requests`, each once: a write whose answer did not come in time and its repetition are one.
pub(crate) fn once(requests: &[Request]) -> Vec<&Request> {
    // How long a request waited before it arrived is not in the log; but nobody repeats anything this early.
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

/// What was read of the log so far: it is long, and every test asks for its own few lines.
static READ: Mutex<Log> = Mutex::new(Log {
    offset: 0,
    half: Vec::new(),
    under_way: BTreeMap::new(),
    requests: BTreeMap::new(),
});

#[derive(Debug)]
struct Log {
    offset: u64,
    /// The last line, if it was half written.
    half: Vec<u8>,
    /// Those that were not answered yet, by their id in the log, with their namespaces.
    under_way: BTreeMap<String, String>,
    /// By namespace.
    requests: BTreeMap<String, Vec<Request>>,
}

/// Every request of the controller in `namespace` so far, watches left out.
///
/// A watch can tell of a write before its answer is in the log: what is under way is waited for.
pub(crate) async fn requests(plane: &Plane, namespace: &str) -> Vec<Request> {
    let begun = read(plane).begun(namespace);
    poll("the requests under way are answered", async || {
        let log = read(plane);
        match begun.iter().find(|id| log.under_way.contains_key(*id)) {
            Some(id) => Err(format!("{id} is not answered")),
            None => Ok(log.of(namespace)),
        }
    })
    .await
}

/// The API server was killed: what was under way is never answered.
pub(super) fn forget_under_way(plane: &Plane) {
    read(plane).under_way.clear();
}

/// The log as it is now.
fn read(plane: &Plane) -> MutexGuard<'static, Log> {
    let mut read = READ.lock().unwrap();
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
        self.offset += u64::try_from(file.read_to_end(&mut news)?).expect("a file is no longer than that");
        let whole = news.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.half = news.split_off(whole);
        for line in String::from_utf8_lossy(&news)
            .lines()
            .filter(|line| line.contains(USER))
        {
            let entry: Value = serde_json::from_str(line).expect("the audit log is lines of JSON");
            if entry["user"]["username"] == USER && entry["verb"] != "watch" {
                self.note(&entry);
            }
        }
        Ok(())
    }

    /// An entry stands twice in the log: when the request arrives and when it is answered.
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
    let time = |pointer: &str| text(pointer).parse().expect("the audit log has times");
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
