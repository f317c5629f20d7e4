//! The WebSocket to control.

use super::error::ClientError;
use super::socket::{self, WebSocket};
use super::trust::Trust;
use futures_util::{SinkExt, StreamExt};
use plausch_signalling::{ClientMessage, ServerMessage};
use std::time::Duration;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

/// What a socket says next.
#[derive(Debug)]
pub(crate) enum Received {
    Message(Box<ServerMessage>),
    /// The socket is gone, with or without a close frame.
    Closed,
}

/// One WebSocket to `/api/signalling`.
pub(crate) struct Socket {
    stream: WebSocket,
    url: String,
}

impl Socket {
    /// Opens the socket of the server at `url` (`http://host:port`).
    pub(crate) async fn connect(url: &str, trust: &Trust) -> Result<Self, ClientError> {
        let wrong = |cause| ClientError::NotPlausch { url: url.to_owned(), cause };
        let stream = socket::websocket(url, trust, "/api/signalling", None, wrong).await?;
        Ok(Self { stream, url: url.to_owned() })
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
