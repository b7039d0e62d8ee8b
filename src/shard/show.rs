//! `kanary shards`: shows operators which replica owns which Kanaries. Read-only.

use std::{collections::BTreeMap, fmt::Write};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kanary_core::api::{
    Kanary, KanaryKind, Layout, Slot,
    names::{LEASE, SLOT},
};
use kube::{Api, Client, ResourceExt, api::ListParams};

use super::{
    lease::{self, LEADER, Read, Session, Shard, identity},
    map,
};
use crate::cluster::{clock::Clock, error::describe};

/// Page size of list requests.
const PAGE: u32 = 500;

/// The data to print.
#[derive(Debug)]
struct Listing {
    layout: Layout,
    now: Timestamp,
    sessions: BTreeMap<String, Session>,
    shards: BTreeMap<u16, Shard>,
    leader: Option<String>,
    /// Number of Kanaries, or why they could not be counted.
    kanaries: Result<Counts, String>,
}

/// Number of Kanaries by slot; `None` for those without a slot.
type Counts = BTreeMap<Option<Slot>, usize>;

/// Why the shards cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request failed. The text contains the cause, so the cause is not a `source`, which would be printed twice.
    #[error("could not {what}: {why}", why = describe(.error))]
    Call {
        /// The operation.
        what: String,
        /// The cause.
        error: Box<kube::Error>,
    },
    /// The number of shards is unknown.
    #[error(transparent)]
    Map(#[from] map::Error),
    /// The namespace contains no Leases of Kanary.
    #[error(
        "no Leases of Kanary in namespace {0}: name the namespace of the controller with --lease-namespace, or it runs \
         with --standalone"
    )]
    Nothing(String),
}

/// The output of `kanary shards`. `clock` is the clock that the client synchronizes.
///
/// # Errors
///
/// See [`Error`].
pub async fn text(client: Client, namespace: &str, clock: &Clock) -> Result<String, Error> {
    let seen = read(client, namespace, clock).await?;
    Ok(render(&seen))
}

/// Adds the operation to a failed request.
fn failed(what: String) -> impl FnOnce(kube::Error) -> Error {
    move |error| Error::Call {
        what,
        error: Box::new(error),
    }
}

async fn read(client: Client, namespace: &str, clock: &Clock) -> Result<Listing, Error> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let Some((layout, scope)) = map::stored(client.clone(), namespace).await? else {
        return Err(Error::Nothing(namespace.to_owned()));
    };
    let mut seen = Listing {
        layout,
        now: clock.now(),
        sessions: BTreeMap::new(),
        shards: BTreeMap::new(),
        leader: None,
        kanaries: Ok(Counts::new()),
    };
    let found = leases.list(&ListParams::default().labels(LEASE)).await;
    for found in found.map_err(failed(format!("list Leases in namespace {namespace}")))? {
        match lease::read(&found, layout.shards()) {
            Some(Read::Session(session)) => drop(seen.sessions.insert(session.identity.clone(), session)),
            Some(Read::Shard(shard)) => drop(seen.shards.insert(shard.index, shard)),
            None => {}
        }
    }
    let leader = leases.get_opt(LEADER).await;
    let leader = leader.map_err(failed(format!("read Lease {LEADER} in namespace {namespace}")))?;
    seen.leader = leader.and_then(|leader| leader.spec?.holder_identity);
    // Without permission to read Kanaries, the Leases are still shown.
    seen.kanaries = count(&client, &scope).await.map_err(|error| error.to_string());
    Ok(seen)
}

/// Counts the Kanaries of namespace `scope`, or of all namespaces if it is empty.
async fn count(client: &Client, scope: &str) -> Result<Counts, Error> {
    let mut counts = Counts::new();
    for kind in KanaryKind::ALL {
        let (api, place): (Api<Kanary>, _) = match scope {
            "" => (Api::all_with(client.clone(), &kind), String::new()),
            scope => (
                Api::namespaced_with(client.clone(), scope, &kind),
                format!(" in namespace {scope}"),
            ),
        };
        match count_listed(&api, &mut counts).await {
            // Not served here: its definition, or the right to it, is missing.
            Err(kube::Error::Api(status)) if is_optional(kind) && [403, 404].contains(&status.code) => {}
            counted => counted.map_err(failed(format!("list {}{place}", kind.resource())))?,
        }
    }
    Ok(counts)
}

fn is_optional(kind: KanaryKind) -> bool {
    KanaryKind::OPTIONAL.contains(&kind)
}

