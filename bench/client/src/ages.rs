//! How old media was, by the stamps that its sender put into it.

use super::histogram::Histogram;

/// In microseconds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ages {
    /// When the client had its hands on it: what a participant sees.
    pub handled: Histogram,
    /// When it came out of the network, before the receiver has done anything: what the server is answerable for.
    pub arrived: Histogram,
}

impl Ages {
    /// Takes all of another one.
    pub fn add(&mut self, other: &Self) {
        self.handled.add(&other.handled);
        self.arrived.add(&other.arrived);
    }
}
