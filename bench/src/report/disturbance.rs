//! When other load on the machine makes a run's figures doubtful.

/// Shares of the machine's CPU time above which a run counts as disturbed by others.
const STEAL_DISTURBS: f64 = 0.02;
const OTHERS_DISTURB: f64 = 0.05;
/// Threads that used less than this share of a CPU are left out of tables.
pub(crate) const IDLE_THREAD: f64 = 0.001;

/// Whether time that the hypervisor took, or other programs, disturbed a run.
pub(crate) fn is_disturbed(steal_ratio: f64, others_ratio: f64) -> bool {
    steal_ratio > STEAL_DISTURBS || others_ratio > OTHERS_DISTURB
}
