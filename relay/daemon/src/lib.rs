//! What both processes need to live through their surroundings: a log that cannot end them, descriptors, and fair shares
//! of what strangers take.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod descriptors;
pub mod log;
pub mod notice;
pub mod prefix;
pub mod share;
