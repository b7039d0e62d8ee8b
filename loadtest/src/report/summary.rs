//! The figures of a run.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{
    audit,
    board::Canary,
    figures::Spread,
    plan::{Operator, Plan},
    processes::{MACHINE, Total},
    replicas::KANARY,
    run::{GENERATOR, Run},
};

/// Share of the machine's CPU time above which it has nothing left to give.
const FULL: f64 = 0.95;

/// Service level objective of Kubernetes for writes, in seconds.
const WRITE_OBJECTIVE: f64 = 1.0;

/// Share of the seconds of a run that may be without idle CPU.
const FULL_SECONDS: f64 = 0.1;

#[derive(Clone, Debug)]
pub(crate) struct Summary {
    pub(crate) label: String,
    pub(crate) scenario: &'static str,
    pub(crate) operator: Operator,
    pub(crate) canaries: usize,
    pub(crate) replicas: usize,
    pub(crate) promoted: usize,
    pub(crate) failed: usize,
    pub(crate) unfinished: usize,
    pub(crate) seconds: f64,
    /// Validation in seconds.
    pub(crate) validation: f64,
    /// Delays in seconds.
    pub(crate) start: Option<Spread>,
    pub(crate) start_from_arrival: Option<Spread>,
    pub(crate) promotion: Option<Spread>,
    pub(crate) promotion_from_arrival: Option<Spread>,
    pub(crate) verdict: Option<Spread>,
    /// Smallest delay of a verdict after its deadline; negative if a verdict was early.
    pub(crate) earliest_verdict: Option<f64>,
    /// CPU seconds per canary, by process.
    pub(crate) cpu: BTreeMap<String, f64>,
    pub(crate) totals: BTreeMap<String, Total>,
    /// Requests per canary.
    pub(crate) reads: f64,
    pub(crate) writes: f64,
    pub(crate) events: f64,
    pub(crate) watches: u64,
    pub(crate) leases_per_second: f64,
    pub(crate) refused: u64,
    pub(crate) queries_per_canary: f64,
    pub(crate) queries_per_interval: f64,
    pub(crate) write_p99: Option<f64>,
    pub(crate) throttled: f64,
    /// Seconds without idle CPU.
    pub(crate) full_seconds: f64,
    /// CPU time of everything outside of the test, in cores.
    pub(crate) others: f64,
    /// Largest share of the API server, in cores.
    pub(crate) api_server_peak: f64,
    /// Why the API server counts as saturated.
    pub(crate) saturation: Vec<String>,
}

/// Seconds between two times of each canary that has both.
pub(crate) fn delays(
    canaries: &[Canary],
    from: impl Fn(&Canary) -> Option<Timestamp>,
    to: impl Fn(&Canary) -> Option<Timestamp>,
) -> impl Iterator<Item = f64> {
    canaries
        .iter()
        .filter_map(move |canary| Some(to(canary)?.duration_since(from(canary)?).as_secs_f64()))
}

/// Promotion delays: from the creation of the Kanary, without the validation.
pub(crate) fn promotion_delays(run: &Run, validation: f64) -> Vec<f64> {
    let delays = delays(&run.canaries, |canary| canary.created, |canary| canary.promoted);
    delays.map(|delay| delay - validation).collect()
}

/// Verdicts after their deadlines. Without an operator there are none.
fn verdict_delays(run: &Run) -> impl Iterator<Item = f64> {
    let is_kanary = run.part.operator == Operator::Kanary;
    delays(
        &run.canaries,
        |canary| canary.deadline,
        move |canary| canary.verdict.filter(|_| is_kanary),
    )
}

fn unfinished(run: &Run) -> usize {
    let is_open = |canary: &&Canary| canary.promoted.is_none() && canary.failure.is_none();
    run.canaries.iter().filter(is_open).count()
}

/// CPU seconds of each process per canary.
fn per_canary(run: &Run, canaries: f64) -> BTreeMap<String, f64> {
    let totals = run.totals.iter();
    totals
        .map(|(name, total)| (name.clone(), total.cpu / canaries))
        .collect()
}

