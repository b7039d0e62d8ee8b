//! Which series a selector finds, and when.

use super::{NOW, Prometheus, ask, ask_at, check, time, with};
use crate::prometheus::{Labels, Matchers};

fn requests() -> Prometheus {
    with(&[
        ("requests{code=\"200\",pod=\"a\"}", 10.0),
        ("requests{code=\"404\",pod=\"a\"}", 2.0),
        ("requests{code=\"500\",pod=\"b\"}", 1.0),
        ("requests{pod=\"c\"}", 0.5),
        ("up", 1.0),
    ])
}

#[test]
fn every_kind_of_matcher_selects() {
    check(
        &requests(),
        &[
            ("up", "up{} 1"),
            ("requests{code=\"200\"}", "requests{code=200,pod=a} 10"),
            ("requests{code!=\"200\",pod=\"a\"}", "requests{code=404,pod=a} 2"),
            ("requests{code=~\"5..\"}", "requests{code=500,pod=b} 1"),
            ("requests{code!~\"[45]..\",pod!=\"c\"}", "requests{code=200,pod=a} 10"),
            (
                "requests{pod=~\"b|c\"}",
                "requests{code=500,pod=b} 1; requests{pod=c} 0.5",
            ),
            ("requests{code=\"\"}", "requests{pod=c} 0.5"),
            (
                "requests{code!=\"\",code!=\"200\",code!=\"404\"}",
                "requests{code=500,pod=b} 1",
            ),
            ("{__name__=\"up\"}", "up{} 1"),
            ("{__name__=~\"u.\"}", "up{} 1"),
            ("{pod=\"b\"}", "requests{code=500,pod=b} 1"),
            ("requests{code=\"201\"}", ""),
            ("requests{nothing=\"x\"}", ""),
            ("down", ""),
        ],
    );
}

#[test]
fn regular_expressions_match_the_whole_value() {
    let prometheus = with(&[("x{pod=\"ab\"}", 1.0), ("x{pod=\"a\"}", 2.0)]);
    check(
        &prometheus,
        &[
            ("x{pod=~\"a\"}", "x{pod=a} 2"),
            ("x{pod=~\"b|a\"}", "x{pod=a} 2"),
            ("x{pod!~\"a\"}", "x{pod=ab} 1"),
        ],
    );
}

#[test]
fn a_series_begins_when_it_was_set() {
    let prometheus = Prometheus::new();
    prometheus.set("x", time(100), 5.0, 2.0).unwrap();
    assert_eq!(ask_at(&prometheus, 99, "x"), "");
    assert_eq!(ask_at(&prometheus, 100, "x"), "x{} 5");
    assert_eq!(ask_at(&prometheus, 110, "x"), "x{} 25");
}

#[test]
fn a_series_that_is_set_again_changes_from_then_on() {
    let prometheus = Prometheus::new();
    prometheus.set("x", time(100), 0.0, 1.0).unwrap();
    prometheus.set("x", time(200), 7.0, 0.0).unwrap();
    assert_eq!(ask_at(&prometheus, 199, "x"), "x{} 99");
    assert_eq!(ask_at(&prometheus, 200, "x"), "x{} 7");
    prometheus.set("x", time(150), 3.0, 0.0).unwrap();
    assert_eq!(ask_at(&prometheus, 300, "x"), "x{} 3", "later values are replaced");
    assert_eq!(ask_at(&prometheus, 149, "x"), "x{} 49");
}

#[test]
fn a_removed_series_is_gone_at_once() {
    let prometheus = requests();
    prometheus.remove("requests{pod=\"a\",code=\"200\"}");
    check(
        &prometheus,
        &[
            ("requests{pod=\"a\"}", "requests{code=404,pod=a} 2"),
            ("count_over_time(requests{code=\"200\"}[5m])", ""),
        ],
    );
    prometheus
        .set("requests{pod=\"a\",code=\"200\"}", time(0), 3.0, 0.0)
        .unwrap();
    assert_eq!(ask(&prometheus, "requests{code=\"200\"}"), "requests{code=200,pod=a} 3");
}

