//! Generates Kanaries, up to thousands of them.

use std::time::Duration;

use fastrand::Rng;
use kanary_core::api::ManualVerdict;

use super::{
    manifests::{alert, manual},
    script::{Deed, End, Gauge, Part, about, broken, dry_run, minutes},
};

const APPS: [&str; 24] = [
    "accounts",
    "adverts",
    "alerts",
    "archive",
    "auth",
    "basket",
    "carts",
    "content",
    "coupons",
    "events",
    "exports",
    "gateway",
    "geo",
    "imports",
    "inventory",
    "invoices",
    "mailer",
    "orders",
    "pricing",
    "ranking",
    "returns",
    "reviews",
    "sessions",
    "shipping",
];

/// `number` parts, the earliest at `first`.
pub(super) fn parts(rng: &mut Rng, number: u32, first: Duration) -> Vec<Part> {
    (1..=number)
        .map(|place| {
            let app = rng.choice(APPS).unwrap_or("app");
            let from = first + Duration::from_millis(rng.u64(0..180_000));
            Part {
                is_extra: true,
                // Thousands of queries every 20 seconds would slow down the demo.
                ..part(rng, &format!("{app}-{place}"), from).with("validation", "maxIntervalPeriod", "2m")
            }
        })
        .collect()
}

fn part(rng: &mut Rng, name: &str, from: Duration) -> Part {
    let period = Duration::from_secs(rng.u64(360..=540));
    let gauge = if rng.bool() { Gauge::ErrorRate } else { Gauge::P99 };
    let measured = Part {
        from,
        about: "is good",
        ..Part::measured(name, name, period, gauge)
    };
    let good = about(rng, 0.4 * gauge.limit());
    let spoken = |rng: &mut Rng, deed, end| Part {
        from,
        about: "waits for a manual verdict",
        deed: Some((while_judged(rng, from), deed)),
        end,
        ..Part::new(name, name, period, &[manual()])
    };
    match rng.u8(0..100) {
        0..14 => Part {
            about: "goes bad",
            end: End::Failed,
            ..measured
        }
        .with_values(&going_bad(rng, good, gauge)),
        14..20 => Part {
            from,
            about: "an alert labels its pods",
            deed: Some((while_judged(rng, from), Deed::Alert)),
            end: End::Failed,
            ..Part::new(name, name, period, &[alert()])
        },
        20..26 => spoken(rng, Deed::Verdict(ManualVerdict::Valid), End::Promoted),
        26..29 => spoken(rng, Deed::Verdict(ManualVerdict::Invalid), End::Failed),
        29..34 => Part {
            about: "a dry-run, never promoted",
            ..dry_run(measured)
        }
        .with_values(&good),
        34..40 => Part {
            about: "starts on schedule",
            schedule: Some(from + Duration::from_secs(rng.u64(30..120))),
            ..measured
        }
        .with_values(&good),
        40..42 => Part {
            about: "has no metrics",
            end: End::Waits,
            ..measured
        },
        42..44 => broken(measured, "6m"),
        _ => measured.with_values(&good),
    }
}

/// A time while a Kanary that is applied at `from` is judged.
fn while_judged(rng: &mut Rng, from: Duration) -> Duration {
    from + minutes(2) + Duration::from_secs(rng.u64(0..200))
}

fn going_bad(rng: &mut Rng, mut values: Vec<f64>, gauge: Gauge) -> Vec<f64> {
    let turn = rng.usize(2..7);
    for value in values.iter_mut().skip(turn) {
        *value = gauge.limit() * (1.3 + 0.5 * rng.f64());
    }
    values
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::script::Script;

    #[test]
    fn the_same_seed_gives_the_same_script() {
        assert_eq!(Script::new(7, 200), Script::new(7, 200));
        assert_ne!(Script::new(7, 200), Script::new(8, 200));
    }

    #[test]
    fn names_and_ends_are_of_many_kinds() {
        let script = Script::new(1, 1000);
        let names: BTreeSet<_> = script.parts.iter().map(|part| &part.name).collect();
        assert_eq!(names.len(), script.parts.len());
        for about in ["goes bad", "an alert labels its pods", "has no metrics", "is good"] {
            let number = script.parts.iter().filter(|part| part.about == about).count();
            assert!(number >= 5, "{number} × {about}");
        }
    }
}
