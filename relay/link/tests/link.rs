//! Two ends of a link in one process.
#![allow(clippy::unwrap_used)]

use plausch_link::{Connection, Dialer, Identity, Listener};
use plausch_relay_api::framing::CommandFrame;
use plausch_relay_api::{Command, CommandId, Event, Note, ParticipantId, ShardId};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::time::timeout;

const LOCAL: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// A folder that is removed with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("plausch-link-test-{}-{number}", std::process::id())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

type RelayEnd = Connection<CommandFrame, Event>;
type ControlEnd = Connection<Event, CommandFrame>;

async fn connected(identity: &Identity) -> (Listener, RelayEnd, ControlEnd) {
    let listener = Listener::bind(identity, LOCAL.into()).unwrap();
    let mut relay = Dialer::new(identity, listener.local_addr().unwrap()).dial().await.unwrap();
    relay.send(&Event::SnapshotEnd).await.unwrap();
    let mut control = timeout(Duration::from_secs(2), listener.accept()).await.unwrap().unwrap();
    assert_eq!(control.recv().await.unwrap(), Some(Ok(Event::SnapshotEnd)));
    (listener, relay, control)
}

fn command(number: u64) -> CommandFrame {
    CommandFrame {
        id: CommandId(number),
        command: Command::SetNote { participant: ParticipantId(number), note: Note::new(vec![7u8; 4096]) },
    }
}

#[tokio::test]
async fn frames_travel_both_ways_in_order() {
    let folder = Folder::new();
    let identity = Identity::load_or_create(&folder.0).unwrap();
    let (_listener, mut relay, control) = connected(&identity).await;
    let (mut control_in, mut control_out) = control.split();
    let commands = tokio::spawn(async move {
        for number in 0..300 {
            control_out.send(&command(number)).await.unwrap();
        }
        control_out
    });
    for number in 0..300 {
        assert_eq!(relay.recv().await.unwrap(), Some(Ok(command(number))));
        relay.send(&Event::Done { id: CommandId(number), result: Ok(()) }).await.unwrap();
    }
    for number in 0..300 {
        assert_eq!(control_in.recv().await.unwrap(), Some(Ok(Event::Done { id: CommandId(number), result: Ok(()) })));
    }
    drop(commands.await.unwrap());
}

#[tokio::test]
async fn an_end_on_purpose_is_noticed_at_once() {
    let folder = Folder::new();
    let identity = Identity::load_or_create(&folder.0).unwrap();
    let (_listener, relay, mut control) = connected(&identity).await;
    let began = Instant::now();
    relay.close().await;
    assert_eq!(control.recv().await.unwrap(), None);
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_certificate_that_is_not_the_pinned_one_is_refused() {
    let (ours, theirs) = (Folder::new(), Folder::new());
    let identity = Identity::load_or_create(&ours.0).unwrap();
    let stranger = Identity::load_or_create(&theirs.0).unwrap();
    let listener = Listener::bind(&identity, LOCAL.into()).unwrap();
    let address = listener.local_addr().unwrap();

    // A stranger refuses our control.
    assert!(Dialer::new(&stranger, address).dial::<CommandFrame, Event>().await.is_err());

    // A stranger that takes our control's certificate is refused by control. With TLS 1.3 it learns that only
    // after its own handshake is finished, so the refusal may come with the first read.
    std::fs::copy(ours.0.join("control.crt"), theirs.0.join("control.crt")).unwrap();
    let stranger = Identity::load_or_create(&theirs.0).unwrap();
    if let Ok(mut link) = Dialer::new(&stranger, address).dial::<CommandFrame, Event>().await {
        let _ = link.send(&Event::SnapshotEnd).await;
        assert!(link.recv().await.is_err());
    }
    assert!(
        timeout(Duration::from_millis(300), listener.accept::<Event, CommandFrame>()).await.is_err(),
        "no stranger may get through"
    );

    let mut relay: RelayEnd = Dialer::new(&identity, address).dial().await.unwrap();
    relay.send(&Event::SnapshotEnd).await.unwrap();
    let accepted = timeout(Duration::from_secs(2), listener.accept::<Event, CommandFrame>()).await;
    accepted.unwrap().unwrap();
}

#[tokio::test]
async fn a_killed_peer_is_noticed_within_the_idle_timeout() {
    let folder = Folder::new();
    let identity = Identity::load_or_create(&folder.0).unwrap();
    let listener = Listener::bind(&identity, LOCAL.into()).unwrap();
    let address = listener.local_addr().unwrap();

    // A runtime of its own whose tasks are dropped in the middle of everything says no good-bye.
    let folder_of_peer = folder.0.clone();
    let peer = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let link = runtime.block_on(async move {
            let identity = Identity::load_or_create(&folder_of_peer).unwrap();
            let mut link: RelayEnd = Dialer::new(&identity, address).dial().await.unwrap();
            link.send(&Event::SnapshotEnd).await.unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
            link
        });
        runtime.shutdown_background();
        std::mem::forget(link);
    });
    let mut control: ControlEnd = listener.accept().await.unwrap();
    assert_eq!(control.recv().await.unwrap(), Some(Ok(Event::SnapshotEnd)));
    peer.await.unwrap();
    let lost = timeout(Duration::from_millis(6_000), control.recv()).await.expect("the loss must be noticed");
    assert!(lost.is_err(), "a kill is no end on purpose");
}

