//! The video room of a Janus 1.x as a [`Door`]: one WebSocket and session for each participant, one handle to publish
//! and one to subscribe. All others are received over one PeerConnection ("multistream"), as Janus' own clients do
//! since 1.0: it costs the server least.
//!
//! Viewers do not join the room as participants; they subscribe to who is on its list, which is the cheapest way that
//! the video room has for an audience.

mod messages;
#[cfg(test)]
mod tests;

use super::JoinOptions;
use super::entry::{Describe, Door, Published, Subscribed};
use super::error::ClientError;
use super::receive::{Half, Incoming, Line};
use super::sdp::{LocalDescription, RemoteDescription, Role};
use super::socket::{self, WebSocket};
use super::stamp;
use async_trait::async_trait;
use futures_util::{SinkExt, StreamExt};
use messages::{Jsep, Message, Refusal, RoomData, StreamData};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_tungstenite::tungstenite::Message as Frame;

/// Janus answers within this time, or it does not work.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// Janus ends sessions that say nothing for 60 s.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(25);
/// Between two looks at who is in the room, and how long to look for those who are missing.
const LIST_INTERVAL: Duration = Duration::from_millis(200);
const OTHERS_WITHIN: Duration = Duration::from_secs(60);
/// Numbers that JSON holds exactly (RFC 8259, section 6).
const ROOM_MASK: u64 = (1 << 53) - 1;
/// `JANUS_VIDEOROOM_ERROR_NO_SUCH_ROOM` and `…_ROOM_EXISTS`.
const NO_SUCH_ROOM: u32 = 426;
const ROOM_EXISTS: u32 = 427;
/// As many as our crowds ever have in one room.
const PUBLISHERS: u32 = 100;
/// Our number for the PeerConnection that receives.
const RECEIVING: u16 = 1;

/// One participant's session.
pub(crate) struct Janus {
    socket: WebSocket,
    url: String,
    room: u64,
    name: String,
    session: u64,
    /// Of the handle that publishes, and our id in the room.
    publishing: Option<(u64, u64)>,
    subscribing: Option<u64>,
    transactions: u64,
}

impl Janus {
    pub(crate) async fn connect(options: &JoinOptions) -> Result<Self, ClientError> {
        let url = options.url.clone();
        let wrong = |cause| ClientError::NotJanus { url: url.clone(), cause };
        let socket = socket::websocket(&url, &options.trust, "/", Some("janus-protocol"), wrong).await?;
        let mut janus = Self {
            socket,
            url: options.url.clone(),
            room: stamp::room_tag(&options.room) & ROOM_MASK,
            name: options.name.clone(),
            session: 0,
            publishing: None,
            subscribing: None,
            transactions: 0,
        };
        let created = janus.ask("a session", json!({ "janus": "create" })).await?;
        janus.session = janus.id_of(created)?;
        Ok(janus)
    }

    /// Sends a request and waits for what answers it; events and other answers meanwhile are of no interest.
    async fn ask(&mut self, what: &'static str, request: Value) -> Result<Message, ClientError> {
        let transaction = self.send(request).await;
        let answer = timeout(ANSWER_TIMEOUT, self.answer(&transaction)).await;
        let message = answer.map_err(|_| ClientError::Silent { during: what, within: ANSWER_TIMEOUT })??;
        match message.refusal() {
            Some(Refusal { reason, .. }) => Err(ClientError::JanusRefused { what, cause: reason }),
            None => Ok(message),
        }
    }

    /// Sends a request; a socket that is gone is noticed by who reads.
    async fn send(&mut self, mut request: Value) -> String {
        self.transactions += 1;
        let transaction = self.transactions.to_string();
        request["transaction"] = json!(transaction);
        if self.session != 0 {
            request["session_id"] = json!(self.session);
        }
        let _ = self.socket.send(Frame::text(request.to_string())).await;
        transaction
    }

    async fn answer(&mut self, transaction: &str) -> Result<Message, ClientError> {
        loop {
            let message = self.receive().await?;
            // "ack" only says that the answer comes later.
            if message.transaction.as_deref() == Some(transaction) && message.janus != "ack" {
                return Ok(message);
            }
        }
    }

