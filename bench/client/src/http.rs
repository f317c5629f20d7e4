//! One HTTP request at a time, each on a connection of its own: all that WHIP, WHEP and a look at a server's health need.

use super::error::ClientError;
use super::socket;
use super::trust::Trust;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// A server answers within this time, or it does not work.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// No answer that we know is longer.
const LONGEST_ANSWER: u64 = 1 << 20;

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Response {
    /// The first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(of, _)| of.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// What the server says in words, or the number of its status.
    pub(crate) fn words(&self) -> String {
        let first = self.body.lines().next().unwrap_or_default().trim().trim_end_matches('.');
        match first.is_empty() || first.starts_with('<') {
            true => format!("HTTP status {}", self.status),
            false => format!("{first}, HTTP status {}", self.status),
        }
    }

    /// `None` while something is missing.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let mut status = lines.next()?.split(' ');
        status.next().filter(|version| version.starts_with("HTTP/1."))?;
        let status = status.next()?.parse().ok()?;
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
            .collect();
        let response = Self { status, headers, body: String::new() };
        let wanted = response.header("content-length").map_or(Some(0), |length| length.parse::<usize>().ok())?;
        let body = body.get(..wanted)?.to_owned();
        Some(Self { body, ..response })
    }
}

/// Sends a request to the server at `url` (`http://host:port`) and waits for the answer.
pub(crate) async fn request(
    url: &str,
    trust: &Trust,
    method: &str,
    path: &str,
    content_type: &str,
    body: &str,
) -> Result<Response, ClientError> {
    let (address, mut stream) = socket::connect(url, trust).await?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {}:{}\r\nConnection: close\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        address.host,
        address.port,
        body.len()
    );
    let exchange = async {
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body.as_bytes()).await?;
        let mut answer = Vec::new();
        // Some servers end TLS without saying so; what counts is whether the answer is whole.
        let _ = stream.take(LONGEST_ANSWER).read_to_end(&mut answer).await;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = timeout(ANSWER_TIMEOUT, exchange)
        .await
        .map_err(|_| ClientError::Silent { during: "a request was under way", within: ANSWER_TIMEOUT })?
        .map_err(|_| ClientError::Closed { during: "a request was under way" })?;
    if answer.is_empty() {
        return Err(ClientError::Closed { during: "a request was under way" });
    }
    let wrong = || ClientError::NotPlausch { url: url.to_owned(), cause: "no HTTP answer that we know".to_owned() };
    Response::parse(&answer).ok_or_else(wrong)
}

/// Whether the control at `url` says that calls can be made.
pub async fn is_healthy(url: &str, trust: &Trust) -> Result<bool, ClientError> {
    Ok(request(url, trust, "GET", "/api/health", "text/plain", "").await?.status == 200)
}

/// The text at a path of the server at `url`; `None` where it has none.
///
/// # Errors
/// When the server cannot be reached.
pub async fn get_text(url: &str, trust: &Trust, path: &str) -> Result<Option<String>, ClientError> {
    let response = request(url, trust, "GET", path, "text/plain", "").await?;
    Ok((response.status == 200).then_some(response.body))
}

/// Text as a part of a path or query (RFC 3986, section 2.1).
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            true => out.push(byte as char),
            false => out += &format!("%{byte:02X}"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_when_they_are_whole() {
        let text = b"HTTP/1.1 201 Created\r\nlocation: /whip/a/b\r\nContent-Length: 5\r\n\r\nv=0\r\n";
        let response = Response::parse(text).unwrap();
        assert_eq!((response.status, response.body.as_str()), (201, "v=0\r\n"));
        assert_eq!(response.header("Location"), Some("/whip/a/b"));
        for cut in 0..text.len() {
            assert_eq!(Response::parse(&text[..cut]), None, "{cut}");
        }
        assert_eq!(Response::parse(b"SSH-2.0-x\r\n\r\n"), None);
    }

    #[test]
    fn words_are_the_servers_own() {
        let words = |body: &str| Response { status: 503, headers: Vec::new(), body: body.to_owned() }.words();
        assert_eq!(words("The room is full.\n"), "The room is full, HTTP status 503");
        assert_eq!(words("<html>"), "HTTP status 503");
        assert_eq!(encoded("Anna & Bert/ü"), "Anna%20%26%20Bert%2F%C3%BC");
    }
}
