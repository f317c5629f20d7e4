//! The rings between one edge thread and one shard.

use super::records::{Reader, Writer, records};
use crate::ring::{Receiver, Sender, Wake, ring};
use plausch_engine::{EdgeTask, EngineCommand, Path};
use plausch_relay_api::limits::{EDGE_RING_BYTES, EDGE_RING_MESSAGES};

/// Shard → edge, besides datagrams.
#[derive(Clone, Copy, Debug)]
pub enum ToEdge {
    /// For a client of the thread.
    Task { client: Path, task: EdgeTask },
    /// The shard begins anew and knows nothing of what was: its listeners and its peers' connections end.
    Reset,
}

/// What the thread has.
#[derive(Debug)]
pub struct ThreadEnds {
    pub to_shard: Writer,
    pub news: Sender<EngineCommand>,
    pub from_shard: Reader,
    pub tasks: Receiver<ToEdge>,
}

/// What the shard has.
#[derive(Debug)]
pub struct ShardEnds {
    pub to_edge: Writer,
    pub tasks: Sender<ToEdge>,
    pub from_edge: Reader,
    pub news: Receiver<EngineCommand>,
}

/// Makes the rings; each end with the way to wake who reads there.
pub fn rings(shard: &Wake, thread: &Wake) -> (ThreadEnds, ShardEnds) {
    let (to_shard, from_edge) = records(EDGE_RING_BYTES, shard.clone());
    let (to_edge, from_shard) = records(EDGE_RING_BYTES, thread.clone());
    let (thread_news, news) = ring(EDGE_RING_MESSAGES, shard.clone());
    let (tasks, thread_tasks) = ring(EDGE_RING_MESSAGES, thread.clone());
    (
        ThreadEnds { to_shard, news: thread_news, from_shard, tasks: thread_tasks },
        ShardEnds { to_edge, tasks, from_edge, news },
    )
}