    /// The next message of Janus. Cancel-safe.
    async fn receive(&mut self) -> Result<Message, ClientError> {
        loop {
            match self.socket.next().await {
                Some(Ok(Frame::Text(text))) => {
                    tracing::trace!(%text, "Janus says");
                    return serde_json::from_str(&text).map_err(|error| ClientError::NotJanus {
                        url: self.url.clone(),
                        cause: format!("a message that is not understood: {error}"),
                    });
                }
                Some(Ok(Frame::Close(_)) | Err(_)) | None => {
                    return Err(ClientError::Closed { during: "talking to Janus" });
                }
                Some(Ok(_)) => {}
            }
        }
    }

    fn id_of(&self, message: Message) -> Result<u64, ClientError> {
        message.data.map(|data| data.id).ok_or_else(|| self.not_understood("an answer without an id"))
    }

    fn not_understood(&self, cause: &str) -> ClientError {
        ClientError::NotJanus { url: self.url.clone(), cause: cause.to_owned() }
    }

    async fn attach(&mut self) -> Result<u64, ClientError> {
        let request = json!({ "janus": "attach", "plugin": "janus.plugin.videoroom" });
        let attached = self.ask("its video room plugin", request).await?;
        self.id_of(attached)
    }

    /// A message to the video room; what it says, and a description that comes with it.
    async fn room(
        &mut self,
        what: &'static str,
        handle: u64,
        body: Value,
        jsep: Option<Jsep>,
    ) -> Result<(RoomData, Option<Jsep>), ClientError> {
        let mut request = json!({ "janus": "message", "handle_id": handle, "body": body });
        if let Some(jsep) = jsep {
            request["jsep"] = json!(jsep);
        }
        let message = self.ask(what, request).await?;
        let data = message.plugindata.map(|plugin| plugin.data).ok_or_else(|| self.not_understood("no room data"))?;
        Ok((data, message.jsep))
    }

    /// Makes the room, unless somebody else has.
    async fn create_room(&mut self, handle: u64) -> Result<(), ClientError> {
        let body = json!({
            "request": "create",
            "room": self.room,
            "permanent": false,
            "publishers": PUBLISHERS,
            // No limit, and key frames only when somebody needs them: as ours.
            "bitrate": 0,
            "fir_freq": 0,
            "audiocodec": "opus",
            "videocodec": "vp8",
            "audiolevel_ext": true,
        });
        let request = json!({ "janus": "message", "handle_id": handle, "body": body });
        let transaction = self.send(request).await;
        let during = "a room is made";
        let answer = timeout(ANSWER_TIMEOUT, self.answer(&transaction)).await;
        match answer.map_err(|_| ClientError::Silent { during, within: ANSWER_TIMEOUT })??.refusal() {
            Some(Refusal { code, .. }) if code == ROOM_EXISTS => Ok(()),
            Some(Refusal { reason, .. }) => Err(ClientError::JanusRefused { what: "to make a room", cause: reason }),
            None => Ok(()),
        }
    }

    /// Ids of all others who publish, lowest first; empty while the room does not exist.
    async fn others(&mut self, handle: u64) -> Result<Vec<u64>, ClientError> {
        let body = json!({ "request": "listparticipants", "room": self.room });
        let request = json!({ "janus": "message", "handle_id": handle, "body": body });
        let transaction = self.send(request).await;
        let during = "the room's list is read";
        let answer = timeout(ANSWER_TIMEOUT, self.answer(&transaction)).await;
        let message = answer.map_err(|_| ClientError::Silent { during, within: ANSWER_TIMEOUT })??;
        match message.refusal() {
            Some(Refusal { code, .. }) if code == NO_SUCH_ROOM => return Ok(Vec::new()),
            Some(Refusal { reason, .. }) => {
                return Err(ClientError::JanusRefused { what: "to list the room", cause: reason });
            }
            None => {}
        }
        let data = message.plugindata.map(|plugin| plugin.data).ok_or_else(|| self.not_understood("no room data"))?;
        let own = self.publishing.map(|(_, id)| id);
        let publishing = data.participants.iter().filter(|other| other.publisher && Some(other.id) != own);
        let mut ids: Vec<u64> = publishing.map(|other| other.id).collect();
        ids.sort_unstable();
        Ok(ids)
    }
}

