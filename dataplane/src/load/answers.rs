//! What became of requests.

use std::{collections::BTreeMap, fmt, time::Instant};

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// The answer was not a success of a pod.
    Status(u16),
    /// There was no answer in time.
    Late,
    /// There was no connection, or it broke.
    Broken(String),
}

/// What became of one request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// When it was sent.
    pub at: Instant,
    /// When it was answered, or had failed.
    pub until: Instant,
    /// Who sent it.
    pub user: usize,
    /// The version that answered.
    pub result: Result<String, Failure>,
}

/// What became of requests.
#[derive(Clone, Debug, Default)]
pub struct Answers(pub(super) Vec<Answer>);

impl Answers {
    /// Those sent from `from` on and answered before `to`: on a slow machine, a proxy may handle a request long after it was sent.
    #[must_use]
    pub fn between(&self, from: Instant, to: Instant) -> Self {
        let among = self.0.iter().filter(|answer| answer.at >= from && answer.until < to);
        Self(among.cloned().collect())
    }

    /// How many there are, with failures.
    #[must_use]
    pub fn total(&self) -> usize {
        self.0.len()
    }

    /// How many a version answered.
    #[must_use]
    pub fn of(&self, version: &str) -> usize {
        let by = |answer: &&Answer| answer.result.as_deref() == Ok(version);
        self.0.iter().filter(by).count()
    }

    /// How many failed, and why.
    #[must_use]
    pub fn failures(&self) -> BTreeMap<Failure, usize> {
        let mut failures = BTreeMap::new();
        for failure in self.0.iter().filter_map(|answer| answer.result.as_ref().err()) {
            *failures.entry(failure.clone()).or_default() += 1;
        }
        failures
    }

    /// The difference between the number of answers of a version and its expectation, in standard deviations of the binomial
    /// distribution. Infinite for an answer that must not be.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "there are no more than some million requests")]
    pub fn deviations(&self, version: &str, percent: f64) -> f64 {
        let (total, found, share) = (self.total() as f64, self.of(version) as f64, percent / 100.0);
        let difference = found - total * share;
        if difference == 0.0 {
            return 0.0;
        }
        difference.abs() / (total * share * (1.0 - share)).sqrt()
    }

    /// How many users got answers of several versions.
    #[must_use]
    pub fn moved(&self) -> usize {
        let mut versions: BTreeMap<usize, &str> = BTreeMap::new();
        let mut moved = std::collections::BTreeSet::new();
        for answer in &self.0 {
            let Ok(version) = &answer.result else { continue };
            if *versions.entry(answer.user).or_insert(version) != version {
                moved.insert(answer.user);
            }
        }
        moved.len()
    }
}

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut versions: BTreeMap<&str, usize> = BTreeMap::new();
        for version in self.0.iter().filter_map(|answer| answer.result.as_deref().ok()) {
            *versions.entry(version).or_default() += 1;
        }
        let failed: usize = self.failures().values().sum();
        write!(f, "{} requests: {versions:?}, {failed} failed", self.total())?;
        if failed > 0 {
            write!(f, " {:?}", self.failures())?;
        }
        Ok(())
    }
}