async fn count_listed(api: &Api<Kanary>, counts: &mut Counts) -> kube::Result<()> {
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = api.list_metadata(&params).await?;
        for object in &page.items {
            let slot = object.labels().get(SLOT).and_then(|slot| slot.parse().ok());
            *counts.entry(slot).or_default() += 1;
        }
        params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
        if params.continue_token.is_none() {
            return Ok(());
        }
    }
}

impl Listing {
    /// Number of Kanaries in some shards; `?` if unknown.
    fn count(&self, shards: &[u16]) -> String {
        let Ok(kanaries) = &self.kanaries else {
            return "?".to_owned();
        };
        let of_shards = |slot: &Option<Slot>| slot.is_some_and(|slot| shards.contains(&self.layout.shard_of(slot)));
        let counts = kanaries.iter().filter(|(slot, _)| of_shards(slot));
        counts.map(|(_, count)| count).sum::<usize>().to_string()
    }

    /// A note about the counts, if there is one.
    fn remark(&self) -> Option<String> {
        let kanaries = match &self.kanaries {
            Ok(kanaries) => kanaries,
            Err(why) => return Some(format!("How many Kanaries there are is not known: {why}")),
        };
        let without = kanaries.get(&None)?;
        let then = if self.sessions.values().any(|session| self.is_renewed(session)) {
            "their owners label them within a second"
        } else {
            "no live replica can label them"
        };
        Some(format!("{without} Kanaries have no slot yet; {then}"))
    }

    /// Whether the session has not been ended.
    fn is_alive(&self, session: &str) -> bool {
        self.sessions.values().any(|known| known.holder == session)
    }

    /// Whether the session has not been ended, and was renewed in time.
    fn is_renewed(&self, session: &Session) -> bool {
        !session.holder.is_empty() && self.unrenewed(session) <= i64::from(session.ttl)
    }

    /// Seconds since the session was last renewed.
    fn unrenewed(&self, session: &Session) -> i64 {
        let renewed = session.renewed;
        renewed.map_or(i64::MAX, |renewed| self.now.duration_since(renewed).as_secs())
    }

    fn session(&self, session: &Session) -> [String; 6] {
        let owned = self.shards.values().filter(|shard| shard.holder == session.holder);
        let owned: Vec<_> = owned.map(|shard| shard.index).collect();
        let mut notes = Vec::new();
        if self.leader.as_ref() == Some(&session.identity) {
            notes.push("leads");
        }
        if session.draining {
            notes.push("is ending");
        }
        if !self.is_renewed(session) {
            notes.push("not renewed: gone, or cut off");
        }
        [
            session.identity.clone(),
            age(self.now.as_second() - session.since),
            format!("{} ago", age(self.unrenewed(session))),
            owned.len().to_string(),
            self.count(&owned),
            notes.join(", "),
        ]
    }

    fn shard(&self, index: u16) -> [String; 6] {
        let slots = self.layout.slots(index);
        let slots = format!("{}-{}", slots.start(), slots.end());
        let kanaries = self.count(&[index]);
        let Some(shard) = self.shards.get(&index) else {
            let nobody = "nobody yet".to_owned();
            return [index.to_string(), slots, kanaries, String::new(), nobody, String::new()];
        };
        let owner = match shard.holder.as_str() {
            "" => "nobody: given away".to_owned(),
            session if self.is_alive(session) => identity(session).to_owned(),
            session => format!("nobody: {} is gone", identity(session)),
        };
        let next = shard.next.as_deref().map(identity).unwrap_or_default().to_owned();
        let epoch = shard.epoch.to_string();
        [index.to_string(), slots, kanaries, epoch, owner, next]
    }
}

fn render(seen: &Listing) -> String {
    let alive = seen.sessions.values().filter(|session| !session.holder.is_empty());
    let mut replicas = vec![["REPLICA", "AGE", "RENEWED", "SHARDS", "KANARIES", "NOTES"].map(str::to_owned)];
    replicas.extend(alive.map(|session| seen.session(session)));
    let mut shards = vec![["SHARD", "SLOTS", "KANARIES", "EPOCH", "OWNER", "NEXT"].map(str::to_owned)];
    shards.extend((0..seen.layout.shards()).map(|index| seen.shard(index)));
    let mut text = table(&replicas);
    text.push('\n');
    text.push_str(&table(&shards));
    if let Some(remark) = seen.remark() {
        let _infallible = writeln!(text, "\n{remark}");
    }
    text
}

/// Formats columns, each as wide as its widest cell.
fn table(rows: &[[String; 6]]) -> String {
    let mut widths = [0; 6];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Seconds, as `kubectl get` shows them.
fn age(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7_200 => format!("{}m", seconds / 60),
        seconds @ 7_200..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests;
