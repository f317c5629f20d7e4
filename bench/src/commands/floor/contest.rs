//! Variants that take turns, so that whatever else happens on the machine meets all of them alike.

use crate::ground::kernel::{self, ThreadUse};
use anyhow::{anyhow, bail};
use serde::Serialize;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Kernel threads that cost more than this share of a variant are mentioned, and so is a larger share of lost datagrams.
const ELSEWHERE_COUNTS: f64 = 0.03;
const MISSING_COUNTS: f64 = 0.001;

/// How often and how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Turns that count.
    pub(crate) turns: u32,
    /// CPU time of one.
    pub(crate) turn: Duration,
    /// The CPU that the measured thread stays on.
    pub(crate) cpu: usize,
}

/// One turn.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Sample {
    pub(crate) datagrams: u64,
    /// Of the measured thread.
    pub(crate) cpu_ns: u64,
    /// Of kernel threads that took work over from it.
    pub(crate) elsewhere_ns: u64,
    /// Datagrams that the receivers did not get.
    pub(crate) missing: u64,
    pub(crate) used: ThreadUse,
}

impl Sample {
    pub(crate) fn ns_per_datagram(&self) -> f64 {
        (self.cpu_ns + self.elsewhere_ns) as f64 / self.datagrams.max(1) as f64
    }
}

/// What one variant cost, in ns of CPU per datagram.
#[derive(Clone, Serialize, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) median_ns: f64,
    pub(crate) least_ns: f64,
    pub(crate) most_ns: f64,
    /// Kernel threads' part of it, on average.
    pub(crate) elsewhere_ns: f64,
    pub(crate) missing_ratio: f64,
    /// By getrusage: the part in kernel mode.
    pub(crate) system_share: f64,
    pub(crate) preemptions: u64,
    /// Why there are no figures.
    pub(crate) refused: Option<String>,
}

impl Outcome {
    pub(crate) fn of(samples: &[Sample]) -> Self {
        let mut ns: Vec<f64> = samples.iter().map(Sample::ns_per_datagram).collect();
        ns.sort_by(f64::total_cmp);
        let (Some(least), Some(most)) = (ns.first(), ns.last()) else {
            return Self { refused: Some("no turn".to_owned()), ..Self::default() };
        };
        let datagrams: u64 = samples.iter().map(|sample| sample.datagrams).sum();
        let mut used = ThreadUse::default();
        samples.iter().for_each(|sample| used.add(&sample.used));
        let elsewhere: u64 = samples.iter().map(|sample| sample.elsewhere_ns).sum();
        let missing: u64 = samples.iter().map(|sample| sample.missing).sum();
        let datagrams = datagrams.max(1) as f64;
        Self {
            median_ns: (ns[(ns.len() - 1) / 2] + ns[ns.len() / 2]) / 2.0,
            least_ns: *least,
            most_ns: *most,
            elsewhere_ns: elsewhere as f64 / datagrams,
            missing_ratio: missing as f64 / datagrams,
            system_share: used.system_ns as f64 / (used.user_ns + used.system_ns).max(1) as f64,
            preemptions: used.preemptions,
            refused: None,
        }
    }

    fn refused(reason: String) -> Self {
        Self { refused: Some(reason), ..Self::default() }
    }

    /// The figure for people: the median, what kernel threads did of it, the least and the most, and what was lost, the
    /// last three where they are worth mentioning.
    pub(crate) fn cell(&self) -> String {
        if let Some(reason) = &self.refused {
            return format!("not here: {reason}");
        }
        let mut text = format!("{:.0}", self.median_ns);
        if self.elsewhere_ns > ELSEWHERE_COUNTS * self.median_ns {
            text += &format!(" +{:.0}", self.elsewhere_ns);
        }
        if self.least_ns < self.most_ns {
            text += &format!(" ({:.0}–{:.0})", self.least_ns, self.most_ns);
        }
        if self.missing_ratio > MISSING_COUNTS {
            text += &format!(" lost {:.1} %", self.missing_ratio * 100.0);
        }
        text
    }
}

/// Something that can be measured for one turn, or was refused when it was set up.
pub(crate) type Contender<'a> = anyhow::Result<Box<dyn FnMut() -> anyhow::Result<Sample> + 'a>>;

/// Lets all take turns, from first to last and then back; the first turn is thrown away. An outcome for each.
/// `stop` ends it after a turn.
pub(crate) fn alternate(contenders: Vec<Contender<'_>>, turns: u32, stop: &AtomicBool) -> Vec<Outcome> {
    let mut results: Vec<Result<Vec<Sample>, String>> = Vec::new();
    let mut runners = Vec::new();
    for (index, contender) in contenders.into_iter().enumerate() {
        match contender {
            Ok(runner) => {
                runners.push((index, runner));
                results.push(Ok(Vec::new()));
            }
            Err(error) => results.push(Err(format!("{error:#}"))),
        }
    }
    for turn in 0..=turns {
        runners.reverse();
        for (index, runner) in &mut runners {
            if stop.load(Ordering::Relaxed) {
                continue;
            }
            let Ok(samples) = &mut results[*index] else { continue };
            match runner() {
                Ok(sample) if turn > 0 => samples.push(sample),
                Ok(_) => {}
                Err(error) => results[*index] = Err(format!("{error:#}")),
            }
        }
    }
    let outcome = |result: Result<Vec<Sample>, String>| match result {
        Ok(samples) => Outcome::of(&samples),
        Err(reason) => Outcome::refused(reason),
    };
    results.into_iter().map(outcome).collect()
}

