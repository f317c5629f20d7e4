//! The server under load.

use crate::ground::Process;
use crate::ground::lab::{Ground, ReceiveWork};
use crate::ground::servers::Server;
use plausch_client::{Entry, Trust};

/// Where participants join, and whose work is measured.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) url: String,
    pub(crate) entry: Entry,
    pub(crate) trust: Trust,
    /// Who it is, where that is known beforehand.
    pub(crate) server: Option<String>,
    /// Those whose CPU time counts; of a server that the run did not start, found out later.
    pub(crate) processes: Vec<Process>,
    /// CPUs that nobody but the server should use; empty where that is not so.
    pub(crate) cpus: Vec<usize>,
    /// Whether those CPUs also do the kernel's receive work for it.
    pub(crate) receives_itself: bool,
    /// Where the server tells what it counts.
    pub(crate) metrics: Vec<(String, Trust)>,
    /// What packets go over.
    pub(crate) device: Option<String>,
}

impl Target {
    /// A server that the run has started.
    pub(crate) fn own(server: &Server, ground: &Ground) -> Self {
        Self {
            url: server.url.clone(),
            entry: server.entry,
            trust: server.trust.clone(),
            server: Some(server.name.clone()),
            processes: server.processes.clone(),
            cpus: ground.server_cpus().to_vec(),
            receives_itself: ground.cable().is_some_and(|cable| cable.receive_work == ReceiveWork::Own),
            metrics: server.metrics.iter().map(|url| (url.clone(), Trust::System)).collect(),
            device: Some(ground.device()),
        }
    }
}
