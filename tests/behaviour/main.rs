//! The behaviour suite verifies the guarantees in `docs/api.md` against an API server: the embedded one as part of `cargo
//! test`, or a real one, which `hack/plane/plane run -- cargo test --locked --test behaviour` starts.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed expectation ends the test"
)]
#![allow(clippy::needless_pass_by_value, reason = "helpers take a `json!` literal")]

mod support;

mod again;
mod api_server;
mod bad_input;
mod canary_app;
mod canary_deployment;
mod clocks;
mod controllers;
mod conversion;
mod crash;
mod daemon_sets;
mod data_plane;
mod deletion;
mod fleet;
mod in_place;
mod joined;
mod keda;
mod label_watch;
mod leaving;
mod lifecycle;
mod manual;
mod measurements;
mod metric;
mod metric_answers;
mod metrics_servers;
mod no_data;
mod old_group;
mod outages;
mod overruled;
mod owners;
mod places;
mod prom_ql;
mod proof;
mod protection;
mod published;
mod readme;
mod refused;
mod rollout;
mod route_owners;
mod routes;
mod scale;
mod seen;
mod shards;
mod stateful_sets;
mod storm;
mod target;
mod traces;
mod traffic;
mod webhooks;
mod writes;
