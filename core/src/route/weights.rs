//! Weights of the backends of one rule.

/// The largest weight that Gateway API accepts.
const MOST: u64 = 1_000_000;

/// The weight of one percent of the requests of each backend, from the weights that the user wrote: a canary with a share of `s`
/// percent gets `s` times as much, and the backend keeps the rest of 100. So all shares are exact, and the proportions between
/// backends stay as they are.
///
/// # Errors
///
/// The weights are too fine: no integers within the bounds of the API have these proportions.
pub(super) fn factors(former: &[u64]) -> Result<Vec<u64>, String> {
    let divisor = former.iter().copied().fold(0, gcd).max(1);
    let factors: Vec<_> = former.iter().map(|weight| weight / divisor).collect();
    let sum = factors.iter().fold(0_u64, |sum, factor| sum.saturating_add(*factor));
    if sum.saturating_mul(100) > MOST {
        return Err(format!(
            "the weights of the rule ({}) cannot be split into percent within the largest weight of {MOST}: use smaller numbers with \
             the same proportions",
            former.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
        ));
    }
    Ok(factors)
}

fn gcd(one: u64, other: u64) -> u64 {
    if other == 0 { one } else { gcd(other, one % other) }
}
