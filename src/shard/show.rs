//! `kanary shards`: which replica acts on what, for the person who is on call. Read from the cluster; nothing is written.

use std::{collections::BTreeMap, fmt::Write};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, ResourceExt, api::ListParams};

use super::{
    lease::{self, LEADER, Read, Session, Shard, identity},
    map,
    slot::{Layout, Slot},
};
use crate::{
    api::{
        Kanary, KanaryKind,
        names::{LEASE, SLOT},
    },
    clock::Clock,
    error::words,
};

/// Kanaries on a page of a list.
const PAGE: u32 = 500;

/// Everything that is shown.
#[derive(Debug)]
struct Seen {
    layout: Layout,
    now: Timestamp,
    sessions: BTreeMap<String, Session>,
    shards: BTreeMap<u16, Shard>,
    leader: Option<String>,
    /// Kanaries by slot; under `None` those without one.
    kanaries: BTreeMap<Option<Slot>, usize>,
}

/// Why it cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call failed. Why is in the text, so it is no source that would be told once more.
    #[error("could not {what}: {why}", why = words(.error))]
    Call {
        /// What was asked for.
        what: String,
        /// Why it failed.
        error: Box<kube::Error>,
    },
    /// The number of shards cannot be told.
    #[error(transparent)]
    Map(#[from] map::Error),
    /// Nobody shares anything there.
    #[error(
        "no Leases of Kanary in namespace {0}: name the namespace of the controller with --lease-namespace, or it runs \
         with --standalone"
    )]
    Nothing(String),
}

/// What `kanary shards` prints. `clock` is the one that the client's replies set.
///
/// # Errors
///
/// See [`Error`].
pub async fn text(client: Client, namespace: &str, clock: &Clock) -> Result<String, Error> {
    let seen = read(client, namespace, clock).await?;
    Ok(render(&seen))
}

/// Tells what was asked for when it failed.
fn failed(what: String) -> impl FnOnce(kube::Error) -> Error {
    move |error| Error::Call {
        what,
        error: Box::new(error),
    }
}

async fn read(client: Client, namespace: &str, clock: &Clock) -> Result<Seen, Error> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let layout = map::stored(client.clone(), namespace).await?;
    let Some(layout) = layout else {
        return Err(Error::Nothing(namespace.to_owned()));
    };
    let mut seen = Seen {
        layout,
        now: clock.now(),
        sessions: BTreeMap::new(),
        shards: BTreeMap::new(),
        leader: None,
        kanaries: BTreeMap::new(),
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
    for kind in KanaryKind::ALL {
        let counted = count(client.clone(), kind, &mut seen.kanaries).await;
        counted.map_err(failed(format!("list {}", kind.plural())))?;
    }
    Ok(seen)
}

async fn count(client: Client, kind: KanaryKind, kanaries: &mut BTreeMap<Option<Slot>, usize>) -> kube::Result<()> {
    let api: Api<Kanary> = Api::all_with(client, &kind);
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = api.list_metadata(&params).await?;
        for object in &page.items {
            let slot = object.labels().get(SLOT).and_then(|slot| slot.parse().ok());
            *kanaries.entry(slot).or_default() += 1;
        }
        params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
        if params.continue_token.is_none() {
            return Ok(());
        }
    }
}

impl Seen {
    /// Kanaries of a shard.
    fn count(&self, shard: u16) -> usize {
        let of_shard = |slot: &Option<Slot>| slot.is_some_and(|slot| self.layout.shard_of(slot) == shard);
        let counts = self.kanaries.iter().filter(|(slot, _)| of_shard(slot));
        counts.map(|(_, count)| count).sum()
    }

    /// Whether a session has not been ended.
    fn is_alive(&self, session: &str) -> bool {
        self.sessions.values().any(|known| known.holder == session)
    }

    fn session(&self, session: &Session) -> [String; 6] {
        let owned = self.shards.values().filter(|shard| shard.holder == session.holder);
        let owned: Vec<_> = owned.map(|shard| shard.index).collect();
        let renewed = session
            .renewed
            .map_or(i64::MAX, |renewed| self.now.duration_since(renewed).as_secs());
        let mut notes = Vec::new();
        if self.leader.as_ref() == Some(&session.identity) {
            notes.push("leads");
        }
        if session.draining {
            notes.push("is ending");
        }
        if renewed > i64::from(session.ttl) {
            notes.push("not renewed: gone, or cut off");
        }
        [
            session.identity.clone(),
            age(self.now.as_second() - session.since),
            format!("{} ago", age(renewed)),
            owned.len().to_string(),
            owned.iter().map(|shard| self.count(*shard)).sum::<usize>().to_string(),
            notes.join(", "),
        ]
    }

