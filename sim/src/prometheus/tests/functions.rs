//! Functions of instant vectors and scalars.

use super::{Prometheus, ask_at, check, with};

fn series() -> Prometheus {
    with(&[
        ("x{pod=\"a-1\"}", 1.25),
        ("x{pod=\"b-2\"}", -2.5),
        ("odd{n=\"1\"}", f64::NAN),
        ("odd{n=\"2\"}", 7.0),
        ("odd{n=\"3\"}", 3.0),
    ])
}

#[test]
fn numbers_are_mapped_one_by_one() {
    check(
        &series(),
        &[
            ("abs(x)", "{pod=a-1} 1.25; {pod=b-2} 2.5"),
            ("ceil(x)", "{pod=a-1} 2; {pod=b-2} -2"),
            ("floor(x)", "{pod=a-1} 1; {pod=b-2} -3"),
            ("round(x)", "{pod=a-1} 1; {pod=b-2} -2"),
            ("round(x, 0.5)", "{pod=a-1} 1.5; {pod=b-2} -2.5"),
            ("sgn(x)", "{pod=a-1} 1; {pod=b-2} -1"),
            ("sqrt(vector(9))", "{} 3"),
            ("sqrt(vector(-1))", "{} NaN"),
            ("ln(vector(0))", "{} -Inf"),
            ("log2(vector(8))", "{} 3"),
            ("log10(vector(100))", "{} 2"),
            ("exp(vector(0))", "{} 1"),
        ],
    );
}

#[test]
fn values_are_clamped() {
    check(
        &series(),
        &[
            ("clamp(x, -1, 1)", "{pod=a-1} 1; {pod=b-2} -1"),
            ("clamp(x, 2, 1)", ""),
            ("clamp_min(x, 0)", "{pod=a-1} 1.25; {pod=b-2} 0"),
            ("clamp_max(x, 0)", "{pod=a-1} 0; {pod=b-2} -2.5"),
            ("clamp_max(odd{n=\"1\"}, 5)", "{n=1} NaN"),
            ("clamp_max(odd{n=\"1\"}, -Inf)", "{n=1} -Inf"),
            ("clamp_min(vector(Inf), NaN)", "{} +Inf"),
            ("clamp(x, NaN, 1)", "{pod=a-1} NaN; {pod=b-2} NaN"),
        ],
    );
}

#[test]
fn scalars_and_vectors_become_each_other() {
    check(
        &series(),
        &[
            ("vector(3)", "{} 3"),
            ("scalar(x{pod=\"a-1\"})", "1.25"),
            ("scalar(x)", "NaN"),
            ("scalar(nothing)", "NaN"),
            ("x / scalar(x{pod=\"a-1\"})", "{pod=a-1} 1; {pod=b-2} -2"),
            ("pi()", "3.141592653589793"),
        ],
    );
}

#[test]
fn time_is_the_time_of_the_query() {
    let prometheus = series();
    assert_eq!(ask_at(&prometheus, 100, "time()"), "100");
    assert_eq!(ask_at(&prometheus, 100, "vector(time()) - 40"), "{} 60");
    assert_eq!(ask_at(&prometheus, 100, "timestamp(odd{n=\"3\"})"), "{n=3} 100");
}

#[test]
fn absent_yields_1_with_the_labels_that_were_asked_for() {
    check(
        &series(),
        &[
            ("absent(x)", ""),
            ("absent(nothing)", "{} 1"),
            ("absent(nothing{a=\"b\",c=~\"d\",e!=\"f\"})", "{a=b} 1"),
            ("absent(nothing{a=\"b\",a=\"c\"})", "{} 1"),
            ("absent((nothing{a=\"b\"}))", "{a=b} 1"),
            ("absent(sum(nothing{a=\"b\"}))", "{} 1"),
            ("absent_over_time(nothing{a=\"b\"}[5m])", "{a=b} 1"),
            ("absent_over_time(x[5m])", ""),
        ],
    );
}

#[test]
fn nan_is_sorted_last() {
    check(
        &series(),
        &[
            ("sort(odd)", "odd{n=3} 3; odd{n=2} 7; odd{n=1} NaN"),
            ("sort_desc(odd)", "odd{n=2} 7; odd{n=3} 3; odd{n=1} NaN"),
        ],
    );
}

#[test]
fn labels_are_replaced_where_the_whole_value_matches() {
    check(
        &series(),
        &[
            (
                "label_replace(x, \"app\", \"$1\", \"pod\", \"(.*)-.\")",
                "x{app=a,pod=a-1} 1.25; x{app=b,pod=b-2} -2.5",
            ),
            (
                "label_replace(x, \"app\", \"${first}_x\", \"pod\", \"(?P<first>a).*\")",
                "x{app=a_x,pod=a-1} 1.25; x{pod=b-2} -2.5",
            ),
            (
                "label_replace(x{pod=\"a-1\"}, \"app\", \"y\", \"pod\", \"a\")",
                "x{pod=a-1} 1.25",
            ),
            ("label_replace(x{pod=\"a-1\"}, \"pod\", \"\", \"\", \"\")", "x{} 1.25"),
            (
                "label_replace(x{pod=\"a-1\"}, \"__name__\", \"y\", \"\", \"\")",
                "y{pod=a-1} 1.25",
            ),
            (
                "label_replace(x, \"pod\", \"same\", \"\", \"\")",
                "execution vector cannot contain metrics with the same labelset",
            ),
            (
                "label_replace(x, \"pod\", \"\", \"pod\", \"(\")",
                "execution invalid regular expression in label_replace(): (",
            ),
        ],
    );
}

#[test]
fn labels_are_joined() {
    let prometheus = with(&[("x{a=\"1\",b=\"2\"}", 5.0)]);
    check(
        &prometheus,
        &[
            ("label_join(x, \"c\", \"-\", \"a\", \"b\")", "x{a=1,b=2,c=1-2} 5"),
            ("label_join(x, \"a\", \"-\")", "x{b=2} 5"),
        ],
    );
}
