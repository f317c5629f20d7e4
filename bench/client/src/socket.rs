//! Connections to a server's web address: TCP or TLS, and WebSockets over them.

use super::error::ClientError;
use super::trust::Trust;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Uri};

/// How long TCP, TLS and the upgrade to a WebSocket may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A TCP or TLS connection.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

pub(crate) type WebSocket = WebSocketStream<Box<dyn Stream>>;

/// Where a server listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Address {
    pub(crate) secure: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Address {
    /// `http://host:port` or `https://host:port`, nothing behind it.
    pub(crate) fn parse(url: &str) -> Option<Self> {
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

/// Connects to the server at `url`, with TLS where it says so.
pub(crate) async fn connect(url: &str, trust: &Trust) -> Result<(Address, Box<dyn Stream>), ClientError> {
    match timeout(CONNECT_TIMEOUT, open(url, trust)).await {
        Err(_) => Err(ClientError::Silent { during: "connecting", within: CONNECT_TIMEOUT }),
        Ok(result) => result,
    }
}

async fn open(url: &str, trust: &Trust) -> Result<(Address, Box<dyn Stream>), ClientError> {
    let url = url.trim_end_matches('/');
    let address = Address::parse(url).ok_or_else(|| ClientError::BadUrl { url: url.to_owned() })?;
    let tcp = TcpStream::connect((address.bare_host(), address.port))
        .await
        .map_err(|error| ClientError::Unreachable { url: url.to_owned(), cause: error.to_string() })?;
    // Signalling is small messages; they shall not wait for each other.
    let _ = tcp.set_nodelay(true);
    let stream: Box<dyn Stream> = match address.secure {
        true => Box::new(trust.connect(address.bare_host(), tcp, url).await?),
        false => Box::new(tcp),
    };
    Ok((address, stream))
}

/// Opens a WebSocket at `path` of the server, with a subprotocol where one is spoken. The error in words is the
/// caller's, who knows what kind of server it expected.
pub(crate) async fn websocket(
    url: &str,
    trust: &Trust,
    path: &str,
    protocol: Option<&'static str>,
    wrong_server: impl Fn(String) -> ClientError,
) -> Result<WebSocket, ClientError> {
    let (address, stream) = connect(url, trust).await?;
    let text = format!("ws://{}:{}{path}", address.host, address.port);
    let mut request = text.into_client_request().map_err(|error| wrong_server(error.to_string()))?;
    if let Some(protocol) = protocol {
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    }
    let upgrade = timeout(CONNECT_TIMEOUT, tokio_tungstenite::client_async(request, stream)).await;
    match upgrade.map_err(|_| ClientError::Silent { during: "connecting", within: CONNECT_TIMEOUT })? {
        Ok((stream, _)) => Ok(stream),
        Err(WsError::Http(response)) => Err(wrong_server(format!("HTTP status {}", response.status()))),
        Err(error) => Err(wrong_server(error.to_string())),
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