    fn shard(&self, index: u16) -> [String; 6] {
        let slots = self.layout.slots(index);
        let slots = format!("{}-{}", slots.start(), slots.end());
        let kanaries = self.count(index).to_string();
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

fn render(seen: &Seen) -> String {
    let alive = seen.sessions.values().filter(|session| !session.holder.is_empty());
    let mut replicas = vec![["REPLICA", "AGE", "RENEWED", "SHARDS", "KANARIES", "NOTES"].map(str::to_owned)];
    replicas.extend(alive.map(|session| seen.session(session)));
    let mut shards = vec![["SHARD", "SLOTS", "KANARIES", "EPOCH", "OWNER", "NEXT"].map(str::to_owned)];
    shards.extend((0..seen.layout.shards()).map(|index| seen.shard(index)));
    let mut text = table(&replicas);
    text.push('\n');
    text.push_str(&table(&shards));
    let without = seen.kanaries.get(&None).copied().unwrap_or_default();
    if without > 0 {
        let _infallible = writeln!(
            text,
            "\n{without} Kanaries have no slot yet; their owners label them within a second"
        );
    }
    text
}

/// Columns, each as wide as its widest cell.
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
mod tests {
    use std::future::ready;

    use expect_test::expect;
    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};
    use tower::service_fn;

    use super::*;

    /// All that users read of the error, if the API server answers so for a path.
    async fn said(answer: impl Fn(&str) -> (u16, Value) + Send + 'static) -> String {
        let service = service_fn(move |request: Request<Body>| {
            let (code, body) = answer(request.uri().path());
            let reply = Response::builder().status(code);
            ready(reply.body(Body::from(body.to_string().into_bytes())))
        });
        let clock = Clock::from_source(|| Timestamp::UNIX_EPOCH);
        let error = text(Client::new(service, "default"), "shop", &clock).await;
        format!("{:#}", anyhow::Error::from(error.unwrap_err()))
    }

    fn refusal(code: u16, reason: &str) -> (u16, Value) {
        let status = json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": "why"});
        (code, status)
    }

    fn shard_map(shards: &str) -> (u16, Value) {
        (
            200,
            json!({"metadata": {"name": map::NAME}, "data": {"shards": shards}}),
        )
    }

    #[tokio::test]
    async fn a_refusal_is_told_once_and_with_what_was_asked_for() {
        let said = said(|path| {
            if path.ends_with(map::NAME) {
                shard_map("4")
            } else {
                refusal(403, "Forbidden")
            }
        });
        assert_eq!(said.await, "could not list Leases in namespace shop: why");
    }

    #[tokio::test]
    async fn a_shard_map_that_cannot_be_read_is_told_with_what_to_mend() {
        for (answer, told) in [
            (
                refusal(403, "Forbidden"),
                "ConfigMap kanary-shardmap in namespace shop: why",
            ),
            (
                shard_map("many"),
                "ConfigMap kanary-shardmap has no valid number of `shards` (many): stop all replicas, delete it, and \
                 start them again",
            ),
            (
                refusal(404, "NotFound"),
                "no Leases of Kanary in namespace shop: name the namespace of the controller with --lease-namespace, \
                 or it runs with --standalone",
            ),
        ] {
            assert_eq!(said(move |_| answer.clone()).await, told);
        }
    }

    fn session(name: &str, renewed: i64) -> (String, Session) {
        let now = Timestamp::from_second(10_000).unwrap();
        let session = Session {
            identity: name.to_owned(),
            holder: format!("{name}/1"),
            since: 10_000 - 600,
            renewed: now.checked_sub(jiff::SignedDuration::from_secs(renewed)).ok(),
            ttl: 15,
            ..Session::default()
        };
        (name.to_owned(), session)
    }

    #[test]
    fn it_shows_who_acts_on_what_and_what_nobody_does() {
        let shard = |index, holder: &str, next: Option<&str>| {
            let shard = Shard {
                index,
                holder: holder.to_owned(),
                epoch: 7,
                next: next.map(str::to_owned),
                version: None,
            };
            (index, shard)
        };
        let seen = Seen {
            layout: Layout::new(4).unwrap(),
            now: Timestamp::from_second(10_000).unwrap(),
            sessions: BTreeMap::from([session("kanary-a", 2), session("kanary-b", 40)]),
            shards: BTreeMap::from([
                shard(0, "kanary-a/1", None),
                shard(1, "kanary-b/1", Some("kanary-a/1")),
                shard(2, "kanary-c/9", None),
            ]),
            leader: Some("kanary-a".to_owned()),
            kanaries: BTreeMap::from([(None, 2), ("00".parse().ok(), 3), ("41".parse().ok(), 4)]),
        };
        expect![[r"
            REPLICA   AGE  RENEWED  SHARDS  KANARIES  NOTES
            kanary-a  10m  2s ago   1       3         leads
            kanary-b  10m  40s ago  1       4         not renewed: gone, or cut off

            SHARD  SLOTS  KANARIES  EPOCH  OWNER                     NEXT
            0      00-3f  3         7      kanary-a
            1      40-7f  4         7      kanary-b                  kanary-a
            2      80-bf  0         7      nobody: kanary-c is gone
            3      c0-ff  0                nobody yet

            2 Kanaries have no slot yet; their owners label them within a second
        "]]
        .assert_eq(&render(&seen));
    }
}
