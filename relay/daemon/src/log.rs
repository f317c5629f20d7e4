//! The log: lines on standard error, written by a thread of its own. Whatever becomes of standard error, a full disk, a
//! reader that has gone or one that does not read, costs lines, which are counted, and never holds up or ends the process.
//!
//! Only Plausch's own crates are heard: what others say may hold addresses and names of people.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::panic;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Lines that wait for the writer: 1024 × at most 4 KiB = 4 MiB, and a thousand times what a process says in a second.
const WAITING_LINES: usize = 1024;
/// Bytes of one line; the rest is cut off.
const LINE_BYTES: usize = 4096;
/// How long the end of the process waits for its last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The levels of the configuration, the most talkative one last.
pub const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

static LOST: AtomicU64 = AtomicU64::new(0);

/// Lines that could not be written since start.
pub fn lost_lines() -> u64 {
    LOST.load(Relaxed)
}

/// Keeps the writer at work; when it is dropped, what waits is written, for a second at the most.
#[must_use = "without it nothing is written"]
pub struct Writer {
    end: SyncSender<Message>,
    thread: Option<JoinHandle<()>>,
}

enum Message {
    Line(Vec<u8>),
    End,
}

/// Begins to log what `crates` say at `level` (one of [`LEVELS`]) or above. Panics are logged by their place: their text may
/// quote what they stumbled over.
pub fn start(level: &str, crates: &[&'static str]) -> Writer {
    let (line, lines) = sync_channel(WAITING_LINES);
    let thread = thread::Builder::new().name("log".to_owned()).spawn(move || write_lines(&lines, &mut io::stderr()));
    let level = level.parse::<Level>().map_or(LevelFilter::INFO, LevelFilter::from_level);
    let targets = Targets::new().with_targets(crates.iter().map(|name| (*name, level)));
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(io::stderr().is_terminal())
        .log_internal_errors(false)
        .with_writer(Lines(line.clone()));
    // An error: there is one already, in tests.
    let _ = tracing_subscriber::registry().with(targets).with(layer).try_init();
    panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        let text = info.payload().downcast_ref::<&'static str>().copied().unwrap_or("its text is not shown");
        tracing::error!(target: "plausch_daemon", "panic at {place}: {text}");
    }));
    Writer { end: line, thread: thread.ok() }
}

/// Says why the process cannot start or what it was asked for, if anybody listens.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints what was asked for on the command line. A reader that has had enough is no error.
pub fn print(text: &str) -> io::Result<()> {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let deadline = Instant::now() + LAST_LINES;
        let mut message = Message::End;
        while let Err(std::sync::mpsc::TrySendError::Full(back)) = self.end.try_send(message) {
            if Instant::now() > deadline {
                return;
            }
            message = back;
            thread::sleep(Duration::from_millis(10));
        }
        let Some(thread) = self.thread.take() else { return };
        while !thread.is_finished() {
            if Instant::now() > deadline {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
        let _ = thread.join();
    }
}

/// Takes lines without ever waiting or failing.
#[derive(Clone)]
struct Lines(SyncSender<Message>);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Write for &Lines {
    /// `fmt` writes a line at once.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut kept = line[..line.len().min(LINE_BYTES)].to_vec();
        if kept.len() < line.len() {
            kept.extend(b"...\n");
        }
        if self.0.try_send(Message::Line(kept)).is_err() {
            LOST.fetch_add(1, Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes until the end, and says of losses when it can write again.
fn write_lines(lines: &Receiver<Message>, output: &mut impl Write) {
    let mut told = 0;
    let mut unfinished = false;
    loop {
        let line = match lines.recv_timeout(Duration::from_secs(60)) {
            Ok(Message::Line(line)) => line,
            Err(RecvTimeoutError::Timeout) => continue,
            Ok(Message::End) | Err(RecvTimeoutError::Disconnected) => return,
        };
        let lost = lost_lines();
        let mut text = Vec::new();
        if unfinished {
            text.push(b'\n');
        }
        if lost > told {
            let mut note = String::new();
            let _ = writeln!(note, "({} lines of the log were lost before this one)", lost - told);
            text.extend(note.into_bytes());
        }
        text.extend(line);
        match write_some(output, &text) {
            written if written == text.len() => {
                told = lost;
                unfinished = false;
            }
            written => {
                unfinished |= written > 0;
                LOST.fetch_add(1, Relaxed);
            }
        }
    }
}

/// How many bytes were taken before an error.
fn write_some(output: &mut impl Write, text: &[u8]) -> usize {
    let mut written = 0;
    while written < text.len() {
        match output.write(&text[written..]) {
            Ok(0) => break,
            Ok(bytes) => written += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk that is full after so many bytes, and empty again once `free` says so.
    struct Disk {
        written: Vec<u8>,
        room: usize,
        failures: usize,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 {
                self.failures += 1;
                // Somebody cleans up after the third failure.
                if self.failures == 3 {
                    self.room = usize::MAX;
                }
                return Err(io::ErrorKind::StorageFull.into());
            }
            let taken = bytes.len().min(self.room);
            self.room -= taken;
            self.written.extend(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_for_a_full_disk_are_lost_counted_and_told_of() {
        let (line, lines) = sync_channel(16);
        for number in 1..=5 {
            line.send(Message::Line(format!("line {number}\n").into_bytes())).unwrap();
        }
        line.send(Message::End).unwrap();
        let mut disk = Disk { written: Vec::new(), room: 10, failures: 0 };
        let before = lost_lines();
        write_lines(&lines, &mut disk);
        let text = String::from_utf8(disk.written).unwrap();
        let lost = lost_lines() - before;
        assert!(lost >= 3, "{lost}");
        assert!(text.starts_with("line 1\nlin"), "{text:?}");
        assert!(
            text.contains("\n(") && text.contains(" lines of the log were lost before this one)\nline 5\n"),
            "{text:?}"
        );
    }

    #[test]
    fn whoever_logs_never_waits() {
        let (line, _lines) = sync_channel(2);
        let lines = Lines(line);
        let before = lost_lines();
        for _ in 0..10 {
            assert_eq!((&lines).write(b"x\n").unwrap(), 2);
        }
        assert!(lost_lines() - before >= 8);
        let mut long = &lines;
        assert_eq!(long.write(&vec![b'x'; 3 * LINE_BYTES]).unwrap(), 3 * LINE_BYTES);
    }

    #[test]
    fn every_level_is_one() {
        assert!(LEVELS.iter().all(|level| level.parse::<Level>().is_ok()));
    }
}
