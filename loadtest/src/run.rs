//! One run: prepares the cluster, creates the Kanaries, waits for their end, and collects what was measured.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    api::{Api, deployments, kanaries},
    apiserver::Counters,
    arrivals,
    audit::{self, Requests},
    board::{Board, Canary},
    disturbance::{self, Mark},
    floor,
    plan::{Operator, Part, Plan},
    plane::{Plane, check_program},
    processes::{self, Recorder, Sample, Total},
    prometheus::{Counts, FakePrometheus},
    replicas::{self, Replica, Starter},
    tenant::Trouble,
    watch::Watches,
    workload,
};

/// Name of this process in the samples.
pub(crate) const GENERATOR: &str = "generator";

/// Share of the machine that may be busy when a run begins.
const CALM: f64 = 0.25;

/// What was measured.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) part: Part,
    /// The first intended arrival.
    pub(crate) begin: Timestamp,
    /// Seconds from the first arrival to the end of the last canary.
    pub(crate) lasted: f64,
    pub(crate) canaries: Vec<Canary>,
    pub(crate) totals: BTreeMap<String, Total>,
    pub(crate) samples: Vec<Sample>,
    /// By user.
    pub(crate) requests: BTreeMap<String, Requests>,
    /// Watches that Kanary opened since its first replica was started.
    pub(crate) watches: u64,
    pub(crate) queries: Counts,
    /// 99th percentile of the API server's writes in seconds.
    pub(crate) write_p99: Option<f64>,
    /// Requests that the API server refused with 429.
    pub(crate) throttled: f64,
    pub(crate) marks: Vec<Mark>,
    /// Anything that makes the figures doubtful.
    pub(crate) doubts: Vec<String>,
}

impl Run {
    pub(crate) fn promoted(&self) -> usize {
        self.canaries.iter().filter(|canary| canary.promoted.is_some()).count()
    }

    pub(crate) fn failed(&self) -> usize {
        self.canaries.iter().filter(|canary| canary.failure.is_some()).count()
    }

    /// Whether every canary was promoted.
    pub(crate) fn is_complete(&self) -> bool {
        self.promoted() == self.canaries.len() && self.failed() == 0
    }
}

/// Carries out all runs of a plan, one after the other.
pub(crate) async fn all(plan: &Plan) -> anyhow::Result<Vec<Run>> {
    if plan.operators.contains(&Operator::Kanary) {
        check_program(&plan.program)?;
    }
    let plane = Arc::new(Plane::prepare().await.context("could not prepare the control plane")?);
    let plan = Arc::new(plan.clone());
    let mut runs = Vec::new();
    for part in plan.parts() {
        let tenant = if part.tenant.is_some() {
            " beside the tenant"
        } else {
            ""
        };
        eprintln!(
            "loadtest: {} with {} canaries{tenant}",
            part.operator.name(),
            part.canaries
        );
        runs.push(one(&plan, &plane, part).await?);
        for kind in ["load", "tenant"] {
            plane.delete_namespace(&format!("{kind}-{}", part.number + 1)).await?;
        }
    }
    Ok(runs)
}

/// Everything that the tasks of a run share.
struct Rig {
    plan: Arc<Plan>,
    plane: Arc<Plane>,
    board: Arc<Board>,
    prometheus: Arc<FakePrometheus>,
    /// Limits the writes in flight.
    permits: Semaphore,
    errors: Mutex<Vec<String>>,
}

/// Records the programs of the plane and this one.
fn recorder(plane: &Plane) -> anyhow::Result<Recorder> {
    let recorder = Recorder::new();
    for (name, pid) in plane.processes()? {
        recorder.track(name, pid);
    }
    recorder.track(GENERATOR, std::process::id());
    Ok(recorder)
}

