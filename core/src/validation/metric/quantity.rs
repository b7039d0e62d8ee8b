//! Quantities of Kubernetes as numbers.

/// The number of a quantity such as `250m`, `1.5Gi` or `2e3`. `None` if it is none.
pub(super) fn number(text: &str) -> Option<f64> {
    let is_digit = |char: char| char.is_ascii_digit() || ['.', '+', '-'].contains(&char);
    let end = text.find(|char| !is_digit(char)).unwrap_or(text.len());
    let (digits, suffix) = text.split_at_checked(end)?;
    if !digits.contains(|char: char| char.is_ascii_digit()) {
        return None;
    }
    let digits: f64 = digits.parse().ok()?;
    // A division by 1000 is exact to the last digit, and a product with 0.001 is not.
    let factor = || {
        factor(suffix).or_else(|| {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            Some(10_f64.powi(exponent.parse().ok()?))
        })
    };
    let number = match parts(suffix) {
        Some(parts) => digits / parts,
        None => digits * factor()?,
    };
    Some(number).filter(|number| number.is_finite())
}

/// How many units of a small suffix make a whole.
fn parts(suffix: &str) -> Option<f64> {
    Some(match suffix {
        "n" => 1e9,
        "u" => 1e6,
        "m" => 1e3,
        _ => return None,
    })
}

fn factor(suffix: &str) -> Option<f64> {
    const KIBI: f64 = 1024.0;
    Some(match suffix {
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => KIBI,
        "Mi" => KIBI.powi(2),
        "Gi" => KIBI.powi(3),
        "Ti" => KIBI.powi(4),
        "Pi" => KIBI.powi(5),
        "Ei" => KIBI.powi(6),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn quantities_are_numbers_with_a_suffix_or_an_exponent() {
        for (text, expected) in [
            ("0", 0.0),
            ("100", 100.0),
            ("+5", 5.0),
            ("-3", -3.0),
            (".5", 0.5),
            ("250m", 0.25),
            ("12345678n", 0.012_345_678),
            ("1.5k", 1500.0),
            ("2Ki", 2048.0),
            ("1Gi", 1_073_741_824.0),
            ("3E", 3e18),
            ("2e3", 2000.0),
            ("2E-3", 0.002),
        ] {
            let found = number(text).unwrap();
            assert!((found - expected).abs() <= expected.abs() * 1e-12, "{text}: {found}");
        }
    }

    #[test]
    fn other_texts_are_no_quantities() {
        for text in [
            "", "m", "much", "1 Gi", "1gi", "1e", "e3", "1e400", "--1", "NaN", "inf", "0x10",
        ] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
