//! When Kanaries are created. The times do not depend on how long anything takes.

use std::time::Duration;

use crate::plan::Arrivals;

/// Offsets of `canaries` arrivals from the start, in order.
pub(crate) fn offsets(arrivals: Arrivals, canaries: usize, seed: u64) -> Vec<Duration> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut at = 0.0;
    let mut next = || match arrivals {
        Arrivals::Burst => 0.0,
        Arrivals::Even(rate) => {
            let offset = at;
            at += 1.0 / rate;
            offset
        }
        Arrivals::Poisson(rate) => {
            // f64() is below 1, so that the logarithm is finite.
            at -= (1.0 - random.f64()).ln() / rate;
            at
        }
    };
    (0..canaries).map(|_| Duration::from_secs_f64(next())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_distance_is_the_inverse_of_the_rate() {
        for arrivals in [Arrivals::Even(5.0), Arrivals::Poisson(5.0)] {
            let offsets = offsets(arrivals, 10_000, 1);
            assert!(offsets.is_sorted());
            let last = offsets.last().unwrap().as_secs_f64();
            assert!((1900.0..2100.0).contains(&last), "{arrivals:?}: {last}");
        }
        assert_eq!(offsets(Arrivals::Burst, 2, 1), [Duration::ZERO; 2]);
    }

    #[test]
    fn one_seed_gives_one_sequence() {
        let of = |seed| offsets(Arrivals::Poisson(1.0), 3, seed);
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }
}
