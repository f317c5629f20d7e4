//! The links on which relays are asked.

use super::placement::RelayId;
use super::relay::Relay;
use super::set::{LOCAL_GRACE, SNAPSHOT_TIMEOUT};
use crate::service::Service;
use plausch_link::{Connection, Listener, Peer, Receiver, Sender};
use plausch_relay_api::framing::{CommandFrame, PROTOCOL_VERSION, Unreadable};
use plausch_relay_api::limits::PARTICIPANTS_PER_SHARD;
use plausch_relay_api::{CommandError, Event, Hello, ParticipantSnapshot};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// Between two looks at the socket of a relay whose link is lost.
const LOOK: Duration = Duration::from_millis(100);

/// Takes links for ever.
pub async fn run(service: Arc<Service>, listener: Listener) {
    let links = AtomicU64::new(1);
    while let Ok(connection) = listener.accept().await {
        let link = links.fetch_add(1, Relaxed);
        let service = service.clone();
        // The link before may still be waiting for its idle timeout: the new one does not wait for that.
        tokio::spawn(async move {
            let peer = connection.peer();
            let end = match serve(&service, link, connection).await {
                Ok(end) => end,
                Err(reason) => {
                    tracing::warn!("a relay was refused: {reason}");
                    return;
                }
            };
            let Some(relay) = service.relay_left(link) else {
                tracing::info!("a link of a relay ended: {}", end.reason);
                return;
            };
            if !end.certain {
                tracing::warn!(%relay, "link lost: {}; media goes on, and the relay dials again", end.reason);
            }
            if end.certain || closes(peer).await {
                tracing::warn!(%relay, "the relay has ended");
                service.relay_ended(&relay);
            }
        });
    }
}

/// How a link ended.
struct End {
    reason: String,
    /// The relay's process has ended with it.
    certain: bool,
}

impl End {
    fn of_link(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), certain: false }
    }
}

/// Watches the socket of a relay whose link is lost, until time decides in any case. `true` when it is closed, which can
/// only be told on this machine.
async fn closes(peer: Peer) -> bool {
    if !peer.is_local() {
        return false;
    }
    let watching = async {
        while !peer.is_closed().await {
            sleep(LOOK).await;
        }
    };
    timeout(LOCAL_GRACE, watching).await.is_ok()
}

/// One link, from `Hello` to its end, or why it was not taken at all.
async fn serve(service: &Service, link: u64, mut connection: Connection<Event, CommandFrame>) -> Result<End, String> {
    let first = timeout(SNAPSHOT_TIMEOUT, read_snapshot(service, &mut connection)).await;
    let (hello, snapshot) = first.map_err(|_| "it sent no snapshot in time".to_owned())??;
    let (id, watch) = (relay_id(&hello)?, connection.watch());
    let (relay, queue) = Relay::new(id.clone(), link, hello, connection.peer().is_local());
    let (shards, participants) = (relay.hello.shards.len(), snapshot.len());
    service.relay_arrived(relay, snapshot);
    tracing::info!(relay = %id, shards, participants, "relay connected");
    let (events, commands) = connection.split();
    Ok(tokio::select! {
        end = read(service, link, events) => end,
        end = write(queue, commands) => end,
        () = watch.until_gone() => End { reason: "its socket is closed".to_owned(), certain: true },
    })
}

async fn read_snapshot(
    service: &Service,
    connection: &mut Connection<Event, CommandFrame>,
) -> Result<(Hello, Vec<ParticipantSnapshot>), String> {
    let Some(Ok(Event::Hello(hello))) = receive(connection).await? else {
        return Err("it did not say who it is".into());
    };
    if hello.version != PROTOCOL_VERSION {
        return Err(format!(
            "it speaks version {} and control {PROTOCOL_VERSION}; install both from the same release",
            hello.version
        ));
    }
    let relay = relay_id(&hello)?;
    service.relay_greets(&relay, hello.instance).map_err(|error| error.to_string())?;
    let most = hello.shards.len() * PARTICIPANTS_PER_SHARD;
    let mut snapshot = Vec::new();
    loop {
        match receive(connection).await? {
            Some(Ok(Event::Snapshot(known))) if snapshot.len() < most => snapshot.push(*known),
            Some(Ok(Event::SnapshotEnd)) => return Ok((hello, snapshot)),
            Some(Ok(Event::Load { .. } | Event::Speakers { .. })) => {}
            Some(Err(unreadable)) => service.unreadable(&unreadable),
            Some(Ok(_)) => return Err("its snapshot is interrupted".into()),
            None => return Err("it left".into()),
        }
    }
}

fn relay_id(hello: &Hello) -> Result<RelayId, String> {
    RelayId::new(&hello.name).ok_or_else(|| "its name cannot be one; correct name in [link] of relay.toml".to_owned())
}

async fn receive(
    connection: &mut Connection<Event, CommandFrame>,
) -> Result<Option<Result<Event, Unreadable>>, String> {
    connection.recv().await.map_err(|error| error.to_string())
}

async fn read(service: &Service, link: u64, mut events: Receiver<Event>) -> End {
    loop {
        match events.recv().await {
            Ok(Some(Err(unreadable))) => {
                service.unreadable(&unreadable);
                // Its command is over, though nobody here knows how.
                let result = Err(CommandError::Invalid("an answer of a later release".to_owned()));
                if unreadable.kind.as_deref() == Some("done")
                    && let Some(id) = unreadable.id
                    && !service.relay_event(link, Event::Done { id, result })
                {
                    return End::of_link("it is not in use any more");
                }
            }
            Ok(Some(Ok(event))) => {
                if !service.relay_event(link, event) {
                    return End::of_link("it is not in use any more");
                }
            }
            Ok(None) => return End { reason: "the relay stopped".to_owned(), certain: true },
            Err(error) => return End::of_link(error.to_string()),
        }
    }
}

async fn write(mut queue: mpsc::Receiver<CommandFrame>, mut commands: Sender<CommandFrame>) -> End {
    while let Some(frame) = queue.recv().await {
        if let Err(error) = commands.send(&frame).await {
            return End::of_link(error.to_string());
        }
    }
    // Control stops, or another link took the place of this one.
    commands.close().await;
    End::of_link("it is not in use any more")
}
