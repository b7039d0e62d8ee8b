//! PromQL items.