#[async_trait]
impl Door for Janus {
    async fn publish(&mut self, local: &LocalDescription) -> Result<Published, ClientError> {
        let handle = self.attach().await?;
        self.create_room(handle).await?;
        let body = json!({
            "request": "joinandconfigure",
            "ptype": "publisher",
            "room": self.room,
            "display": self.name,
        });
        // Left the choice, Janus would be the DTLS client; our transport is that always.
        let offer = Jsep::offer(local.sdp(1).replace("a=setup:actpass", "a=setup:active"));
        let (data, answer) = self.room("to let us publish", handle, body, Some(offer)).await?;
        let id = data.id.ok_or_else(|| self.not_understood("a publisher without an id"))?;
        let answer = answer.ok_or_else(|| ClientError::BadAnswer("there is none".to_owned()))?;
        self.publishing = Some((handle, id));
        self.no_candidates(handle).await;
        let remote = RemoteDescription::parse(&answer.sdp, Role::Answer).map_err(ClientError::BadAnswer)?;
        Ok(Published { participant: format!("{id:x}"), remote })
    }

    async fn subscribe(&mut self, slots: u16, describe: &Describe) -> Result<Vec<Subscribed>, ClientError> {
        let handle = self.attach().await?;
        self.subscribing = Some(handle);
        let wait = async {
            loop {
                let others = self.others(handle).await?;
                if others.len() >= usize::from(slots) {
                    return Ok::<_, ClientError>(others);
                }
                sleep(LIST_INTERVAL).await;
            }
        };
        let mut feeds = timeout(OTHERS_WITHIN, wait).await.map_err(|_| ClientError::WaitedInVain {
            what: format!("{slots} publishers in the room"),
            within: OTHERS_WITHIN,
        })??;
        feeds.truncate(usize::from(slots));
        let streams: Vec<Value> = feeds.iter().map(|feed| json!({ "feed": feed })).collect();
        let body = json!({ "request": "join", "ptype": "subscriber", "room": self.room, "streams": streams });
        let (data, offer) = self.room("to let us watch", handle, body, None).await?;
        let offer = offer.ok_or_else(|| self.not_understood("a subscription without an offer"))?;
        let remote = RemoteDescription::parse(&offer.sdp, Role::Offer).map_err(ClientError::BadAnswer)?;
        let lines = lines(&feeds, &data.streams, &remote);
        let local = describe(slots);
        let answer = Jsep::answer(local.answer(&remote));
        let body = json!({ "request": "start", "room": self.room });
        self.room("to start", handle, body, Some(answer)).await?;
        self.no_candidates(handle).await;
        let mid_extension = remote.media.iter().find_map(|media| media.mid_extension());
        let shown = feeds.iter().zip(0..).map(|(feed, slot)| (slot, format!("{feed:x}"))).collect();
        let incoming = Incoming { connection: RECEIVING, mid_extension };
        Ok(vec![Subscribed { local, remote, incoming, lines, shown }])
    }

    async fn listen(&mut self) -> ClientError {
        let mut keepalive = interval(KEEPALIVE_INTERVAL);
        keepalive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = keepalive.tick() => {
                    self.send(json!({ "janus": "keepalive" })).await;
                }
                received = self.receive() => match received {
                    Ok(message) if message.janus == "timeout" => {
                        return ClientError::Closed { during: "media was flowing (Janus ended the session)" };
                    }
                    Ok(_) => {}
                    Err(error) => return error,
                },
            }
        }
    }

    async fn leave(&mut self) {
        self.send(json!({ "janus": "destroy" })).await;
        let _ = timeout(Duration::from_secs(1), async {
            while self.receive().await.is_ok_and(|message| message.janus != "success") {}
            let _ = self.socket.close(None).await;
        })
        .await;
    }
}

impl Janus {
    /// Our candidate is the address from which our checks come.
    async fn no_candidates(&mut self, handle: u64) {
        let request = json!({ "janus": "trickle", "handle_id": handle, "candidate": { "completed": true } });
        self.send(request).await;
    }
}

/// Which m-line of the subscription fills which slot: slots are in the order of `feeds`.
fn lines(feeds: &[u64], streams: &[StreamData], remote: &RemoteDescription) -> Vec<Line> {
    let line = |stream: &StreamData| {
        let slot = feeds.iter().position(|feed| Some(*feed) == stream.feed_id)?;
        let half = match stream.kind.as_str() {
            "audio" => Half::Audio,
            "video" => Half::Video,
            _ => return None,
        };
        let ssrc = remote.media(&stream.mid)?.ssrcs.first().copied();
        Some(Line { slot: slot as u16, half, mid: stream.mid.clone(), ssrc })
    };
    streams.iter().filter_map(line).collect()
}
