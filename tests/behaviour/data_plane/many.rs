//! Many canaries at once, each behind a route of its own.

use std::collections::BTreeMap;

use futures::StreamExt;
use kanary_dataplane::load::Running;
use serde_json::{Value, json};

use super::{
    assert_served,
    site::{Dialect, GATEWAY_API, ISTIO, Site, until_answered},
};
use crate::{
    routes::assert_untouched,
    support::{DEPLOYMENT, KANARY, Recording, SERVICE, Seen, create_fleet, fleet_ends, phase},
};

const CANARIES: usize = 500;
const STEPS: [u8; 2] = [20, 50];
/// Label of all objects of runs.
const IS_KANARY: &str = "kanary.k8s-operators.dev/iskanary";

fn dialect(number: usize) -> Dialect {
    [GATEWAY_API, ISTIO][number % 2]
}

/// Every fifth canary is bad.
fn is_good(number: usize) -> bool {
    !number.is_multiple_of(5)
}

fn spec(number: usize) -> Value {
    let verdict = if is_good(number) { "valid" } else { "invalid" };
    json!({
        "serviceName": format!("app-{number}"),
        "traffic": {
            "source": "weighted", "weighted": {"steps": STEPS, "interval": "2s"},
            "route": {"kind": dialect(number).kind.kind, "name": format!("app-{number}")},
        },
        "validation": {"validationPeriod": "20s", "items": [{"manual": {"statusAfterDeadline": verdict}}]},
    })
}

/// Services and routes. Returns the routes by number.
async fn routes(site: &Site) -> BTreeMap<usize, Value> {
    let create = async |number: usize| {
        let app = format!("app-{number}");
        site.world.service(&app, &app).await;
        let dialect = dialect(number);
        let rule = (dialect.split)(&[(&app, 1)]);
        (number, site.route_of(dialect, &app, json!([rule])).await)
    };
    let create = &create;
    let routes = futures::stream::iter((0..CANARIES).map(async |number| create(number).await));
    routes.buffer_unordered(16).collect().await
}

/// Asserts that each share came after the step before it was in force, by the order of the API server's versions.
fn assert_in_order(routes: &[(u64, u64)], statuses: &[(u64, u64)]) {
    for (version, percent) in routes {
        let before = STEPS.iter().rev().find(|step| u64::from(**step) < *percent);
        let Some(before) = before else { continue };
        let earned = |(at, weight): &(u64, u64)| at < version && *weight == u64::from(*before);
        assert!(
            statuses.iter().any(earned),
            "{percent} % before {before} % was in force: {routes:?}, {statuses:?}"
        );
    }
    let known = |percent: u64| percent == 0 || STEPS.iter().any(|step| u64::from(*step) == percent);
    assert!(routes.iter().all(|(_, percent)| known(*percent)), "{routes:?}");
}

/// What was recorded of all routes and all Kanaries.
struct Recorded {
    /// Of `HTTPRoutes` and of `VirtualServices`.
    routes: [Recording; 2],
    kanaries: Recording,
}

impl Recorded {
    async fn start(site: &Site) -> Self {
        let record = async |kind| site.world.record(kind).await;
        Self {
            routes: [record(GATEWAY_API.kind).await, record(ISTIO.kind).await],
            kanaries: record(KANARY).await,
        }
    }

    /// Asserts that each share of a canary came after the step before it was in force, and that it got all of them.
    fn assert_in_order(&self, number: usize) {
        let (app, kanary) = (format!("app-{number}"), format!("fleet-{number}"));
        let canary = format!("{app}-kanary-{kanary}");
        let states = self.routes[number % 2].of(&app);
        let percent = |seen: &Seen| dialect(number).percent(&seen.object, &canary);
        let shares: Vec<_> = states.iter().map(|seen| (seen.version, percent(seen))).collect();
        let statuses = self.kanaries.of(&kanary);
        let in_force = statuses.iter().filter_map(|seen| {
            let traffic = &seen.object["status"]["traffic"];
            let weight = traffic["weight"].as_u64().filter(|_| !traffic["since"].is_null());
            Some((seen.version, weight?))
        });
        assert_in_order(&shares, &in_force.collect::<Vec<_>>());
        assert!(shares.iter().any(|(_, percent)| *percent == 50), "{app}: {shares:?}");
    }
}

/// Waits until every canary has had its first share. There is no time limit while some make progress.
async fn all_have_a_share(site: &Site) {
    for tenth in 1..=10 {
        let least = CANARIES * tenth / 10;
        let what = format!("{least} canaries have had a share");
        let has = |kanary: &&&Value| !kanary["status"]["validationStartTime"].is_null();
        let enough = |kanaries: &[&Value]| kanaries.iter().filter(has).count() >= least;
        site.world.until_all(&KANARY, "", &what, enough).await;
    }
}

/// Loads through the routes of the first ten canaries.
async fn loads(site: &Site) -> Vec<Running> {
    let mut loads = Vec::new();
    for number in 0..10 {
        let load = site
            .requests_of(dialect(number), &format!("app-{number}"))
            .per_second(20.0);
        site.plane.until_answers(&load, "v1").await;
        loads.push(load.start().unwrap());
    }
    loads
}

#[tokio::test]
async fn five_hundred_canaries_with_shares_end_as_they_should() {
    let Some(mut site) = Site::alone().await else { return };
    let originals = routes(&site).await;
    // While routes change all the time, istiod collects changes for up to ten seconds.
    site.start_settling("12s").await;
    let recorded = Recorded::start(&site).await;
    create_fleet(&site.world, CANARIES, spec).await;
    let loads = loads(&site).await;
    all_have_a_share(&site).await;
    let ended = fleet_ends(&site.world, CANARIES).await;
    assert_eq!(ended.len(), CANARIES);
    for kanary in &ended {
        let name = kanary["metadata"]["name"].as_str().unwrap();
        let number: usize = name.strip_prefix("fleet-").unwrap().parse().unwrap();
        let wanted = if is_good(number) { "DeploymentUpdated" } else { "Failed" };
        assert_eq!(phase(kanary), wanted, "{kanary:#}");
        recorded.assert_in_order(number);
        let route = site.world.get(&dialect(number).kind, &format!("app-{number}")).await;
        assert_untouched(&route, &originals[&number]);
    }
    for kind in [DEPLOYMENT, SERVICE] {
        site.world.none_left(&kind, IS_KANARY).await;
    }
    let mut total = 0;
    for load in loads {
        until_answered(&load, load.answers().total() + 60).await;
        let answers = load.stop().await;
        assert_served(&answers);
        total += answers.total();
    }
    println!("{CANARIES} canaries ended as they should; {total} requests through ten of the routes, 0 failed");
}