#[test]
fn what_is_no_series_cannot_be_set() {
    for series in [
        "",
        "x{",
        "sum(x)",
        "x[5m]",
        "x offset 5m",
        "x{a=~\"b\"}",
        "x{a!=\"b\"}",
        "{a=\"b\"}",
        "x{a=\"b\",a=\"c\"}",
        "1",
    ] {
        let error = Prometheus::new().set(series, time(0), 1.0, 0.0).unwrap_err();
        assert!(error.contains("is not a series"), "{error}");
    }
}

#[test]
fn an_empty_value_is_no_label() {
    check(&with(&[("x{a=\"\",b=\"c\"}", 1.0)]), &[("x", "x{b=c} 1")]);
}

#[test]
fn offset_and_at_look_at_another_time() {
    let prometheus = Prometheus::new();
    prometheus.set("x", time(NOW - 600), 0.0, 1.0).unwrap();
    check(
        &prometheus,
        &[
            ("x", "x{} 600"),
            ("x offset 5m", "x{} 300"),
            ("x offset -5m", "x{} 900"),
            ("x offset 1h", ""),
            ("x @ 1599999500", "x{} 100"),
            ("x @ 1599999500 offset 40s", "x{} 60"),
            ("x @ end()", "x{} 600"),
            ("max_over_time(x[1m] offset 5m)", "{} 300"),
        ],
    );
}

#[test]
fn a_script_answers_what_the_selector_asks_for() {
    let prometheus = with(&[("other", 1.0)]);
    prometheus.script("measure", |matchers: &Matchers<'_>, at| {
        let namespace = matchers.get("ns").unwrap_or("nobody");
        let seconds = f64::from(i32::try_from(at.as_second() - NOW).unwrap());
        let one = |pod: &str| {
            let labels = [("ns", namespace), ("pod", pod)].map(|(label, value)| (label.to_owned(), value.to_owned()));
            (Labels::from(labels), 100.0 + seconds)
        };
        matchers.values("pod").into_iter().map(one).collect()
    });
    check(
        &prometheus,
        &[
            (
                "measure{ns=\"x\",pod=~\"a|b\"}",
                "measure{ns=x,pod=a} 100; measure{ns=x,pod=b} 100",
            ),
            ("measure{ns=\"x\",pod=\"a\"}", "measure{ns=x,pod=a} 100"),
            ("measure{ns=\"x\"}", ""),
            ("measure{ns=\"x\",pod=~\"a.*\"}", ""),
            ("measure{ns!=\"nobody\",pod=\"a\"}", ""),
            ("rate(measure{ns=\"x\",pod=\"a\"}[1m])", "{ns=x,pod=a} 1"),
            ("other", "other{} 1"),
        ],
    );
}

#[test]
fn a_script_never_answers_more_than_was_asked_for() {
    let prometheus = with(&[("measure{pod=\"set\"}", 3.0)]);
    prometheus.script("measure", |_, _| {
        ["a", "b"]
            .map(|pod| (Labels::from([("pod".to_owned(), pod.to_owned())]), 1.0))
            .to_vec()
    });
    check(
        &prometheus,
        &[
            ("measure{pod=\"b\"}", "measure{pod=b} 1"),
            ("measure", "measure{pod=a} 1; measure{pod=b} 1; measure{pod=set} 3"),
            ("count({pod=~\".+\"})", "{} 3"),
        ],
    );
}

#[test]
fn a_script_may_name_its_series_in_any_order() {
    let prometheus = Prometheus::new();
    prometheus.script("x", |_, at| {
        let turn = at.as_second() % 3 == 0;
        let names = if turn { ["a", "b", "b"] } else { ["b", "a", "c"] };
        let one = |name: &str| (Labels::from([("n".to_owned(), name.to_owned())]), 1.0);
        names.map(one).to_vec()
    });
    check(
        &prometheus,
        &[
            ("count_over_time(x[6s])", "{n=a} 6; {n=b} 6; {n=c} 4"),
            ("rate(x[6s])", "{n=a} 0; {n=b} 0; {n=c} 0"),
        ],
    );
}
