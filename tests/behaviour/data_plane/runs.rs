//! Whole runs under 200 requests per second. No request may fail.

use std::time::{Duration, Instant};

use kanary_dataplane::load::{Answers, Running};
use serde_json::{Value, json};

use super::{
    assert_served, assert_share, instant, repetitions,
    site::{Dialect, GATEWAY_API, GRPC, ISTIO, Site, until_answered},
};
use crate::{
    routes::assert_untouched,
    support::{CANARY, DEPLOYMENT, KANARY, SERVICE, held, is_true, merge, reason, time},
};

/// How late a change may be seen that was made for certain.
const LAG: Duration = Duration::from_secs(1);

/// The canary gets these shares in turn.
fn weighted(steps: &[u8], interval: &str) -> Value {
    let weighted = json!({"steps": steps, "interval": interval});
    json!({
        "serviceName": "app", "traffic": {"source": "weighted", "weighted": weighted},
        "validation": {"validationPeriod": "5s"},
    })
}

/// Whether and when the controller is killed.
#[derive(Clone, Copy, PartialEq)]
enum Kills {
    None,
    /// After each change of the route, and again once it is in force.
    EachStep,
}

/// A run under load.
struct Run {
    site: Site,
    dialect: Dialect,
    original: Value,
    load: Running,
    kills: Kills,
}

impl Run {
    /// Starts a load, and a Kanary with this spec.
    async fn start(mut site: Site, dialect: Dialect, spec: Value, per_second: f64) -> Self {
        let original = site.route(dialect, json!([(dialect.split)(&[("app", 1)])])).await;
        site.start().await;
        let load = site.requests(dialect).per_second(per_second).start().unwrap();
        until_answered(&load, 100).await;
        site.world.kanary("batman", "app", spec).await;
        Self {
            site,
            dialect,
            original,
            load,
            kills: Kills::None,
        }
    }

    async fn disturb(&mut self) {
        if self.kills == Kills::EachStep {
            self.site.kill().await;
            self.site.start().await;
        }
    }

    /// Waits until the route gives the canary a share.
    async fn written(&mut self, percent: u8) {
        let what = format!("the route gives the canary {percent} %");
        let dialect = self.dialect;
        let gives = |route: &Value| dialect.percent(route, CANARY) == u64::from(percent);
        self.site.world.until(&dialect.kind, "app", &what, gives).await;
        self.disturb().await;
    }

    /// Waits until a share is in force. Returns since when this is known, and the Kanary.
    async fn in_force(&mut self, percent: u8) -> (Instant, Value) {
        let what = format!("{percent} % are in force");
        let world = &self.site.world;
        let is = |kanary: &Value| {
            let traffic = &kanary["status"]["traffic"];
            traffic["weight"] == percent && !traffic["since"].is_null()
        };
        let kanary = world.until(&KANARY, "batman", &what, is).await;
        let known = Instant::now();
        assert!(is_true(&kanary, "Traffic"), "{kanary:#}");
        self.disturb().await;
        (known, kanary)
    }

    /// Follows the steps. Returns the periods in which each share was in force for certain.
    async fn steps(&mut self, steps: &[u8]) -> Vec<(u8, Instant, Instant)> {
        let mut periods = Vec::new();
        let begun = Instant::now();
        for percent in steps {
            self.written(*percent).await;
            if periods.is_empty() {
                let ended = Instant::now().checked_sub(LAG).unwrap();
                periods.push((0, begun.min(ended), ended));
            }
            let (from, kanary) = self.in_force(*percent).await;
            let step = &kanary["status"]["traffic"];
            let end = if step["deadline"].is_null() {
                "/status/deadline"
            } else {
                "/status/traffic/deadline"
            };
            periods.push((*percent, from, instant(time(&kanary, end))));
        }
        periods
    }

    /// Waits until the canary is gone, and requests for some time after that. Returns all answers, and when it was known that the run
    /// is over.
    async fn over(self, what: &str) -> (Answers, Instant) {
        let world = &self.site.world;
        world.gone(&DEPLOYMENT, CANARY).await;
        world.gone(&SERVICE, CANARY).await;
        assert_untouched(&world.get(&self.dialect.kind, "app").await, &self.original);
        let over = Instant::now();
        // Deleted pods are gone after six seconds.
        until_answered(&self.load, self.load.answers().total() + 1400).await;
        let answers = self.load.stop().await;
        println!("{what}: {answers}");
        assert_served(&answers);
        (answers, over)
    }

    /// Waits until the target runs the version of the canary.
    async fn promoted(&mut self) {
        self.site.world.phase("batman", "Succeeded").await;
        self.disturb().await;
        self.site.world.ends("batman", "DeploymentUpdated").await;
    }
}

/// Asserts that the canary got its share in each period.
fn assert_shares(answers: &Answers, periods: &[(u8, Instant, Instant)]) {
    for (percent, from, to) in periods {
        let among = answers.between(*from, *to);
        println!(
            "  {percent} %: {among}, {:.2} deviations",
            among.deviations("v2", f64::from(*percent))
        );
        assert!(
            *percent == 0 || among.total() > 0,
            "no request in the period of {percent} %"
        );
        assert_share(&among, "v2", f64::from(*percent));
    }
}

async fn good(site: Site, dialect: Dialect, kills: Kills, what: &str) {
    let steps = [5, 10, 25, 50];
    let mut run = Run::start(site, dialect, weighted(&steps, "3s"), 200.0).await;
    run.kills = kills;
    let periods = run.steps(&steps).await;
    run.promoted().await;
    let (answers, over) = run.over(what).await;
    assert_shares(&answers, &periods);
    let after = answers.between(over, Instant::now());
    assert_eq!(after.of("v2"), after.total(), "after the promotion: {after}");
}

