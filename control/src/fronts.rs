//! How clients reach the rooms: one module for each protocol.

pub mod browser;
pub mod whip;
