//! WHIP (RFC 9725) and WHEP as a [`Door`]: who sends publishes with one `POST`; who receives watches each of the others
//! by name over a PeerConnection of its own, for WHEP knows one publisher at a time.

use super::entry::{Describe, Door, Published, Subscribed};
use super::error::ClientError;
use super::http::{self, encoded};
use super::receive::{Half, Incoming, Line};
use super::sdp::{LocalDescription, RemoteDescription, Role, slot_mids};
use super::{JoinOptions, Trust};
use async_trait::async_trait;
use std::future::pending;
use std::hash::{DefaultHasher, Hash, Hasher};

const SDP: &str = "application/sdp";

/// One participant's sessions.
pub(crate) struct Whip {
    url: String,
    trust: Trust,
    room: String,
    name: String,
    watches: Vec<String>,
    /// Paths of what is to be deleted in the end.
    sessions: Vec<String>,
}

impl Whip {
    pub(crate) fn new(options: &JoinOptions) -> Self {
        Self {
            url: options.url.clone(),
            trust: options.trust.clone(),
            room: options.room.clone(),
            name: options.name.clone(),
            watches: options.watches.clone(),
            sessions: Vec::new(),
        }
    }

    /// Begins a session with our offer, and reads the answer.
    async fn post(
        &mut self,
        what: &'static str,
        path: &str,
        local: &LocalDescription,
    ) -> Result<RemoteDescription, ClientError> {
        let answer = http::request(&self.url, &self.trust, "POST", path, SDP, &local.sdp(1)).await?;
        match answer.status {
            201 => {}
            404 | 405 => {
                let cause = format!("{} to {path}", answer.words());
                return Err(ClientError::NotPlausch { url: self.url.clone(), cause });
            }
            _ => return Err(ClientError::HttpRefused { what, cause: answer.words() }),
        }
        let location = answer.header("location").filter(|location| location.starts_with('/'));
        self.sessions.extend(location.map(str::to_owned));
        RemoteDescription::parse(&answer.body, Role::Answer).map_err(ClientError::BadAnswer)
    }
}

#[async_trait]
impl Door for Whip {
    async fn publish(&mut self, local: &LocalDescription) -> Result<Published, ClientError> {
        let path = format!("/whip/{}?name={}", encoded(&self.room), encoded(&self.name));
        let remote = self.post("to let us publish", &path, local).await?;
        Ok(Published { participant: tag(&self.room, &self.name), remote })
    }

    async fn subscribe(&mut self, slots: u16, describe: &Describe) -> Result<Vec<Subscribed>, ClientError> {
        let mut subscribed = Vec::new();
        let watched = self.watches.clone();
        for (slot, watched) in (0..slots).zip(watched) {
            let local = describe(1);
            let (room, name) = (encoded(&self.room), encoded(&self.name));
            let path = format!("/whep/{room}?participant={}&name={name}", encoded(&watched));
            let remote = self.post("to let us watch", &path, &local).await?;
            let mids = slot_mids(0);
            let line = |half, mid: String| {
                let ssrc = remote.media(&mid).and_then(|media| media.ssrcs.first().copied());
                Line { slot, half, mid, ssrc }
            };
            let incoming = Incoming {
                connection: slot + 1,
                mid_extension: remote.media(&mids.video).and_then(|media| media.mid_extension()),
            };
            let lines = vec![line(Half::Audio, mids.audio), line(Half::Video, mids.video)];
            let shown = vec![(slot, tag(&self.room, &watched))];
            subscribed.push(Subscribed { local, remote, incoming, lines, shown });
        }
        Ok(subscribed)
    }

    async fn listen(&mut self) -> ClientError {
        // Nobody says anything any more; that media has ended is noticed by media.
        pending().await
    }

    async fn leave(&mut self) {
        for path in self.sessions.drain(..) {
            // The server ends a session by itself, too, when its media is gone.
            let _ = http::request(&self.url, &self.trust, "DELETE", &path, SDP, "").await;
        }
    }
}

/// The id by which media of this participant is known here: WHIP tells nobody the server's.
fn tag(room: &str, name: &str) -> String {
    let mut hasher = DefaultHasher::new();
    (room, name).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
