//! Numbers in messages.

/// At most six significant digits, without trailing zeros: `0.47`, `1234.57`, `5000000`, `1.23457e9`.
pub(in crate::validation) fn short(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let scientific = format!("{value:.5e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let exact = scientific.parse() == Ok(value);
    match exponent {
        -5..=5 => {
            let decimals = usize::try_from(5 - exponent).unwrap_or(0);
            without_zeros(&format!("{value:.decimals$}")).to_owned()
        }
        6..=14 if exact => format!("{value:.0}"),
        _ => format!("{}e{exponent}", without_zeros(mantissa)),
    }
}

fn without_zeros(digits: &str) -> &str {
    if digits.contains('.') {
        digits.trim_end_matches('0').trim_end_matches('.')
    } else {
        digits
    }
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn a_number_has_at_most_six_digits_and_no_zeros_at_its_end() {
        for (value, shown) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (0.47, "0.47"),
            (0.31, "0.31"),
            (-12.5, "-12.5"),
            (100.0, "100"),
            (1.0 / 3.0, "0.333333"),
            (10.000_000_000_000_009, "10"),
            (1234.5678, "1234.57"),
            (99.999_999, "100"),
            (999_999.9, "1e6"),
            (5_000_000.0, "5000000"),
            (1_234_567.0, "1.23457e6"),
            (0.000_012_345_678, "0.0000123457"),
            (0.000_001, "1e-6"),
            (1e300, "1e300"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(short(value), shown, "{value:e}");
        }
    }
}
