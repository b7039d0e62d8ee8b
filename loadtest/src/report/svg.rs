//! A plot: the delays of promotions, and where the CPU time per canary goes.

use std::fmt::Write as _;

use super::summary::{Summary, promotion_delays};
use crate::{
    figures::sorted,
    plan::Operator,
    replicas::KANARY,
    run::{GENERATOR, Run},
};

const WIDTH: f64 = 900.0;
/// Height of a line of the legend.
const LINE: f64 = 14.0;
/// The first line of the legend.
const LEGEND: f64 = 356.0;
/// The first plot: left, right, top and bottom.
const CURVES: [f64; 4] = [60.0, 430.0, 50.0, 320.0];
/// The second plot.
const BARS: [f64; 4] = [530.0, 880.0, 50.0, 320.0];

/// Colours that people with a colour vision deficiency can distinguish.
const COLOURS: [&str; 8] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999", "#000000",
];

macro_rules! add {
    ($text:expr, $($rest:tt)*) => {
        let _infallible = writeln!($text, $($rest)*);
    };
}

pub(super) fn plot(runs: &[Run], summaries: &[Summary]) -> String {
    let mut svg = String::new();
    // The legend of the second plot has three lines.
    let lines = runs.len().div_ceil(2).max(3);
    let height = LEGEND + lines as f64 * LINE;
    add!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="11">"#
    );
    add!(svg, r##"<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>"##);
    curves(&mut svg, runs, summaries);
    bars(&mut svg, summaries);
    add!(svg, "</svg>");
    svg
}

fn label(svg: &mut String, (x, y): (f64, f64), anchor: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    add!(
        svg,
        r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#
    );
}

fn rule(svg: &mut String, from: (f64, f64), to: (f64, f64), colour: &str) {
    add!(
        svg,
        r#"<line x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}" stroke="{colour}"/>"#,
        from.0,
        from.1,
        to.0,
        to.1
    );
}

/// A distance between the lines of a scale up to `most`, so that there are three to seven of them.
fn step(most: f64) -> f64 {
    let power = 10_f64.powf(most.max(1e-6).log10().floor());
    let steps = [0.2, 0.5, 1.0, 2.0].map(|step| step * power);
    steps.into_iter().find(|step| most / step <= 6.0).unwrap_or(power)
}

/// Values of the lines of a scale from 0 to at least `most`.
fn scale(most: f64) -> Vec<f64> {
    let step = step(most);
    let mut lines = vec![0.0];
    let mut value = 0.0;
    while value < most {
        value += step;
        lines.push(value);
    }
    lines
}

fn decimals(step: f64) -> usize {
    if step >= 1.0 {
        0
    } else if step >= 0.1 {
        1
    } else if step >= 0.01 {
        2
    } else {
        3
    }
}

/// The share of canaries that were promoted after a delay.
fn curves(svg: &mut String, runs: &[Run], summaries: &[Summary]) {
    let [left, right, top, bottom] = CURVES;
    label(svg, (left, 20.0), "start", "Canaries that were promoted within a delay");
    label(svg, (left, 36.0), "start", "(seconds after creation + validation)");
    let delays: Vec<_> = runs
        .iter()
        .zip(summaries)
        .map(|(run, summary)| sorted(promotion_delays(run, summary.validation)))
        .collect();
    let most = delays
        .iter()
        .filter_map(|delays| delays.last())
        .copied()
        .fold(0.1, f64::max);
    let lines = scale(most);
    let end = lines.last().copied().unwrap_or(most);
    let x = |value: f64| left + (right - left) * (value.max(0.0) / end);
    let y = |share: f64| bottom - (bottom - top) * share;
    for line in &lines {
        rule(svg, (x(*line), top), (x(*line), bottom), "#dddddd");
        label(
            svg,
            (x(*line), bottom + 15.0),
            "middle",
            &format!("{line:.*}", decimals(step(most))),
        );
    }
    for percent in [0_u8, 25, 50, 75, 100] {
        let at = y(f64::from(percent) / 100.0);
        rule(svg, (left, at), (right, at), "#dddddd");
        label(svg, (left - 6.0, at + 4.0), "end", &format!("{percent} %"));
    }
    for ((delays, summary), colour) in delays.iter().zip(summaries).zip(COLOURS.iter().cycle()) {
        let mut path = format!("M{:.1},{:.1}", x(delays.first().copied().unwrap_or_default()), y(0.0));
        for (index, delay) in delays.iter().enumerate() {
            let share = (index + 1) as f64 / summary.canaries as f64;
            let _infallible = write!(path, " H{:.1} V{:.1}", x(*delay), y(share));
        }
        let dashes = if summary.operator == Operator::Floor {
            r#" stroke-dasharray="5 3""#
        } else {
            ""
        };
        add!(
            svg,
            r#"<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>"#
        );
    }
    legend(svg, left, summaries.iter().map(|summary| summary.label.as_str()));
}