impl Summary {
    pub(crate) fn of(plan: &Plan, run: &Run, cores: usize) -> Self {
        let number = run.part.canaries as f64;
        let validation = plan.validation.as_secs_f64();
        let each = |total: u64| total as f64 / number;
        let requests = run.requests.get(audit::KANARY).cloned().unwrap_or_default();
        let is_kanary = run.part.operator == Operator::Kanary;
        let from_arrival = delays(&run.canaries, |canary| canary.intended, |canary| canary.promoted);
        let queries_per_canary = each(run.queries.queries);
        let mut summary = Self {
            label: label(run),
            scenario: plan.scenario,
            operator: run.part.operator,
            canaries: run.part.canaries,
            replicas: if is_kanary { plan.replicas } else { 0 },
            promoted: run.promoted(),
            failed: run.failed(),
            unfinished: unfinished(run),
            seconds: run.lasted,
            validation,
            start: Spread::of(delays(&run.canaries, |canary| canary.created, |canary| canary.started)),
            start_from_arrival: Spread::of(delays(&run.canaries, |canary| canary.intended, |canary| canary.started)),
            promotion: Spread::of(promotion_delays(run, validation)),
            promotion_from_arrival: Spread::of(from_arrival.map(|delay| delay - validation)),
            verdict: Spread::of(verdict_delays(run)),
            earliest_verdict: verdict_delays(run).min_by(f64::total_cmp),
            cpu: per_canary(run, number),
            totals: run.totals.clone(),
            reads: each(requests.reads()),
            writes: each(requests.writes()),
            events: each(requests.events()),
            watches: run.watches,
            leases_per_second: requests.leases() as f64 / run.lasted.max(1.0),
            refused: requests.refused,
            queries_per_canary,
            queries_per_interval: queries_per_canary * plan.interval.as_secs_f64() / validation,
            write_p99: run.write_p99,
            throttled: run.throttled,
            full_seconds: 0.0,
            others: 0.0,
            api_server_peak: 0.0,
            saturation: Vec::new(),
        };
        summary.saturate(run, cores);
        summary
    }

    fn saturate(&mut self, run: &Run, cores: usize) {
        let of = |name: &'static str| run.samples.iter().filter(move |sample| sample.process == name);
        self.api_server_peak = of("kube-apiserver").map(|sample| sample.cores).fold(0.0, f64::max);
        let (mut before, mut busy) = (0.0, 0.0);
        for sample in of(MACHINE) {
            busy += sample.cores * (sample.at - before);
            if sample.cores >= FULL * cores as f64 {
                self.full_seconds += sample.at - before;
            }
            before = sample.at;
        }
        let ours: f64 = run.totals.values().map(|total| total.cpu).sum();
        self.others = ((busy - ours) / self.seconds.max(1.0)).max(0.0);
        if let Some(p99) = self.write_p99.filter(|p99| *p99 > WRITE_OBJECTIVE) {
            self.saturation.push(format!("its writes took {p99:.2} s (p99)"));
        }
        if self.throttled > 0.0 {
            self.saturation
                .push(format!("it refused {:.0} requests with 429", self.throttled));
        }
        if self.full_seconds > FULL_SECONDS * self.seconds {
            let (full, all) = (self.full_seconds, self.seconds);
            self.saturation
                .push(format!("the machine had no idle CPU for {full:.0} of {all:.0} s"));
        }
    }

    /// CPU seconds per canary of a process.
    pub(crate) fn cpu_of(&self, process: &str) -> f64 {
        self.cpu.get(process).copied().unwrap_or_default()
    }

    /// CPU seconds per canary of everything that is neither Kanary nor the API server nor etcd nor this program.
    pub(crate) fn cpu_of_controllers(&self) -> f64 {
        let known = ["kube-apiserver", "etcd", KANARY, GENERATOR];
        let others = self.cpu.iter().filter(|(name, _)| !known.contains(&name.as_str()));
        others.map(|(_, cpu)| cpu).sum()
    }
}

/// A short name of a run.
fn label(run: &Run) -> String {
    let tenant = if run.part.tenant.is_some() {
        " beside the tenant"
    } else {
        ""
    };
    format!("{}, N = {}{tenant}", run.part.operator.name(), run.part.canaries)
}
