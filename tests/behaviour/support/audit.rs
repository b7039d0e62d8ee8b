//! What the controller asked of the API server, from the API server's own log.

use jiff::Timestamp;
use serde_json::Value;

use super::plane::Plane;

/// The controller's user.
const USER: &str = "system:serviceaccount:kanary-system:kanary";

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
    /// When it was answered.
    pub(crate) at: Timestamp,
}

impl Request {
    /// Whether it changes anything.
    pub(crate) fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }

    /// Whether it makes an Event.
    pub(crate) fn is_event(&self) -> bool {
        self.resource == "events"
    }

    /// Whether it was done.
    pub(crate) fn is_done(&self) -> bool {
        (200..300).contains(&self.code)
    }
}

/// Every request of the controller in `namespace` so far.
pub(crate) fn requests(plane: &Plane, namespace: &str) -> Vec<Request> {
    let log = std::fs::read(plane.audit_log()).expect("the audit log can be read");
    let log = String::from_utf8_lossy(&log);
    let mut requests: Vec<_> = log
        .lines()
        .filter(|line| line.contains(USER) && line.contains(namespace))
        // The last line may be half written.
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|entry| entry["user"]["username"] == USER && entry["objectRef"]["namespace"] == namespace)
        .map(|entry| request(&entry))
        .collect();
    requests.sort_by_key(|request| request.at);
    requests
}

fn request(entry: &Value) -> Request {
    let text = |pointer: &str| {
        let text = entry.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let resource = text("/objectRef/resource");
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
        at: text("/stageTimestamp").parse().expect("the audit log has times"),
    }
}
