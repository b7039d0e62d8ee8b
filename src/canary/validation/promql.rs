//! PromQL items.
use super::{Answer, Sample};
use crate::api::{OnNoData, PromQlItem, PrometheusAuth};
use std::time::Duration;
/// e
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// u
    pub url: String,
    /// a
    pub auth: Option<PrometheusAuth>,
}
/// p
#[derive(Clone, Debug, PartialEq)]
pub struct PromQl {
    /// e
    pub endpoint: Endpoint,
    /// f
    pub failure_limit: u32,
    /// e
    pub error_limit: u32,
    /// m
    pub min_samples: u32,
    /// i
    pub interval: Duration,
    /// o
    pub on_no_data: OnNoData,
}
/// v
pub struct Vars<'a> {
    /// d
    pub deployment: &'a str,
    /// c
    pub canary: &'a str,
    /// s
    pub service: &'a str,
    /// n
    pub namespace: &'a str,
    /// k
    pub kanary: &'a str,
    /// p
    pub pods: &'a [&'a str],
}
impl PromQl {
    /// p
    pub fn parse(_item: &PromQlItem, _max: Duration) -> Result<Self, String> {
        Err("stub".into())
    }
    /// r
    pub fn render(&self, _vars: &Vars<'_>) -> String {
        String::new()
    }
    /// n
    pub fn needs_pods(&self) -> bool {
        false
    }
    /// j
    pub fn judge(&self, _answer: &Answer, _ready: &[&str]) -> Sample {
        Sample {
            outcome: super::Outcome::Error,
            value: None,
            message: String::new(),
        }
    }
}
