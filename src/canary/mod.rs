//! The pure core: from what was seen to what will be done. No async, no client, no clock, no randomness, no logging.

pub mod validation;