#[tokio::test]
async fn a_dead_process_is_told_from_a_silent_one() {
    let folder = Folder::new();
    let identity = Identity::load_or_create(&folder.0).unwrap();
    let listener = Listener::bind(&identity, LOCAL.into()).unwrap();
    let address = listener.local_addr().unwrap();
    let (kill, killed) = std::sync::mpsc::channel::<()>();
    let folder_of_peer = folder.0.clone();
    let peer = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let link = runtime.block_on(async move {
            let identity = Identity::load_or_create(&folder_of_peer).unwrap();
            let mut link: RelayEnd = Dialer::new(&identity, address).dial().await.unwrap();
            link.send(&Event::SnapshotEnd).await.unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
            link
        });
        // Its only thread waits here: nothing is sent, and the socket is open.
        killed.recv().unwrap();
        runtime.shutdown_timeout(Duration::from_secs(5));
        drop(link);
    });
    let control: ControlEnd = listener.accept().await.unwrap();
    let (watch, other) = (control.watch(), control.peer());
    assert!(other.is_local());
    assert!(timeout(Duration::from_millis(1_500), watch.until_gone()).await.is_err(), "it is silent only");
    assert!(!other.is_closed().await);
    kill.send(()).unwrap();
    peer.await.unwrap();
    assert!(other.is_closed().await);
    timeout(Duration::from_secs(5), watch.until_gone()).await.expect("it is gone");
}

#[tokio::test]
async fn a_control_that_was_killed_and_is_back_says_so_at_once() {
    let folder = Folder::new();
    let identity = Identity::load_or_create(&folder.0).unwrap();
    let (told, address) = tokio::sync::oneshot::channel();
    let (kill, killed) = std::sync::mpsc::channel::<()>();
    let folder_of_control = folder.0.clone();
    let first = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let link = runtime.block_on(async {
            let identity = Identity::load_or_create(&folder_of_control).unwrap();
            let listener = Listener::bind(&identity, LOCAL.into()).unwrap();
            told.send(listener.local_addr().unwrap()).unwrap();
            let mut link: ControlEnd = listener.accept().await.unwrap();
            link.recv().await.unwrap();
            (listener, link)
        });
        killed.recv().unwrap();
        // Nobody is left to send anything when the ends are dropped.
        runtime.shutdown_timeout(Duration::from_secs(5));
        drop(link);
    });
    let address = address.await.unwrap();
    let mut relay: RelayEnd = Dialer::new(&identity, address).dial().await.unwrap();
    relay.send(&Event::SnapshotEnd).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    kill.send(()).unwrap();
    first.await.unwrap();
    let back = Listener::bind(&identity, address).unwrap();
    let lost = timeout(Duration::from_millis(2_500), relay.recv()).await.expect("sooner than the idle timeout");
    assert!(lost.is_err());
    drop(back);
}

#[tokio::test]
async fn garbage_and_silence_keep_nobody_out() {
    let folder = Folder::new();
    let identity = Identity::load_or_create(&folder.0).unwrap();
    let listener = Listener::bind(&identity, LOCAL.into()).unwrap();
    let address = listener.local_addr().unwrap();
    let stranger = tokio::net::UdpSocket::bind(SocketAddr::from(LOCAL)).await.unwrap();
    for len in [0, 1, 20, 1200] {
        stranger.send_to(&vec![0xc3; len], address).await.unwrap();
    }
    // Authenticated, but it never speaks.
    let mut dialer = Dialer::new(&identity, address);
    let _silent: RelayEnd = dialer.dial().await.unwrap();
    let mut relay: RelayEnd = dialer.dial().await.unwrap();
    relay.send(&Event::ShardRestarted { shard: ShardId(3) }).await.unwrap();
    let mut control: ControlEnd = timeout(Duration::from_secs(2), listener.accept()).await.unwrap().unwrap();
    assert_eq!(control.recv().await.unwrap(), Some(Ok(Event::ShardRestarted { shard: ShardId(3) })));
}

#[test]
fn processes_that_start_together_make_one_set() {
    let folder = Folder::new();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| Identity::load_or_create(&folder.0).unwrap());
        }
    });
    let files = ["control.crt", "control.key", "relay.crt", "relay.key"];
    let before: Vec<_> = files.iter().map(|file| std::fs::read(folder.0.join(file)).unwrap()).collect();
    Identity::load_or_create(&folder.0).unwrap();
    for (file, contents) in files.iter().zip(before) {
        let path = folder.0.join(file);
        assert_eq!(std::fs::read(&path).unwrap(), contents, "a set that is there stays");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[tokio::test]
async fn the_other_sides_key_may_be_missing_but_not_its_certificate() {
    let folder = Folder::new();
    Identity::load_or_create(&folder.0).unwrap();
    std::fs::remove_file(folder.0.join("control.key")).unwrap();
    let relay_host = Identity::load_or_create(&folder.0).unwrap();
    let error = Listener::bind(&relay_host, LOCAL.into()).unwrap_err();
    assert!(error.to_string().contains("control.key"), "{error}");

    std::fs::remove_file(folder.0.join("control.crt")).unwrap();
    let error = Identity::load_or_create(&folder.0).unwrap_err();
    assert!(error.to_string().contains("control.crt"), "{error}");
}
