//! What one invocation does, after its arguments were checked.

use std::{path::PathBuf, time::Duration};

/// Who does the work of the canaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Operator {
    /// The `kanary` program.
    Kanary,
    /// The load generator, with the fewest requests that a canary needs.
    Floor,
}

impl Operator {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kanary => "kanary",
            Self::Floor => "floor",
        }
    }
}

/// When Kanaries are created.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Arrivals {
    /// All at once.
    Burst,
    /// This many each second, at equal distances.
    Even(f64),
    /// This many each second on average, independently of each other.
    Poisson(f64),
}

/// What happens while the canaries run. Times count from the first arrival.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Disturbance {
    None,
    /// SIGKILL for the first replica, which is started again at once if `restart`.
    Kill {
        after: Duration,
        restart: bool,
    },
    /// Each replica is replaced by a new one, as in a rolling update.
    Roll {
        after: Duration,
    },
    /// Prometheus answers late, and with errors.
    Brownout {
        after: Duration,
        lasts: Duration,
        latency: Duration,
        error_percent: u8,
    },
}

/// A tenant whose Kanaries cannot make progress.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Tenant {
    /// An admission webhook answers late to the creation of the tenant's Deployments.
    Webhook { kanaries: usize, delay: Duration },
    /// Each item asks a Prometheus of its own that refuses connections or never answers.
    Endpoints { endpoints: usize, items: usize },
}

impl Tenant {
    /// Number of the tenant's Kanaries.
    pub(crate) fn kanaries(self) -> usize {
        match self {
            Self::Webhook { kanaries, .. } => kanaries,
            Self::Endpoints { endpoints, items } => endpoints.div_ceil(items),
        }
    }
}

/// Size of the pod templates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Template {
    /// One container with an image.
    Small,
    /// Three containers with probes, resources and volumes, and 20 environment variables in the first.
    Realistic,
}

impl Template {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Realistic => "realistic",
        }
    }
}

/// Everything that is the same in all runs of an invocation.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) scenario: &'static str,
    /// One run for each number of canaries and each operator.
    pub(crate) canaries: Vec<usize>,
    pub(crate) operators: Vec<Operator>,
    pub(crate) replicas: usize,
    pub(crate) validation: Duration,
    pub(crate) interval: Duration,
    pub(crate) template: Template,
    pub(crate) arrivals: Arrivals,
    pub(crate) disturbance: Disturbance,
    pub(crate) tenant: Option<Tenant>,
    /// Writes of the load generator in flight.
    pub(crate) in_flight: usize,
    pub(crate) seed: u64,
    /// How much longer than planned the canaries may take.
    pub(crate) patience: Duration,
    pub(crate) program: PathBuf,
    pub(crate) program_arguments: Vec<String>,
    pub(crate) results: PathBuf,
    /// Name of the files in `results`.
    pub(crate) name: String,
    /// The arguments, to repeat the measurement.
    pub(crate) command: String,
}

/// One run of the plan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) number: usize,
    pub(crate) operator: Operator,
    pub(crate) canaries: usize,
    pub(crate) tenant: Option<Tenant>,
}

impl Plan {
    /// All runs in their order. A scenario with a tenant has a run without it, for comparison.
    pub(crate) fn parts(&self) -> Vec<Part> {
        let mut parts = Vec::new();
        for &canaries in &self.canaries {
            for &operator in &self.operators {
                let mut tenants = vec![None];
                if self.tenant.is_some() && operator == Operator::Kanary {
                    tenants.push(self.tenant);
                }
                for tenant in tenants {
                    let number = parts.len();
                    parts.push(Part {
                        number,
                        operator,
                        canaries,
                        tenant,
                    });
                }
            }
        }
        parts
    }
}
