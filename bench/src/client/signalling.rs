//! The WebSocket to control.

use super::error::ClientError;
use super::trust::Trust;
use futures_util::{SinkExt, StreamExt};
use plausch_signalling::{ClientMessage, ServerMessage};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

/// How long TCP, TLS and the upgrade to a WebSocket may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A TCP or TLS connection.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Where control listens.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Address {
    secure: bool,
    host: String,
    port: u16,
}

impl Address {
    /// `http://host:port` or `https://host:port`, nothing behind it.
    fn parse(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let secure = match uri.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        if uri.path() != "/" || uri.query().is_some() {
            return None;
        }
        let host = uri.host().filter(|host| !host.is_empty())?.to_owned();
        Some(Self { secure, host, port: uri.port_u16().unwrap_or(if secure { 443 } else { 80 }) })
    }

    /// Without the brackets of an IPv6 address.
    fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }
}

/// What a socket says next.
#[derive(Debug)]
pub(crate) enum Received {
    Message(Box<ServerMessage>),
    /// The socket is gone, with or without a close frame.
    Closed,
}

/// One WebSocket to `/api/signalling`.
pub(crate) struct Socket {
    stream: WebSocketStream<Box<dyn Stream>>,
    url: String,
}

impl Socket {
    /// Opens the socket of the server at `url` (`http://host:port`).
    pub(crate) async fn connect(url: &str, trust: &Trust) -> Result<Self, ClientError> {
        let url = url.trim_end_matches('/');
        match timeout(CONNECT_TIMEOUT, Self::open(url, trust)).await {
            Err(_) => Err(ClientError::Silent { during: "connecting", within: CONNECT_TIMEOUT }),
            Ok(result) => result,
        }
    }

    async fn open(url: &str, trust: &Trust) -> Result<Self, ClientError> {
        let url = url.to_owned();
        let address = Address::parse(&url).ok_or_else(|| ClientError::BadUrl { url: url.clone() })?;
        let tcp = TcpStream::connect((address.bare_host(), address.port))
            .await
            .map_err(|error| ClientError::Unreachable { url: url.clone(), cause: error.to_string() })?;
        // Signalling is small messages; they shall not wait for each other.
        let _ = tcp.set_nodelay(true);
        let stream: Box<dyn Stream> = match address.secure {
            true => Box::new(trust.connect(address.bare_host(), tcp, &url).await?),
            false => Box::new(tcp),
        };
        let request = format!("ws://{}:{}/api/signalling", address.host, address.port);
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((stream, _)) => Ok(Self { stream, url }),
            Err(WsError::Http(response)) => {
                Err(ClientError::NotPlausch { url, cause: format!("HTTP status {}", response.status()) })
            }
            Err(error) => Err(ClientError::NotPlausch { url, cause: error.to_string() }),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let address = |secure, host: &str, port| Some(Address { secure, host: host.to_owned(), port });
        assert_eq!(Address::parse("http://localhost:8080"), address(false, "localhost", 8080));
        assert_eq!(Address::parse("https://meet.example"), address(true, "meet.example", 443));
        assert_eq!(Address::parse("http://[::1]:81"), address(false, "[::1]", 81));
        assert_eq!(Address::parse("http://[::1]:81").unwrap().bare_host(), "::1");
        for wrong in
            ["", "localhost", "localhost:8080", "ftp://x", "http://", "http://x/room", "http://x?y", "http://a b"]
        {
            assert_eq!(Address::parse(wrong), None, "{wrong:?}");
        }
    }
}
