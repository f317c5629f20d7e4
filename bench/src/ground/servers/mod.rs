//! Servers that a run starts itself: ours and its peers, each fresh, alike pinned, with its files in a folder of its
//! own that goes with it. They end with this program, however it ends.

mod driver;
mod janus;
mod plausch;

pub(crate) use driver::Driver;
pub(crate) use janus::{check as check_janus, start as start_janus};
pub(crate) use plausch::start as start_plausch;

use crate::ground::Process;
use crate::ground::lab::Ground;
use plausch_client::{Entry, Trust};
use std::fs::{self, File};
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// From the start of a process until it answers.
const READY_WITHIN: Duration = Duration::from_secs(20);
const READY_INTERVAL: Duration = Duration::from_millis(50);

/// Why a server cannot be had, in one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    #[error("{name} is not at {}; {remedy}", path.display())]
    NotThere { name: &'static str, path: PathBuf, remedy: &'static str },
    #[error("cannot write to {}: {cause}; make room or set TMPDIR", path.display())]
    Folder { path: PathBuf, cause: io::Error },
    #[error("{name} cannot be started ({cause}); install Debian's util-linux")]
    Start { name: &'static str, cause: io::Error },
    #[error("{name} ended at its start: {last_words}; its whole log is {}", log.display())]
    Ended { name: &'static str, last_words: String, log: PathBuf },
    #[error("{name} did not answer within {READY_WITHIN:?}: {last_words}; its whole log is {}", log.display())]
    Silent { name: &'static str, last_words: String, log: PathBuf },
    #[error("Janus takes no address of a loopback device; give --lab, too, as root")]
    NeedsLab,
}

/// A server that runs until this is dropped.
pub(crate) struct Server {
    /// Where clients join it, how, and whom they believe.
    pub(crate) url: String,
    pub(crate) entry: Entry,
    pub(crate) trust: Trust,
    /// Address of its metrics, where it has such.
    pub(crate) metrics: Option<String>,
    /// Its name for reports, with its version where that is known.
    pub(crate) name: String,
    /// Those whose CPU time counts, the one that carries media first.
    pub(crate) processes: Vec<Process>,
    children: Vec<Child>,
    folder: Folder,
}

impl Server {
    /// Leaves the logs behind, for somebody to look into; returns where.
    pub(crate) fn keep_logs(mut self) -> PathBuf {
        self.folder.keep = true;
        self.folder.path.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A folder for one server, removed with it.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    fn make() -> Result<Self, ServerError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("plausch-bench-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).map_err(|cause| ServerError::Folder { path: path.clone(), cause })?;
        Ok(Self { path, keep: false })
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf, ServerError> {
        let path = self.path.join(name);
        match fs::write(&path, text) {
            Ok(()) => Ok(path),
            Err(cause) => Err(ServerError::Folder { path, cause }),
        }
    }

    fn log(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}.log"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Starts a program with its output in the folder.
fn launch(folder: &Folder, name: &'static str, mut command: Command) -> Result<Child, ServerError> {
    let log = folder.log(name);
    let file = || File::options().create(true).append(true).open(&log);
    let (out, err) =
        file().and_then(|out| Ok((out, file()?))).map_err(|cause| ServerError::Folder { path: log.clone(), cause })?;
    command.stdin(Stdio::null()).stdout(out).stderr(err).spawn().map_err(|cause| ServerError::Start { name, cause })
}

/// Waits until `answers` says so, or says why it will not.
async fn ready<F: Future<Output = bool>>(
    folder: &mut Folder,
    children: &mut [(&'static str, Child)],
    answers: impl Fn() -> F,
) -> Result<(), ServerError> {
    let begin = Instant::now();
    loop {
        let mut ended = children.iter_mut().filter_map(|(name, child)| child.try_wait().ok()?.map(|_| *name));
        if let Some(name) = ended.next() {
            let log = folder.log(name);
            folder.keep = true;
            end(children);
            return Err(ServerError::Ended { name, last_words: last_words(&log), log });
        }
        if answers().await {
            return Ok(());
        }
        if begin.elapsed() > READY_WITHIN {
            let name = children.first().map_or("the server", |(name, _)| *name);
            let log = folder.log(name);
            folder.keep = true;
            end(children);
            return Err(ServerError::Silent { name, last_words: last_words(&log), log });
        }
        sleep(READY_INTERVAL).await;
    }
}

fn end(children: &mut [(&'static str, Child)]) {
    for (_, child) in children {
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// The last line of a log.
fn last_words(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty());
    line.unwrap_or("it said nothing").trim_end_matches('.').to_owned()
}

/// A program that Debian or we install.
fn installed(ground: &Ground, name: &'static str, path: PathBuf, remedy: &'static str) -> Result<Command, ServerError> {
    match path.is_file() {
        true => Ok(ground.server_command(&path)),
        false => Err(ServerError::NotThere { name, path, remedy }),
    }
}
