//! The report for people.

use std::fmt::Write as _;

use super::{Machine, summary::Summary};
use crate::{audit, figures::Spread, plan::Plan, replicas::KANARY, run::Run};

const MEGABYTE: f64 = 1_000_000.0;

/// CPU time of the rest of the machine that makes figures doubtful, in cores. The kernel's own is included.
const OTHERS: f64 = 0.2;

pub(super) fn text(plan: &Plan, machine: &Machine, runs: &[Run], summaries: &[Summary]) -> String {
    let mut text = String::new();
    head(&mut text, plan, machine);
    delays(&mut text, summaries);
    costs(&mut text, summaries);
    processes(&mut text, summaries);
    requests(&mut text, runs, summaries);
    notes(&mut text, runs, summaries);
    text
}

macro_rules! line {
    ($text:expr, $($rest:tt)*) => {
        let _infallible = writeln!($text, $($rest)*);
    };
}

fn head(text: &mut String, plan: &Plan, machine: &Machine) {
    line!(text, "# Load test `{}`\n", plan.name);
    line!(
        text,
        "Measure it again with `just loadtest {}`. [docs/scale.md](../../docs/scale.md) explains the figures.\n",
        plan.command
    );
    line!(
        text,
        "Machine: {} cores ({}), {:.0} GiB of memory, Linux {}, with the whole control plane and the load generator on it. \
         Commit: {}. Validation {:?}, one query each {:?}, {} pod templates.\n",
        machine.cores,
        machine.processor,
        machine.memory as f64 / f64::from(1 << 30),
        machine.kernel,
        machine.commit,
        plan.validation,
        plan.interval,
        plan.template.name()
    );
    line!(
        text,
        "![delays of promotions and CPU time per canary]({}.svg)\n",
        plan.name
    );
}

fn shown(spread: Option<Spread>) -> String {
    spread.map_or_else(
        || "–".to_owned(),
        |s| format!("{:.2} / {:.2} / {:.2}", s.p50, s.p99, s.max),
    )
}

fn delays(text: &mut String, summaries: &[Summary]) {
    line!(text, "Delays in seconds, p50 / p99 / max:\n");
    line!(
        text,
        "| run | promoted | Kanary created → canary created | arrival → canary created | promoted − (created + validation) | \
         promoted − (arrival + validation) | verdict − deadline |"
    );
    line!(text, "|---|---|---|---|---|---|---|");
    for summary in summaries {
        line!(
            text,
            "| {} | {} of {} | {} | {} | {} | {} | {} |",
            summary.label,
            summary.promoted,
            summary.canaries,
            shown(summary.start),
            shown(summary.start_from_arrival),
            shown(summary.promotion),
            shown(summary.promotion_from_arrival),
            shown(summary.verdict)
        );
    }
    line!(text, "");
}

fn costs(text: &mut String, summaries: &[Summary]) {
    line!(
        text,
        "Per canary; the requests are those of Kanary's user, without Leases:\n"
    );
    line!(
        text,
        "| run | API server CPU | etcd CPU | Kanary CPU | reads / writes with Events | Events | queries | queries per interval |"
    );
    line!(text, "|---|---|---|---|---|---|---|---|");
    for summary in summaries {
        line!(
            text,
            "| {} | {:.3} s | {:.3} s | {:.1} ms | {:.2} / {:.2} | {:.2} | {:.2} | {:.2} |",
            summary.label,
            summary.cpu_of("kube-apiserver"),
            summary.cpu_of("etcd"),
            summary.cpu_of(KANARY) * 1000.0,
            summary.reads,
            summary.writes,
            summary.events,
            summary.queries_per_canary,
            summary.queries_per_interval
        );
    }
    line!(text, "");
    line!(text, "The whole run:\n");
    line!(
        text,
        "| run | seconds | Kanary memory idle / peak, largest replica | watches opened | Lease requests per second | refused | \
         API server writes p99 | API server saturated |"
    );
    line!(text, "|---|---|---|---|---|---|---|---|");
    for summary in summaries {
        let kanary = summary.totals.get(KANARY);
        let memory = kanary.map(|k| format!("{:.1} / {:.1} MB", k.idle as f64 / MEGABYTE, k.peak as f64 / MEGABYTE));
        let p99 = summary.write_p99.map(|p99| format!("{p99:.3} s"));
        let saturated = if summary.saturation.is_empty() {
            "no".to_owned()
        } else {
            summary.saturation.join("; ")
        };
        line!(
            text,
            "| {} | {:.0} | {} | {} | {:.2} | {} | {} | {saturated} |",
            summary.label,
            summary.seconds,
            memory.unwrap_or_else(|| "–".to_owned()),
            summary.watches,
            summary.leases_per_second,
            summary.refused,
            p99.unwrap_or_else(|| "–".to_owned())
        );
    }
    line!(text, "");
}

