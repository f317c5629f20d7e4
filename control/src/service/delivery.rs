//! An event on its way to members, and what a front writes of it.

use crate::rooms::events::RoomEvent;
use bytes::Bytes;
use std::sync::{Arc, OnceLock};
use tokio::sync::mpsc;

/// One event, shared by all to whom it goes.
#[derive(Debug)]
pub struct Delivery {
    pub event: RoomEvent,
    rendered: OnceLock<Bytes>,
}

/// Where a session's events go. Dropping it ends the session.
pub type Queue = mpsc::Sender<Arc<Delivery>>;

impl Delivery {
    pub(super) fn new(event: RoomEvent) -> Arc<Self> {
        Arc::new(Self { event, rendered: OnceLock::new() })
    }

    /// The event as clients of one protocol get it, rendered once for all of them and outside of the lock. Only for a
    /// front that writes the same bytes to everybody.
    pub fn rendered(&self, render: impl FnOnce(&RoomEvent) -> Bytes) -> Bytes {
        self.rendered.get_or_init(|| render(&self.event)).clone()
    }
}