/// Coloured squares with texts below a plot, two in a row.
fn legend<'a>(svg: &mut String, left: f64, texts: impl Iterator<Item = &'a str>) {
    for ((index, text), colour) in texts.enumerate().zip(COLOURS.iter().cycle()) {
        let (column, row) = ((index % 2) as f64, (index / 2) as f64);
        let (x, y) = (left + column * 190.0, LEGEND + row * LINE);
        add!(
            svg,
            r#"<rect x="{x:.1}" y="{:.1}" width="9" height="9" fill="{colour}"/>"#,
            y - 8.0
        );
        label(svg, (x + 14.0, y), "start", text);
    }
}

/// CPU time per canary of each run, by process.
fn bars(svg: &mut String, summaries: &[Summary]) {
    let [left, right, top, bottom] = BARS;
    label(svg, (left, 20.0), "start", "CPU time per canary");
    label(svg, (left, 36.0), "start", "(seconds)");
    let names = ["API server", "etcd", "controllers and kwok", "Kanary", "load generator"];
    let parts = |summary: &Summary| {
        [
            summary.cpu_of("kube-apiserver"),
            summary.cpu_of("etcd"),
            summary.cpu_of_controllers(),
            summary.cpu_of(KANARY),
            summary.cpu_of(GENERATOR),
        ]
    };
    let most = summaries
        .iter()
        .map(|summary| parts(summary).iter().sum())
        .fold(0.01, f64::max);
    let lines = scale(most);
    let end = lines.last().copied().unwrap_or(most);
    let y = |value: f64| bottom - (bottom - top) * value / end;
    for line in &lines {
        rule(svg, (left, y(*line)), (right, y(*line)), "#dddddd");
        label(
            svg,
            (left - 6.0, y(*line) + 4.0),
            "end",
            &format!("{line:.*}", decimals(step(most))),
        );
    }
    let pitch = (right - left) / summaries.len().max(1) as f64;
    for (index, summary) in summaries.iter().enumerate() {
        let x = left + pitch * (index as f64 + 0.2);
        let mut sum = 0.0;
        for (part, colour) in parts(summary).into_iter().zip(COLOURS) {
            let (high, low) = (y(sum + part), y(sum));
            sum += part;
            let (width, height) = (pitch * 0.6, (low - high).max(0.0));
            add!(
                svg,
                r#"<rect x="{x:.1}" y="{high:.1}" width="{width:.1}" height="{height:.1}" fill="{colour}"/>"#
            );
        }
        let tenant = if summary.label.ends_with("tenant") { " +" } else { "" };
        let middle = x + pitch * 0.3;
        label(svg, (middle, bottom + 12.0), "middle", summary.operator.name());
        label(
            svg,
            (middle, bottom + 24.0),
            "middle",
            &format!("{}{tenant}", summary.canaries),
        );
    }
    legend(svg, left, names.into_iter());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_covers_all_values_with_a_few_lines() {
        for most in [0.003, 0.1, 0.77, 1.0, 3.4, 11.3, 47.0, 100.0, 5000.0] {
            let lines = scale(most);
            assert!(lines.last().is_some_and(|last| *last >= most), "{most}: {lines:?}");
            assert!((3..=9).contains(&lines.len()), "{most}: {lines:?}");
        }
    }
}