fn processes(text: &mut String, summaries: &[Summary]) {
    line!(
        text,
        "Processes: CPU time in seconds, and memory at the start and at most (of the largest replica):\n"
    );
    line!(text, "| run | process | CPU | memory idle / peak |");
    line!(text, "|---|---|---|---|");
    for summary in summaries {
        for (name, total) in &summary.totals {
            let (idle, peak) = (total.idle as f64 / MEGABYTE, total.peak as f64 / MEGABYTE);
            line!(
                text,
                "| {} | {name} | {:.1} | {idle:.0} / {peak:.0} MB |",
                summary.label,
                total.cpu
            );
        }
        line!(
            text,
            "| {} | whole machine | no idle CPU for {:.0} s; API server at most {:.2} cores; others {:.2} cores | |",
            summary.label,
            summary.full_seconds,
            summary.api_server_peak,
            summary.others
        );
    }
    line!(text, "");
}

fn requests(text: &mut String, runs: &[Run], summaries: &[Summary]) {
    line!(text, "Requests by user, verb and resource, from the audit log:\n");
    line!(text, "| run | user | request | number | per canary |");
    line!(text, "|---|---|---|---|---|");
    for (run, summary) in runs.iter().zip(summaries) {
        for (user, requests) in &run.requests {
            let user = if user == audit::KANARY { KANARY } else { user };
            for (what, number) in &requests.counts {
                let each = *number as f64 / run.part.canaries as f64;
                line!(text, "| {} | {user} | {what} | {number} | {each:.2} |", summary.label);
            }
        }
    }
    line!(text, "");
}

fn notes(text: &mut String, runs: &[Run], summaries: &[Summary]) {
    for (run, summary) in runs.iter().zip(summaries) {
        let mut notes = Vec::new();
        for (at, mark) in &run.marks {
            notes.push(format!(
                "after {:.1} s: {mark}",
                at.duration_since(run.begin).as_secs_f64()
            ));
        }
        if summary.unfinished > 0 {
            notes.push(format!("{} canaries were not promoted in time", summary.unfinished));
        }
        if let Some(early) = summary.earliest_verdict.filter(|early| *early < 0.0) {
            notes.push(format!("a verdict came {:.3} s before its deadline", -early));
        }
        if summary.others > OTHERS {
            notes.push(format!(
                "processes outside of the test used {:.2} cores",
                summary.others
            ));
        }
        let failures = run.canaries.iter().filter_map(|canary| canary.failure.as_deref());
        if let Some(failure) = failures.clone().next() {
            notes.push(format!(
                "{} canaries failed, the first with: {failure}",
                failures.count()
            ));
        }
        if run.queries.errors > 0 {
            notes.push(format!("{} queries were answered with an error", run.queries.errors));
        }
        notes.extend(run.doubts.iter().cloned());
        for note in notes {
            line!(text, "- {}: {note}.", summary.label);
        }
    }
}
