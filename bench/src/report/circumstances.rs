//! On what, when and how a run was made: what a figure is worth nothing without.

use std::fs;
use std::process::Command;
use std::thread::available_parallelism;
use std::time::{SystemTime, UNIX_EPOCH};

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub(crate) struct Circumstances {
    /// CPU model, how many of them this program may use, and the kernel.
    pub(crate) machine: String,
    pub(crate) command: String,
    /// In UTC.
    pub(crate) date: String,
    /// Of the sources beside this program, if there are any; `-dirty` where files differ from it.
    pub(crate) commit: Option<String>,
}

impl Circumstances {
    /// Of this moment and this program.
    pub(crate) fn now() -> Self {
        let model = fs::read_to_string("/proc/cpuinfo").ok().and_then(|info| cpu_model(&info));
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let cpus = available_parallelism().map_or(1, usize::from);
        let mut arguments = std::env::args();
        // Where the program lies says nothing.
        let program = arguments.next().unwrap_or_default();
        let name = program.rsplit('/').next().unwrap_or_default().to_owned();
        let command = std::iter::once(name).chain(arguments.map(|argument| quoted(&argument))).collect::<Vec<_>>();
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        Self {
            machine: format!(
                "{cpus} CPU{} ({}), Linux {}",
                if cpus == 1 { "" } else { "s" },
                model.unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
                kernel.trim()
            ),
            command: command.join(" "),
            date: date(seconds),
            commit: commit(),
        }
    }

    /// Names and values for people.
    pub(crate) fn lines(&self) -> [(String, String); 4] {
        let commit = self.commit.clone().unwrap_or_else(|| "unknown".to_owned());
        [("machine", &self.machine), ("command", &self.command), ("date", &self.date), ("commit", &commit)]
            .map(|(name, value)| (name.to_owned(), value.clone()))
    }
}

/// By git, where this program lies in a build folder of a repository.
fn commit() -> Option<String> {
    let program = std::env::current_exe().ok()?;
    let mut git = Command::new("git");
    git.arg("-C").arg(program.parent()?).args(["describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"]);
    let output = git.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned())
}

fn cpu_model(info: &str) -> Option<String> {
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// As a shell would need it.
fn quoted(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,%+@".contains(c);
    match !argument.is_empty() && argument.chars().all(plain) {
        true => argument.to_owned(),
        false => format!("'{}'", argument.replace('\'', "'\\''")),
    }
}

/// `2026-11-24 08:37 UTC` of seconds since 1970, in the Gregorian calendar.
fn date(seconds: u64) -> String {
    const DAY: u64 = 86_400;
    let leap = |year: u64| (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400);
    let (mut days, mut year) = (seconds / DAY, 1970);
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    let (hour, minute) = (seconds % DAY / 3_600, seconds % 3_600 / 60);
    format!("{year}-{:02}-{:02} {hour:02}:{minute:02} UTC", month + 1, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_of_the_calendar() {
        // By `date -u -d @…`.
        for (seconds, text) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_399, "2000-02-28 23:59 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_735_689_599, "2024-12-31 23:59 UTC"),
            (1_795_509_429, "2026-11-24 08:37 UTC"),
        ] {
            assert_eq!(date(seconds), text);
        }
    }

    #[test]
    fn commands_can_be_given_again() {
        assert_eq!(quoted("--room"), "--room");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        let now = Circumstances::now();
        assert!(now.machine.contains("Linux") && !now.command.is_empty());
    }
}