async fn one(plan: &Arc<Plan>, plane: &Arc<Plane>, part: Part) -> anyhow::Result<Run> {
    let board = |kind: &str, canaries| {
        Arc::new(Board::new(
            format!("{kind}-{}", part.number + 1),
            part.operator,
            canaries,
        ))
    };
    let load = board("load", part.canaries);
    let tenant = part.tenant.map(|tenant| (tenant, board("tenant", tenant.kanaries())));
    let boards: Vec<_> = std::iter::once(&load)
        .chain(tenant.as_ref().map(|(_, board)| board))
        .cloned()
        .collect();
    let watches = Watches::start(&plane.admin, &boards);
    for board in &boards {
        plane.create_namespace(&board.namespace).await?;
        targets(plan, &plane.admin, board).await?;
    }

    let recorder = recorder(plane)?;
    let (plan, plane) = (plan.clone(), plane.clone());
    let starter = Starter {
        plan,
        plane,
        recorder,
        part: part.number,
    };
    let audit_offset = audit::end(&starter.plane.audit_log)?;
    let mut replicas = Vec::new();
    if part.operator == Operator::Kanary {
        for number in 1..=starter.plan.replicas {
            replicas.push(starter.start(&format!("kanary-{number}"), "a").await?);
        }
        replicas::divide(&starter.plane, &replicas).await?;
    }
    let (admin, audit_log) = (starter.plane.admin.clone(), starter.plane.audit_log.clone());
    let trouble = match tenant {
        Some((tenant, board)) => Some(Trouble::begin(tenant, &starter.plan, &admin, board).await?),
        None => None,
    };

    let (mut run, replicas) = measure(part, load, starter, replicas).await?;
    if watches.breaks() > 0 {
        run.doubts.push(format!(
            "watches of the load generator broke {} times",
            watches.breaks()
        ));
    }
    drop(watches);
    let requests = audit::requests(&audit_log, audit_offset)?;
    run.watches = requests.get(audit::KANARY).map_or(0, Requests::watches);
    if let Some(trouble) = trouble {
        let text = trouble.end(&admin).await?;
        run.marks.push((Timestamp::now(), text));
    }
    for replica in replicas {
        replica.terminate().await?;
    }
    Ok(run)
}

