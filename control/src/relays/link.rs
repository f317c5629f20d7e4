//! The links on which relays are asked.

use super::relay::Relay;
use crate::service::Service;
use plausch_link::{Connection, Listener, Receiver, Sender};
use plausch_relay_api::framing::{CommandFrame, PROTOCOL_VERSION, Unreadable};
use plausch_relay_api::limits::PARTICIPANTS_PER_SHARD;
use plausch_relay_api::{CommandError, Event, Hello, ParticipantSnapshot};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// From the connection to the end of the snapshot.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(10);

/// Takes links for ever.
pub async fn run(service: Arc<Service>, listener: Listener) {
    let links = AtomicU64::new(1);
    while let Ok(connection) = listener.accept().await {
        let link = links.fetch_add(1, Relaxed);
        let service = service.clone();
        // The link before may still be waiting for its idle timeout: the new one does not wait for that.
        tokio::spawn(async move {
            let reason = match serve(&service, link, connection).await {
                Ok(reason) => reason,
                Err(reason) => {
                    tracing::warn!("a relay was refused: {reason}");
                    return;
                }
            };
            if service.relay_left(link) {
                tracing::warn!("the link to the relay ended: {reason}; media goes on, and it dials again");
            } else {
                tracing::info!("a link of a relay ended: {reason}");
            }
        });
    }
}

/// One link, from `Hello` to its end: the reason of the end, or why it was not taken at all.
async fn serve(
    service: &Service,
    link: u64,
    mut connection: Connection<Event, CommandFrame>,
) -> Result<String, String> {
    let first = timeout(SNAPSHOT_TIMEOUT, read_snapshot(service, &mut connection)).await;
    let (hello, snapshot) = first.map_err(|_| "it sent no snapshot in time".to_owned())??;
    let (relay, queue) = Relay::new(link, hello, connection.peer().is_local());
    let (shards, participants) = (relay.hello.shards.len(), snapshot.len());
    service.relay_arrived(relay, snapshot);
    tracing::info!(shards, participants, "relay connected");
    let (events, commands) = connection.split();
    Ok(tokio::select! {
        reason = read(service, link, events) => reason,
        reason = write(queue, commands) => reason,
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

async fn receive(
    connection: &mut Connection<Event, CommandFrame>,
) -> Result<Option<Result<Event, Unreadable>>, String> {
    connection.recv().await.map_err(|error| error.to_string())
}

async fn read(service: &Service, link: u64, mut events: Receiver<Event>) -> String {
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
                    return "it is not in use any more".to_owned();
                }
            }
            Ok(Some(Ok(event))) => {
                if !service.relay_event(link, event) {
                    return "it is not in use any more".to_owned();
                }
            }
            Ok(None) => return "the relay stopped".to_owned(),
            Err(error) => return error.to_string(),
        }
    }
}

async fn write(mut queue: mpsc::Receiver<CommandFrame>, mut commands: Sender<CommandFrame>) -> String {
    while let Some(frame) = queue.recv().await {
        if let Err(error) = commands.send(&frame).await {
            return error.to_string();
        }
    }
    // Control stops, or another link took the place of this one.
    commands.close().await;
    "it is not in use any more".to_owned()
}
