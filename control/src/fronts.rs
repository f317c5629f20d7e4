//! How clients reach the rooms: one module for each protocol, which renders events and refusals for its clients.

pub mod browser;
mod codes;
pub mod whip;
