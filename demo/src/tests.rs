//! The whole demo, without a terminal and without real time; and what it looks like.

#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use expect_test::{Expect, expect};
use kanary_core::api::KanaryStatus;
use serde_json::json;

use super::{
    costs::Costs,
    model::{Measured, Model, News, Pods, Row, State},
    pace::Pace,
    script::{Part, Script, Start},
    show::Output,
    table::{Screen, Size, frame},
    *,
};

/// What was written.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn start() -> Start {
    Start("2026-11-22T08:00:00Z".parse().unwrap())
}

fn played(seed: u64, canaries: u32) -> String {
    let (paper, options) = (
        Paper::default(),
        Options {
            canaries,
            speed: 1,
            listen: None,
            seed,
        },
    );
    let output = Output::Lines(Box::new(paper.clone()));
    let ending = on_paused_time(play(options, start(), Pace::new(None), || Ok(output))).unwrap();
    assert_eq!(ending, Ending::Complete);
    let written = paper.0.lock().unwrap();
    String::from_utf8(written.clone()).unwrap()
}

#[test]
fn all_comes_to_the_end_that_the_script_says_and_the_same_seed_to_the_same_lines() {
    let first = played(1, 6);
    let (_, summary) = first.split_once("\n\n").unwrap();
    let (ends, _) = summary.split_once("\n\n").unwrap();
    // Numbers and times are chance's.
    let ends: Vec<_> = ends
        .lines()
        .map(|line| line.trim().split("  ").next().unwrap())
        .collect();
    expect![[r#"
        10 promoted: their Deployments run the new version
        checkout-good
        cart-weighted
        billing-manual
        frontend-later
        profile-first
        pricing-2
        mailer-1
        events-6
        … and 2 more
        1 passed: a dry-run leaves the Deployment alone
        catalog-dry-run
        7 failed: removed, and their Deployments were not changed
        payments-slow
        search-5xx
        orders-weighted
        reports-alert
        profile-second
        images-broken
        imports-3
        1 waiting: no data is not success, so they wait and are not promoted
        emails-no-data"#]]
    .assert_eq(&ends.join("\n"));
    assert_eq!(played(1, 6), first);
}

fn at(clock: &str) -> jiff::Timestamp {
    format!("2026-11-22T{clock}Z").parse().unwrap()
}

/// A part of the script, with this status.
fn row(part: &Part, state: State, status: serde_json::Value) -> Row {
    let mut status: KanaryStatus = serde_json::from_value(status).unwrap();
    if state != State::Scheduled {
        status.available_at = Some(at("08:00:40"));
        status.deadline = Some(at("08:11:40"));
    }
    let manifest = part.manifest(start());
    Row {
        name: part.name.clone(),
        part: Some(part.clone()),
        spec: serde_json::from_value(manifest["spec"].clone()).unwrap(),
        status,
        state,
        created: at("08:00:30"),
        changed: at("08:00:30"),
        pods: Some(Pods {
            ready: 1,
            wanted: 1,
            since: Some(at("08:00:31")),
        }),
        former: Some(format!("{}:v1", part.target)),
        measured: Measured::Never,
    }
}

fn condition(kind: &str, reason: &str, message: &str) -> serde_json::Value {
    json!({"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": "2026-11-22T08:05:00Z"})
}

/// A part of the script that everybody sees.
fn scripted(name: &str) -> Part {
    let script = Script::new(1, 0);
    script.parts.into_iter().find(|part| part.name == name).unwrap()
}

fn rows() -> Vec<Row> {
    let ended = "2026-11-22T08:05:00Z";
    let failed = |reason, message| json!({"completedAt": ended, "conditions": [condition("Failed", reason, message)]});
    let slow = json!({"name": "promQL[0]", "state": "Bad", "lastValue": 0.6123});
    let good = json!({"name": "promQL[0]", "state": "Good", "lastValue": 0.00312});
    let second = json!({"traffic": {"route": {"kind": "HTTPRoute", "name": "cart"}, "step": 2, "weight": 25}});
    let mut judging = row(&scripted("cart-weighted"), State::Judging, second);
    judging.measured = Measured::Value(0.0023);
    let mut too_slow = row(
        &scripted("payments-slow"),
        State::Failed,
        failed("PromQLFailed", "promQL[0]: 0.6123"),
    );
    too_slow.status.items = vec![serde_json::from_value(slow).unwrap()];
    let mut later = scripted("frontend-later");
    later.schedule = Some(script::minutes(8));
    let mut scheduled = row(&later, State::Scheduled, json!({}));
    scheduled.pods = None;
    let mut promoted = row(
        &scripted("profile-first"),
        State::Promoted,
        json!({"completedAt": ended, "items": [good]}),
    );
    promoted.pods = None;
    let mut no_data = row(
        &scripted("emails-no-data"),
        State::Waiting,
        json!({"conditions": [condition("Stalled", "NoData", "")]}),
    );
    (no_data.measured, no_data.status.deadline) = (Measured::NoData, Some(at("08:04:30")));
    let mut long = Part::new(
        &"long-".repeat(12),
        "結帳服務",
        script::minutes(10),
        &[manifests::manual()],
    );
    long.about = "its name is long, and its target's is wide";
    let mut broken = row(&scripted("images-broken"), State::Starting, json!({}));
    broken.pods = broken.pods.map(|pods| Pods { ready: 0, ..pods });
    vec![
        judging,
        too_slow,
        scheduled,
        promoted,
        no_data,
        broken,
        row(
            &scripted("reports-alert"),
            State::Failed,
            failed("LabelMatched", "labelWatch[0]: pod x"),
        ),
        row(
            &long,
            State::Promoting,
            json!({"conditions": [condition("Succeeded", "ManualValid", "")]}),
        ),
    ]
}

fn shown(size: Size, coloured: bool) -> Vec<String> {
    let mut model = Model::default();
    model.rows = rows();
    let news = [
        (
            State::Judging,
            "until 08:11:40: error rate must stay ≤ 1 %",
            "until 08:11:40",
        ),
        (
            State::Failed,
            "p99 latency 612 ms > 500 ms, payments left alone",
            "p99 latency 612 ms > 500 ms",
        ),
    ];
    let news = news.map(|(state, text, brief)| News {
        at: at("08:04:55"),
        who: "checkout-good".to_owned(),
        state: Some(state),
        text: text.to_owned(),
        brief: brief.to_owned(),
    });
    let costs = Costs {
        writes: 34,
        queries: 87,
        events: 12,
        ..Costs::default()
    };
    let screen = Screen {
        model: &model,
        news: &news,
        costs: &costs,
        started: at("08:00:00"),
        now: at("08:05:10"),
        speed: "30× real time",
        footer: &["Ctrl-C ends it.".to_owned()],
    };
    frame(&screen, size, coloured)
}

fn check(size: Size, expected: &Expect) {
    let lines = shown(size, false);
    for line in &lines {
        assert!(
            unicode_width::UnicodeWidthStr::width(line.as_str()) <= size.width,
            "{line}"
        );
    }
    assert!(lines.len() <= size.height);
    expected.assert_eq(&format!("{}\n", lines.join("\n")));
}

#[test]
fn the_table_fits_80_columns() {
    let size = Size { width: 80, height: 24 };
    check(
        size,
        &expect![[r#"
            kanary demo  08:05:10 UTC, 5m10s in  30× real time  34 writes, 87 queries
            8 Kanaries  1 promoted  2 failed  1 waiting  1 promoting  1 judging  1 starting

            NAME            STATE      TO DEADLINE      PODS JUDGED BY, RESULT
            cart-weighted   judging    ━━━───── 6m30s   1/1  error rate 0.23 % ≤ 1 % at 25 %
            payments-slow   failed     ━━━───── 4m30s   1/1  p99 latency 612 ms > 500 ms
            frontend-later  scheduled  starts in 2m50s  -    p99 latency ≤ 500 ms
            profile-first   promoted   ━━━━━━━━ 4m30s   -    profile v1 → v2
            emails-no-data  waiting    ━━━━━━━━ +40s    1/1  no data: not promoted
            images-broken   starting   ━━━━──── 3m21s   0/1  error rate ≤ 1 %
            reports-alert   failed     ━━━───── 4m30s   1/1  an alert labelled its pod
            long-long-long… promoting  target rolls out 1/1  結帳服務 v1 → v2, rolling out

            08:04:55 checkout-good   judging    until 08:11:40
            08:04:55 checkout-good   failed     p99 latency 612 ms > 500 ms

            Ctrl-C ends it.
        "#]],
    );
}

#[test]
fn the_table_uses_200_columns() {
    let size = Size { width: 200, height: 50 };
    check(
        size,
        &expect![[r#"
            kanary demo  08:05:10 UTC, 5m10s in  30× real time  Kanary so far: 34 writes, 12 Events, 0 live reads, 87 queries
            8 Kanaries  1 promoted  2 failed  1 waiting  1 promoting  1 judging  1 starting  1 scheduled

            NAME                              STATE       TO DEADLINE                    PODS   JUDGED BY                        RESULT
            cart-weighted                     judging     ━━━━━━━━──────────── 6m30s     1/1    error rate 0.23 % ≤ 1 % at 25 %  gets more requests in steps
            payments-slow                     failed      ━━━━━━━───────────── 4m30s     1/1    p99 latency 612 ms > 500 ms      payments left alone
            frontend-later                    scheduled   starts in 2m50s                -      p99 latency ≤ 500 ms             starts on schedule
            profile-first                     promoted    ━━━━━━━━━━━━━━━━━━━━ 4m30s     -      error rate 0.31 % ≤ 1 %          profile v1 → v2
            emails-no-data                    waiting     ━━━━━━━━━━━━━━━━━━━━ +40s      1/1    error rate: no data              no data: not promoted
            images-broken                     starting    ━━━━━━━━━━━───────── 3m21s     0/1    error rate ≤ 1 %                 its pods never become ready
            reports-alert                     failed      ━━━━━━━───────────── 4m30s     1/1    no alert on its pods             an alert labelled its pod
            long-long-long-long-long-long-l…  promoting   target rolls out               1/1    needs a manual verdict           結帳服務 v1 → v2, rolling out

            08:04:55  checkout-good                     judging     until 08:11:40: error rate must stay ≤ 1 %
            08:04:55  checkout-good                     failed      p99 latency 612 ms > 500 ms, payments left alone

            Ctrl-C ends it.
        "#]],
    );
}

#[test]
fn what_there_is_no_room_for_is_counted() {
    let size = Size { width: 60, height: 14 };
    check(
        size,
        &expect![[r#"
            kanary demo  08:05:10 UTC, 5m10s in  30× real time  34 writ…
            8 Kanaries  1 promoted  2 failed  1 waiting  1 promoting  1…

            NAME            STATE      TO DEADLINE      PODS JUDGED BY,…
            images-broken   starting   ━━━━──── 3m21s   0/1  error rate…
            reports-alert   failed     ━━━───── 4m30s   1/1  an alert l…
            long-long-long… promoting  target rolls out 1/1  結帳服務 v…
            … and 5 more

            08:04:55 checkout-good   judging    until 08:11:40
            08:04:55 checkout-good   failed     p99 latency 612 ms > 50…

            Ctrl-C ends it.
        "#]],
    );
}

#[test]
fn colours_change_nothing_but_the_colour() {
    let size = Size { width: 80, height: 24 };
    let plain = shown(size, true).into_iter().map(|line| {
        let mut parts = line.split('\x1b');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |text, part| text + part.split_once('m').unwrap().1)
    });
    assert_eq!(plain.collect::<Vec<_>>(), shown(size, false));
}

/// What the summary says of them: a line for all, and one for each.
fn summed_up(rows: &[&Row]) -> Vec<String> {
    let mut model = Model::default();
    model.rows = rows.iter().map(|row| (*row).clone()).collect();
    let passed = jiff::SignedDuration::from_mins(10);
    let lines = lines::summary(&model, &Costs::default(), passed, usize::MAX, false);
    let lines = lines.into_iter().skip(2);
    lines.take_while(|line| !line.is_empty()).collect()
}

#[test]
fn only_of_what_was_taken_away_and_touched_nothing_the_summary_says_so() {
    let failed = |part: &Part, before: serde_json::Value| {
        let conditions = [before, condition("Failed", "PromQLFailed", "")];
        row(part, State::Failed, json!({"conditions": conditions}))
    };
    let part = scripted("search-5xx");
    let running = || condition("Scheduled", "InitialDelay", "");
    let deleted = failed(&part, running());
    let retained = failed(&part.clone().with("rollout", "onFailure", "retain"), running());
    let mut passed = condition("Succeeded", "AllItemsGood", "");
    passed["status"] = json!("False");
    let rolled_back = failed(&part, passed);
    let created = failed(&part, condition("Scheduled", "TargetCreated", ""));
    for (rows, expected) in [
        (
            [&deleted, &deleted],
            "2 failed: removed, and their Deployments were not changed",
        ),
        (
            [&deleted, &retained],
            "2 failed: out of traffic, and their Deployments were not changed",
        ),
        ([&deleted, &rolled_back], "2 failed"),
        ([&retained, &created], "2 failed"),
    ] {
        assert_eq!(summed_up(&rows)[0], expected);
    }
}

#[test]
fn the_summary_says_why_each_of_those_that_wait_does() {
    let waits = |name: &str, status| row(&scripted(name), State::Waiting, status);
    let no_data = waits(
        "emails-no-data",
        json!({"conditions": [condition("Stalled", "NoData", "")]}),
    );
    let manual = waits(
        "billing-manual",
        json!({"conditions": [condition("Reconciling", "WaitingForManual", "")]}),
    );
    let paused = waits("checkout-good", json!({"pausedAt": "2026-11-22T08:05:00Z"}));
    expect![[r#"
        1 waiting: no data is not success, so they wait and are not promoted
          emails-no-data  no data: not promoted"#]]
    .assert_eq(&summed_up(&[&no_data]).join("\n"));
    expect![[r#"
        3 waiting: no verdict yet, so they are not promoted
          emails-no-data  no data: not promoted
          billing-manual  waits for a person
          checkout-good   paused"#]]
    .assert_eq(&summed_up(&[&no_data, &manual, &paused]).join("\n"));
}