/// The CPU to measure on, the last by default, and all of this process.
pub(crate) fn choose_cpu(wanted: Option<usize>) -> anyhow::Result<(usize, Vec<usize>)> {
    let cpus = kernel::cpus()?;
    let Some(cpu) = wanted.or(cpus.last().copied()).filter(|cpu| cpus.contains(cpu)) else {
        bail!("this process may only use the CPUs {cpus:?}; choose one of them with --cpu");
    };
    Ok((cpu, cpus))
}

/// Runs this on a new thread that stays on one CPU.
pub(crate) fn on_cpu<T: Send>(cpu: usize, task: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    let pinned = || {
        kernel::pin(&[cpu]).map_err(|error| anyhow!("cannot stay on CPU {cpu}: {error}"))?;
        task()
    };
    thread::scope(|scope| scope.spawn(pinned).join().map_err(|_| anyhow!("the measuring thread ended by itself"))?)
}

/// CPU time of the kernel threads that take work over from a thread on this CPU: io_uring's workers of this process,
/// and ksoftirqd when there is much to deliver.
pub(crate) fn kernel_threads_ns(cpu: usize) -> u64 {
    let ksoftirqd = format!("ksoftirqd/{cpu}");
    let workers = sum_ns("/proc/self/task", |name| name.starts_with("iou-"));
    workers + sum_ns("/proc", |name| name == ksoftirqd)
}

fn sum_ns(folder: &str, wanted: impl Fn(&str) -> bool) -> u64 {
    let ns = |path: PathBuf| -> Option<u64> {
        let name = fs::read_to_string(path.join("comm")).ok()?;
        if !wanted(name.trim_end()) {
            return None;
        }
        // The time on a CPU, the time waiting for one, and how often.
        fs::read_to_string(path.join("schedstat")).ok()?.split(' ').next()?.parse().ok()
    };
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries.flatten().filter_map(|entry| ns(entry.path())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    fn sample(cpu_ns: u64) -> Sample {
        Sample { datagrams: 10, cpu_ns, ..Sample::default() }
    }

    #[test]
    fn all_take_turns_and_the_first_turn_does_not_count() {
        let order = RefCell::new(Vec::new());
        let runner = |name: char, first: u64| -> Contender<'_> {
            let (order, mut turn) = (&order, 0);
            Ok(Box::new(move || {
                order.borrow_mut().push(name);
                turn += 1;
                Ok(sample(if turn == 1 { first } else { turn * 100 }))
            }))
        };
        let contenders = vec![runner('a', 1_000_000), Err(anyhow::anyhow!("not here")), runner('b', 7)];
        let outcomes = alternate(contenders, 3, &AtomicBool::new(false));
        assert_eq!(order.into_inner(), ['b', 'a', 'a', 'b', 'b', 'a', 'a', 'b']);
        assert_eq!((outcomes[0].least_ns, outcomes[0].median_ns, outcomes[0].most_ns), (20.0, 30.0, 40.0));
        assert_eq!(outcomes[1].refused.as_deref(), Some("not here"));
        assert_eq!(outcomes[2].median_ns, 30.0);
    }

    #[test]
    fn who_fails_in_the_middle_has_no_figures() {
        let mut turn = 0;
        let failing: Contender<'_> = Ok(Box::new(|| {
            turn += 1;
            if turn > 2 { anyhow::bail!("EINVAL") } else { Ok(sample(1)) }
        }));
        assert_eq!(alternate(vec![failing], 5, &AtomicBool::new(false))[0].refused.as_deref(), Some("EINVAL"));
    }

    #[test]
    fn the_median_of_two_lies_between_them() {
        assert_eq!(Outcome::of(&[sample(30), sample(10)]).median_ns, 2.0);
        assert!(Outcome::of(&[]).refused.is_some());
    }

    #[test]
    fn a_cell_says_what_is_to_be_known_about_its_figure() {
        let outcome = Outcome { median_ns: 1420.4, least_ns: 1390.0, most_ns: 1500.6, ..Outcome::default() };
        assert_eq!(outcome.cell(), "1420 (1390–1501)");
        let noted = Outcome { elsewhere_ns: 200.0, missing_ratio: 0.05, ..outcome.clone() };
        assert_eq!(noted.cell(), "1420 +200 (1390–1501) lost 5.0 %");
        let refused = Outcome { refused: Some("Invalid argument".into()), ..outcome };
        assert_eq!(refused.cell(), "not here: Invalid argument");
    }
}
