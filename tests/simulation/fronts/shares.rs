//! The shares of the requests that the routes of an application give its secondary.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// Shares in percent. The first one above half is the last.
const STEPS: [u64; 6] = [10, 20, 30, 40, 50, 60];

/// What was written to routes during a run.
#[derive(Default)]
pub(super) struct Shares {
    /// By the kind of the route.
    present: BTreeMap<String, u64>,
    /// Since when the present share is written.
    since: Option<Timestamp>,
    /// Index of the highest step of the run.
    reached: Option<usize>,
}

/// The share of the secondary in a route.
fn share(route: &Value) -> u64 {
    let spec = &route["spec"];
    let backends = [&spec["http"][0]["route"], &spec["rules"][0]["backendRefs"]];
    let backends = backends.into_iter().filter_map(Value::as_array).flatten();
    let is_secondary = |backend: &&Value| {
        let name = backend["name"].as_str().unwrap_or_default();
        backend["destination"]["subset"] == "secondary" || name.ends_with("-secondary")
    };
    let mut secondary = backends.filter(is_secondary);
    secondary
        .next()
        .and_then(|backend| backend["weight"].as_u64())
        .unwrap_or_default()
}

impl Shares {
    /// Another run begins.
    pub(super) fn begin(&mut self) {
        self.reached = None;
    }

    /// The share that is written.
    pub(super) fn present(&self) -> u64 {
        self.present.values().sum()
    }

    /// A route is gone.
    pub(super) fn forget(&mut self, kind: &str) {
        self.present.remove(kind);
    }

    /// What is wrong about a route that a controller writes. `seconds` is how long each share lasts.
    pub(super) fn written(
        &mut self,
        (kind, route): (&str, &Value),
        (at, seconds): (Timestamp, u32),
        is_ready: bool,
    ) -> Option<String> {
        let share = share(route);
        let former = self.present.insert(kind.to_owned(), share).unwrap_or_default();
        if share == former {
            return None;
        }
        if share > 0 && self.present() > share {
            return Some(format!("a share of {share}% while another route gives it one"));
        }
        let since = self.since.replace(at);
        if share == 0 {
            return None;
        }
        let Some(step) = STEPS.iter().position(|step| *step == share) else {
            return Some(format!("a share of {share}%, which is no step"));
        };
        if !is_ready {
            return Some(format!("a share of {share}% while the secondary is not available"));
        }
        let next = self.reached.map_or(0, |reached| reached + 1);
        if step > next {
            return Some(format!("a share of {share}% right after {former}%"));
        }
        if step < next {
            return None;
        }
        let reached = self.reached.replace(step);
        let lasted = since.map(|since| at.duration_since(since)).unwrap_or_default();
        let needed = SignedDuration::from_secs(i64::from(seconds) - 1);
        let is_proven = reached.is_none_or(|reached| STEPS.get(reached) == Some(&former) && lasted >= needed);
        (!is_proven).then(|| format!("a share of {share}% although {former}% lasted only {lasted:#}"))
    }

    /// Since when the last share has been in force, if that is long enough, or what there was.
    pub(super) fn proven(&self, at: Timestamp, needed: SignedDuration) -> Result<Timestamp, String> {
        let lasted = self.since.map(|since| at.duration_since(since)).unwrap_or_default();
        match self.since {
            Some(since) if STEPS.last() == Some(&self.present()) && lasted >= needed => Ok(since),
            _ => Err(format!("{}% for {lasted:#}", self.present())),
        }
    }
}