#[tokio::test]
async fn a_good_canary_fails_no_request_of_an_http_route() {
    for _ in 0..repetitions() {
        let Some(site) = Site::new().await else { return };
        good(site, GATEWAY_API, Kills::None, "a good canary, HTTPRoute").await;
    }
}

#[tokio::test]
async fn a_good_canary_fails_no_request_of_a_virtual_service() {
    for _ in 0..repetitions() {
        let Some(site) = Site::new().await else { return };
        good(site, ISTIO, Kills::None, "a good canary, VirtualService").await;
    }
}

#[tokio::test]
async fn a_good_canary_fails_no_call_of_a_grpc_route() {
    for _ in 0..repetitions() {
        let Some(site) = Site::new().await else { return };
        site.speaks_http2().await;
        good(site, GRPC, Kills::None, "a good canary, GRPCRoute").await;
    }
}

#[tokio::test]
async fn a_controller_that_is_killed_fails_no_request() {
    for run in 0..repetitions() {
        let Some(site) = Site::new().await else { return };
        let dialect = [GATEWAY_API, ISTIO][run % 2];
        good(site, dialect, Kills::EachStep, "a controller that is killed").await;
    }
}

/// A control plane that follows two seconds late.
#[tokio::test]
async fn a_control_plane_that_is_late_fails_no_request() {
    for run in 0..repetitions() {
        let Some(site) = Site::alone().await else { return };
        let plane = site.plane.clone();
        plane.restart_istiod("2s").await;
        let dialect = [GATEWAY_API, ISTIO][run % 2];
        good(site, dialect, Kills::None, "a control plane that is late").await;
        plane.restart_istiod("").await;
    }
}

/// How a run ends before its time.
#[derive(Clone, Copy)]
enum Ending {
    Rejected,
    Deleted,
}

/// Ends a run when the second step was written, or when it is in force.
async fn ended(site: Site, dialect: Dialect, ending: Ending, when_written: bool, what: &str) {
    let mut spec = weighted(&[20, 50], "2s");
    merge(&mut spec, json!({"validation": held()}));
    let mut run = Run::start(site, dialect, spec, 200.0).await;
    let periods = run.steps(&[20]).await;
    run.written(50).await;
    if !when_written {
        run.in_force(50).await;
    }
    match ending {
        Ending::Rejected => crate::routes::reject(&run.site.world, "batman").await,
        Ending::Deleted => {
            run.site.world.delete(&KANARY, "batman").await;
            run.site.world.gone(&KANARY, "batman").await;
        }
    }
    let (answers, over) = run.over(what).await;
    assert_shares(&answers, &periods);
    let after = answers.between(over, Instant::now());
    assert_eq!(after.of("v1"), after.total(), "after the end: {after}");
}

#[tokio::test]
async fn a_bad_canary_leaves_without_a_failed_request() {
    for run in 0..repetitions() {
        let Some(site) = Site::new().await else { return };
        let dialect = [GATEWAY_API, ISTIO][run % 2];
        ended(site, dialect, Ending::Rejected, run % 4 > 1, "a bad canary").await;
    }
}

#[tokio::test]
async fn a_kanary_that_is_deleted_leaves_without_a_failed_request() {
    for run in 0..repetitions() {
        let Some(site) = Site::new().await else { return };
        let dialect = [ISTIO, GATEWAY_API][run % 2];
        ended(site, dialect, Ending::Deleted, run % 4 > 1, "a deletion in mid-step").await;
    }
}

/// At least 10,000 requests at each step.
#[tokio::test]
async fn the_share_of_each_step_is_exact() {
    let Some(site) = Site::alone().await else { return };
    let steps = [5, 10, 25, 50];
    let mut run = Run::start(site, GATEWAY_API, weighted(&steps, "22s"), 500.0).await;
    let periods = run.steps(&steps).await;
    run.promoted().await;
    let (answers, _) = run.over("shares").await;
    assert_shares(&answers, &periods);
    for (percent, from, to) in periods.into_iter().filter(|(percent, ..)| *percent > 0) {
        let requests = answers.between(from, to).total();
        assert!(requests >= 10_000, "only {requests} requests at {percent} %");
    }
}

/// A gateway whose control plane hangs holds the run, and its end.
#[tokio::test]
async fn a_control_plane_that_hangs_holds_the_run_and_fails_no_request() {
    let Some(site) = Site::alone().await else { return };
    let mut spec = weighted(&[20, 50], "2s");
    merge(&mut spec, json!({"validation": held()}));
    let plane = site.plane.clone();
    let mut run = Run::start(site, GATEWAY_API, spec, 200.0).await;
    run.in_force(20).await;
    plane.signal_istiod("STOP").await;
    let behind = |kanary: &Value| reason(kanary, "Stalled") == "GatewayBehind";
    let world = &run.site.world;
    world.until(&KANARY, "batman", "the gateway is behind", behind).await;
    let since = Instant::now();
    until_answered(&run.load, run.load.answers().total() + 1000).await;
    assert_share(&run.load.answers().between(since, Instant::now()), "v2", 20.0);
    world.edit("batman", json!({"verdict": "invalid"})).await;
    world
        .until(&KANARY, "batman", "it has failed", |kanary| is_true(kanary, "Failed"))
        .await;
    until_answered(&run.load, run.load.answers().total() + 1000).await;
    let canary = world.get(&DEPLOYMENT, CANARY).await;
    plane.signal_istiod("CONT").await;
    assert_eq!(
        canary["status"]["readyReplicas"], 1,
        "it still gets requests: {canary:#}"
    );
    world.ends("batman", "Failed").await;
    run.over("a control plane that hangs").await;
}
