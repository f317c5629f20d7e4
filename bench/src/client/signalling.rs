//! The WebSocket to control.

use super::error::ClientError;
use futures_util::{SinkExt, StreamExt};
use plausch_signalling::{ClientMessage, ServerMessage};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// How long a TCP connection and the upgrade to a WebSocket may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a socket says next.
#[derive(Debug)]
pub(crate) enum Received {
    Message(Box<ServerMessage>),
    /// The socket is gone, with or without a close frame.
    Closed,
}

/// One WebSocket to `/api/signalling`.
pub(crate) struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    url: String,
}

impl Socket {
    /// Opens the socket of the server at `base` (`http://host:port`).
    pub(crate) async fn connect(base: &str) -> Result<Self, ClientError> {
        let url = base.trim_end_matches('/').to_owned();
        let bad_url = || ClientError::BadUrl { url: base.to_owned() };
        let host = match url.split_once("://") {
            Some(("http" | "ws", host)) => host,
            Some(("https" | "wss", _)) => return Err(ClientError::Https),
            _ => return Err(bad_url()),
        };
        if host.is_empty() || host.contains(['/', '?', '#', ' ']) {
            return Err(bad_url());
        }
        let connecting = tokio_tungstenite::connect_async(format!("ws://{host}/api/signalling"));
        match timeout(CONNECT_TIMEOUT, connecting).await {
            Err(_) => Err(ClientError::Silent { during: "connecting", within: CONNECT_TIMEOUT }),
            Ok(Ok((stream, _))) => Ok(Self { stream, url }),
            Ok(Err(WsError::Io(error))) => Err(ClientError::Unreachable { url, cause: error.to_string() }),
            Ok(Err(WsError::Url(_) | WsError::HttpFormat(_))) => Err(bad_url()),
            Ok(Err(WsError::Http(response))) => {
                Err(ClientError::NotPlausch { url, cause: format!("HTTP status {}", response.status()) })
            }
            Ok(Err(error)) => Err(ClientError::NotPlausch { url, cause: error.to_string() }),
        }
    }

    /// Sends one message; a socket that is gone is noticed by `receive`.
    pub(crate) async fn send(&mut self, message: &ClientMessage) {
        let Ok(json) = serde_json::to_string(message) else { return };
        let _ = self.stream.send(Message::text(json)).await;
    }

    /// Waits for the next message. Cancel-safe.
    pub(crate) async fn receive(&mut self) -> Result<Received, ClientError> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => {
                    let message = serde_json::from_str(&text).map_err(|error| ClientError::NotPlausch {
                        url: self.url.clone(),
                        cause: format!("a message that is not understood: {error}"),
                    })?;
                    return Ok(Received::Message(Box::new(message)));
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Ok(Received::Closed),
                Some(Ok(_)) => {}
            }
        }
    }

    /// Ends the socket with a close frame, as a closed browser tab does.
    pub(crate) async fn close(mut self) {
        let _ = timeout(Duration::from_secs(1), self.stream.close(None)).await;
    }
}