/// Creates the targets of a board, and waits until they are available.
async fn targets(plan: &Plan, api: &Api, board: &Board) -> anyhow::Result<()> {
    let all = board.canaries().len();
    let path = deployments(&board.namespace);
    let mut creations = JoinSet::new();
    for number in 0..all {
        if creations.len() >= plan.in_flight
            && let Some(created) = creations.join_next().await
        {
            created??;
        }
        let (api, path, target) = (api.clone(), path.clone(), workload::target(number, plan.template));
        creations.spawn(async move { api.create(&path, &target).await.map(drop) });
    }
    while let Some(created) = creations.join_next().await {
        created??;
    }
    let end = Instant::now() + plan.patience;
    while board.progress().targets < all {
        let available = board.progress().targets;
        ensure!(
            Instant::now() < end,
            "{available} of {all} targets are available after {:?}",
            plan.patience
        );
        sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// Waits until the machine has little to do. Returns a doubt if it does not calm down in half a minute.
async fn calm_down() -> Option<String> {
    let mut busy = 1.0;
    for _ in 0..15 {
        busy = processes::busy_during(Duration::from_secs(2)).await;
        if busy < CALM {
            return None;
        }
    }
    Some(format!("the machine was {:.0} % busy when the run began", busy * 100.0))
}

/// Creates the Kanaries and waits for their end.
async fn measure(
    part: Part,
    board: Arc<Board>,
    starter: Starter,
    replicas: Vec<Replica>,
) -> anyhow::Result<(Run, Vec<Replica>)> {
    let rig = &Arc::new(Rig {
        plan: starter.plan.clone(),
        plane: starter.plane.clone(),
        board,
        prometheus: Arc::new(FakePrometheus::start().await?),
        permits: Semaphore::new(starter.plan.in_flight),
        errors: Mutex::default(),
    });
    let mut doubts: Vec<_> = calm_down().await.into_iter().collect();
    let recorder = starter.recorder.clone();
    let counters = Counters::read(&rig.plane.admin)
        .await
        .context("metrics of the API server")?;
    let audit_offset = audit::end(&rig.plane.audit_log)?;
    let sampling = recorder.begin();
    let (begin, start) = (Timestamp::now(), Instant::now());

    let disturbance = disturbance::carry_out(rig.plan.disturbance, start, starter, replicas, rig.prometheus.clone());
    let disturbance = tokio::spawn(disturbance);
    let offsets = arrivals::offsets(rig.plan.arrivals, part.canaries, rig.plan.seed);
    let longest = offsets.last().copied().unwrap_or_default() + rig.plan.validation + rig.plan.patience;
    let mut tasks = arrive(rig, part.operator, (begin, start), &offsets);
    if timeout(longest, until_over(&rig.board)).await.is_err() {
        doubts.push(format!("the run was ended after {longest:?}"));
    }
    let lasted = start.elapsed().as_secs_f64();
    tasks.shutdown().await;

    recorder.sample();
    drop(sampling);
    let (replicas, marks) = disturbance.await??;
    let requests = audit::requests(&rig.plane.audit_log, audit_offset)?;
    let after = Counters::read(&rig.plane.admin)
        .await
        .context("metrics of the API server")?;
    let errors = std::mem::take(&mut *rig.errors.lock().unwrap_or_else(PoisonError::into_inner));
    if let Some(first) = errors.first() {
        doubts.push(format!(
            "{} requests of the load generator failed, the first with: {first}",
            errors.len()
        ));
    }
    let run = Run {
        part,
        begin,
        lasted,
        canaries: rig.board.canaries(),
        totals: recorder.totals(),
        samples: recorder.samples(),
        requests,
        watches: 0,
        queries: rig.prometheus.counts(),
        write_p99: after.write_p99(&counters),
        throttled: after.throttled(&counters),
        marks,
        doubts,
    };
    Ok((run, replicas))
}

async fn until_over(board: &Board) {
    let all = board.canaries().len();
    let mut told = Instant::now();
    loop {
        let progress = board.progress();
        if progress.over == all {
            return;
        }
        if told.elapsed() >= Duration::from_secs(10) {
            told = Instant::now();
            let (created, canaries, promoted) = (progress.created, progress.canaries, progress.promoted);
            eprintln!(
                "loadtest: {created} Kanaries, {canaries} canaries, {promoted} promoted, {} over",
                progress.over
            );
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Starts a task for each canary at its time, whatever the earlier ones do.
fn arrive(
    rig: &Arc<Rig>,
    operator: Operator,
    (begin, start): (Timestamp, Instant),
    offsets: &[Duration],
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for (number, offset) in offsets.iter().copied().enumerate() {
        let intended = SignedDuration::try_from(offset)
            .ok()
            .and_then(|offset| begin.checked_add(offset).ok());
        rig.board.note(number, |canary| canary.intended = intended);
        let rig = rig.clone();
        tasks.spawn(async move {
            sleep_until(start + offset).await;
            if let Err(error) = canary(&rig, operator, number).await {
                rig.board
                    .note(number, |canary| canary.failure = Some(error.to_string()));
                rig.errors
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(error.to_string());
            }
        });
    }
    tasks
}

/// Creates a Kanary. Where there is no operator, also does the work for its canary.
async fn canary(rig: &Rig, operator: Operator, number: usize) -> anyhow::Result<()> {
    let (plan, board) = (&rig.plan, &rig.board);
    let item = workload::item(&rig.prometheus.url, plan.interval);
    let kanary = workload::kanary(number, plan.template, plan.validation, &[item]);
    let permit = rig.permits.acquire().await?;
    rig.plane.admin.create(&kanaries(&board.namespace), &kanary).await?;
    let now = Timestamp::now();
    board.note(number, |canary| {
        canary.created.get_or_insert(now);
    });
    if operator == Operator::Floor {
        floor::begin(&rig.plane.kanary, board, number, plan.template).await?;
        drop(permit);
        floor::finish(&rig.plane.kanary, board, number, plan.template, plan.validation).await?;
    }
    Ok(())
}
