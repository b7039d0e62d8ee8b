//! Kanaries by the thousand.

use std::time::Duration;

use fastrand::Rng;
use serde_json::json;

use super::{
    manifests::{alert, manual},
    script::{Deed, End, Gauge, Part, about, dry_run, minutes},
};
use crate::api::Word;

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

/// `number` of them, from `first` on.
pub(super) fn parts(rng: &mut Rng, number: u32, first: Duration) -> Vec<Part> {
    (1..=number)
        .map(|place| {
            let app = rng.choice(APPS).unwrap_or("app");
            let name = format!("{app}-{place}");
            let from = first + Duration::from_millis(rng.u64(0..180_000));
            let mut part = part(rng, &name, from);
            // Thousands that ask every 20 seconds would be a test of patience.
            part.spec["validation"]["maxIntervalPeriod"] = json!("2m");
            Part { is_extra: true, ..part }
        })
        .collect()
}

fn part(rng: &mut Rng, name: &str, from: Duration) -> Part {
    let period = Duration::from_secs(rng.u64(360..=540));
    let gauge = if rng.bool() { Gauge::ErrorRate } else { Gauge::P99 };
    let good = match gauge {
        Gauge::ErrorRate => 0.003,
        Gauge::P99 => 0.2,
    };
    let measured = Part {
        from,
        ..Part::measured(name, name, period, gauge)
    };
    let while_judged = from + minutes(2) + Duration::from_secs(rng.u64(0..200));
    let deed = |part: Part, deed: Deed| Part {
        from,
        deed: Some((while_judged, deed)),
        ..part
    };
    match rng.u8(0..100) {
        0..14 => {
            let mut values = about(rng, good);
            let turn = rng.usize(2..7);
            for value in values.iter_mut().skip(turn) {
                *value = gauge.limit() * (1.3 + 0.5 * rng.f64());
            }
            let failed = Part {
                about: "goes bad",
                end: End::Failed,
                ..measured
            };
            failed.with_values(&values)
        }
        14..20 => Part {
            about: "an alert labels its pods",
            end: End::Failed,
            ..deed(Part::new(name, name, period, &[alert()]), Deed::Alert)
        },
        20..26 => Part {
            about: "waits for a person's word",
            ..deed(Part::new(name, name, period, &[manual()]), Deed::Word(Word::Valid))
        },
        26..29 => Part {
            about: "waits for a person's word",
            end: End::Failed,
            ..deed(Part::new(name, name, period, &[manual()]), Deed::Word(Word::Invalid))
        },
        29..34 => dry_run(Part {
            about: "is tried and never promoted",
            ..measured
        })
        .with_values(&about(rng, good)),
        34..40 => Part {
            about: "starts on schedule",
            schedule: Some(from + Duration::from_secs(rng.u64(30..120))),
            ..measured
        }
        .with_values(&about(rng, good)),
        40..42 => Part {
            about: "nobody measures it",
            end: End::Waits,
            ..measured
        },
        42..44 => broken(measured),
        _ => Part {
            about: "is good",
            ..measured
        }
        .with_values(&about(rng, good)),
    }
}

fn broken(mut part: Part) -> Part {
    part.spec["rollout"] = json!({"progressDeadline": "6m"});
    Part {
        about: "its pods never become ready",
        broken: true,
        end: End::Failed,
        ..part
    }
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
        for about in ["goes bad", "an alert labels its pods", "nobody measures it", "is good"] {
            let number = script.parts.iter().filter(|part| part.about == about).count();
            assert!(number >= 5, "{number} × {about}");
        }
    }
}
