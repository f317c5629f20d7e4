//! A signalling client.

use futures_util::{SinkExt, StreamExt};
use plausch_signalling::{
    Claims, ClientMessage, ErrorCode, MediaState, Offer, PersonName, ResumeToken, RoomTitle, ServerMessage, VERSION,
};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

pub(crate) struct Client {
    pub(crate) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub(crate) id: String,
    pub(crate) resume: String,
}

pub(crate) const MEDIA: MediaState = MediaState { microphone: true, camera: true, screen: false };

impl Client {
    pub(crate) async fn connect(server: SocketAddr, headers: &[(&str, &str)]) -> Self {
        let mut request = format!("ws://{server}/api/signalling").into_client_request().unwrap();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
        }
        let (socket, _) = connect_async(request).await.unwrap();
        Self { socket, id: String::new(), resume: String::new() }
    }

    pub(crate) async fn send(&mut self, message: &ClientMessage) {
        self.send_text(serde_json::to_string(message).unwrap()).await;
    }

    /// A server that has closed meanwhile is no failure here: what it said before is what counts.
    pub(crate) async fn send_text(&mut self, text: String) {
        let _ = self.socket.send(Message::text(text)).await;
    }

    pub(crate) async fn send_join(&mut self, room: &str, name: &str, resume: Option<String>, offer: Option<Offer>) {
        let (room, name) = (RoomTitle::new(room), PersonName::new(name));
        let resume = resume.map(ResumeToken::new);
        self.send(&ClientMessage::Join {
            version: VERSION,
            capabilities: Vec::new(),
            room,
            name,
            resume,
            offer,
            media: MEDIA,
            claims: Claims::default(),
        })
        .await;
    }

    /// Joins, and gives what the welcome says.
    pub(crate) async fn join(
        &mut self,
        room: &str,
        name: &str,
        resume: Option<String>,
        offer: Option<Offer>,
    ) -> ServerMessage {
        self.send_join(room, name, resume, offer).await;
        let welcome = self.next().await;
        match &welcome {
            ServerMessage::Welcome { participant, resume, .. } => {
                self.id = participant.clone();
                self.resume = resume.reveal().to_owned();
            }
            other => panic!("no welcome but {other:?}"),
        }
        welcome
    }

    /// The next message, or `None` when the server closed the socket.
    pub(crate) async fn try_next(&mut self) -> Option<ServerMessage> {
        self.try_next_text().await.map(|text| serde_json::from_str(&text).unwrap())
    }

    /// The next message as it was written.
    pub(crate) async fn next_text(&mut self) -> String {
        self.try_next_text().await.expect("the socket is closed")
    }

    async fn try_next_text(&mut self) -> Option<String> {
        loop {
            let message = timeout(Duration::from_secs(10), self.socket.next()).await.expect("silence");
            match message {
                Some(Ok(Message::Text(text))) => return Some(text.as_str().to_owned()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(other)) => panic!("unexpected {other:?}"),
            }
        }
    }

    pub(crate) async fn next(&mut self) -> ServerMessage {
        self.try_next().await.expect("the socket is closed")
    }

    /// Skips until a message is as wanted.
    pub(crate) async fn until<T>(&mut self, mut wanted: impl FnMut(ServerMessage) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(self.next().await) {
                return found;
            }
        }
    }

    pub(crate) async fn until_error(&mut self) -> (ErrorCode, bool) {
        self.until(|message| match message {
            ServerMessage::Error { code, fatal } => Some((code, fatal)),
            _ => None,
        })
        .await
    }

    pub(crate) async fn until_closed(&mut self) {
        while self.try_next().await.is_some() {}
    }

    pub(crate) async fn until_media_lost(&mut self) {
        self.until(|message| matches!(message, ServerMessage::MediaLost).then_some(())).await;
    }

    /// Like a browser that loses its network: no close frame.
    pub(crate) async fn vanish(self) {
        drop(self.socket);
    }
}
