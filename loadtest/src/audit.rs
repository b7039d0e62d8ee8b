//! Requests by user, from the API server's audit log.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, Seek, SeekFrom},
    path::Path,
};

use anyhow::Context;
use serde::Deserialize;

/// The user of Kanary, and of the floor's work for canaries.
pub(crate) const KANARY: &str = "system:serviceaccount:kanary-system:kanary";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    #[serde(borrow)]
    stage: &'a str,
    verb: &'a str,
    #[serde(borrow)]
    user: User<'a>,
    #[serde(default)]
    object_ref: Reference,
    #[serde(default)]
    response_status: Response,
}

#[derive(Deserialize)]
struct User<'a> {
    username: &'a str,
}

#[derive(Deserialize, Default)]
struct Reference {
    #[serde(default)]
    resource: String,
    #[serde(default)]
    subresource: String,
}

#[derive(Deserialize, Default)]
struct Response {
    #[serde(default)]
    code: u16,
}

/// Requests of one user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Requests {
    /// By verb and resource, such as `patch kanarydeployments/status`.
    pub(crate) counts: BTreeMap<String, u64>,
    /// Requests that were answered with an error.
    pub(crate) refused: u64,
}

fn is_coordination(resource: &str) -> bool {
    matches!(resource, "leases" | "configmaps")
}

impl Requests {
    fn sum(&self, counts: impl Fn(&str, &str) -> bool) -> u64 {
        let matching = self.counts.iter().filter(|(what, _)| {
            let (verb, resource) = what.split_once(' ').unwrap_or((what, ""));
            counts(verb, resource)
        });
        matching.map(|(_, number)| number).sum()
    }

    /// Reads, without those of Leases and `ConfigMaps`.
    pub(crate) fn reads(&self) -> u64 {
        self.sum(|verb, resource| matches!(verb, "get" | "list") && !is_coordination(resource))
    }

    /// All writes but those of Leases and `ConfigMaps`: Events and the slot label count.
    pub(crate) fn writes(&self) -> u64 {
        self.sum(|verb, resource| !matches!(verb, "get" | "list" | "watch") && !is_coordination(resource))
    }

    pub(crate) fn watches(&self) -> u64 {
        self.sum(|verb, _| verb == "watch")
    }

    pub(crate) fn events(&self) -> u64 {
        self.sum(|verb, resource| verb == "create" && resource == "events")
    }

    /// Everything about Leases but watches.
    pub(crate) fn leases(&self) -> u64 {
        self.sum(|verb, resource| verb != "watch" && resource == "leases")
    }
}

/// The size of the log, which is the offset of the next request.
pub(crate) fn end(log: &Path) -> anyhow::Result<u64> {
    Ok(std::fs::metadata(log).context("audit log")?.len())
}

/// Reads the log from `offset` to its end. Returns the requests by user.
pub(crate) fn requests(log: &Path, offset: u64) -> anyhow::Result<BTreeMap<String, Requests>> {
    let mut file = File::open(log).context("audit log")?;
    file.seek(SeekFrom::Start(offset))?;
    let mut users = BTreeMap::<String, Requests>::new();
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 {
        // The last line may be incomplete.
        if line.ends_with('\n') {
            note(&mut users, &line).with_context(|| format!("audit log: {line}"))?;
        }
        line.clear();
    }
    Ok(users)
}

/// Each request has one line when it arrives, and another with the code of its response. A watch has no response until it ends.
fn note(users: &mut BTreeMap<String, Requests>, line: &str) -> serde_json::Result<()> {
    let line: Line<'_> = serde_json::from_str(line)?;
    if !users.contains_key(line.user.username) {
        users.insert(line.user.username.to_owned(), Requests::default());
    }
    let Some(requests) = users.get_mut(line.user.username) else {
        return Ok(());
    };
    match line.stage {
        "RequestReceived" => {
            let Reference { resource, subresource } = line.object_ref;
            let slash = if subresource.is_empty() { "" } else { "/" };
            *requests
                .counts
                .entry(format!("{} {resource}{slash}{subresource}", line.verb))
                .or_default() += 1;
        }
        "ResponseComplete" if line.verb != "watch" => requests.refused += u64::from(line.response_status.code >= 400),
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_request_counts_once() {
        let mut users = BTreeMap::new();
        for (verb, resource, subresource, code) in [
            ("get", "deployments", "", 200),
            ("list", "leases", "", 200),
            ("watch", "leases", "", 200),
            ("patch", "kanarydeployments", "status", 409),
            ("patch", "kanarydeployments", "", 200),
            ("create", "events", "", 201),
            ("update", "leases", "", 200),
        ] {
            for stage in ["RequestReceived", "ResponseStarted", "ResponseComplete"] {
                let line = json!({
                    "stage": stage, "verb": verb, "user": {"username": KANARY},
                    "objectRef": {"resource": resource, "subresource": subresource},
                    "responseStatus": {"code": code},
                });
                note(&mut users, &line.to_string()).unwrap();
            }
        }
        let requests = &users[KANARY];
        assert_eq!((requests.reads(), requests.writes(), requests.watches()), (1, 3, 1));
        assert_eq!((requests.events(), requests.leases(), requests.refused), (1, 2, 1));
        assert_eq!(requests.counts["patch kanarydeployments/status"], 1);
    }
}
