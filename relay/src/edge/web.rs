//! HTTPS on the edge's TLS ports: decrypted here and passed on to control.

use super::counters::{Gauge, count};
use super::{Floor, Origin};
use plausch_daemon::share::Place;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, split};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

/// Between two attempts to reach control.
const PAUSE: Duration = Duration::from_millis(50);
/// What is left to say when the other direction has ended: a page to a browser that asks for nothing more, and what
/// nobody will answer.
const REST_OF_PAGE: Duration = Duration::from_secs(60);
const REST_OF_REQUEST: Duration = Duration::from_secs(2);
/// For a browser that reads nothing, not even this.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);

/// What control's absence is answered with. HTTP/2 has no such page: the connection ends, and browsers try again.
const AWAY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nRetry-After: 2\r\n\
    Content-Length: 87\r\nConnection: close\r\n\r\n\
    Plausch is just starting again. Please try again soon.\nBitte gleich noch einmal laden.\n";

/// Passes a connection's bytes on in both directions until both have ended. `first` was read already.
pub(super) async fn serve<S>(floor: &Floor, mut stream: S, first: &[u8], origin: Origin, http2: bool, place: &Place)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let _gauge = Gauge::up(&floor.shared.counters.web);
    let Some(mut control) = dial(floor).await else {
        count(&floor.shared.counters.closed_no_control);
        if !http2 {
            let _ = timeout(ANSWER_PATIENCE, async {
                stream.write_all(AWAY).await?;
                stream.shutdown().await
            })
            .await;
        }
        return;
    };
    let begun = [&proxy_header(origin.remote, origin.local), first].concat();
    if control.write_all(&begun).await.is_err() {
        return;
    }
    // An end in the middle is nothing to speak of: browsers close tabs.
    let (from_client, to_client) = split(stream);
    let (from_control, to_control) = control.split();
    let (mut up, mut down) = (pin!(pass(from_client, to_control)), pin!(answer(from_control, to_client, place)));
    tokio::select! {
        _ = &mut up => drop(timeout(REST_OF_PAGE, down).await),
        _ = &mut down => drop(timeout(REST_OF_REQUEST, up).await),
    }
}

/// Copies until the end, and passes the end on.
async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> std::io::Result<()> {
    // What was written is flushed whenever there is nothing more to read.
    copy(&mut from, &mut to).await?;
    to.shutdown().await
}

/// As [`pass`]. A WebSocket that control has taken has its place for certain here: control judges who keeps it.
async fn answer(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    place: &Place,
) -> std::io::Result<()> {
    let mut first = [0; SWITCHED.len()];
    let mut len = 0;
    while len < first.len() {
        match from.read(&mut first[len..]).await? {
            0 => break,
            more => len += more,
        }
    }
    if first == *SWITCHED {
        place.settle();
    }
    to.write_all(&first[..len]).await?;
    pass(from, to).await
}

/// How the answer to a WebSocket's request begins (RFC 6455, section 4.2.2).
const SWITCHED: &[u8; 12] = b"HTTP/1.1 101";

/// While control starts again, a page takes a moment longer.
async fn dial(floor: &Floor) -> Option<UnixStream> {
    let dialling = async {
        loop {
            if let Some(socket) = floor.shared.http()
                && let Ok(stream) = UnixStream::connect(&socket.path).await
            {
                if stream.peer_cred().is_ok_and(|peer| peer.uid() == socket.uid) {
                    return stream;
                }
                count(&floor.shared.counters.refused_impostor);
            }
            sleep(PAUSE).await;
        }
    };
    timeout(floor.shared.times.control, dialling).await.ok()
}

/// The PROXY protocol's header, version 2 (haproxy.org, proxy-protocol.txt, section 2.2): who the client is, and which
/// address of ours it asked.
fn proxy_header(client: SocketAddr, server: SocketAddr) -> Vec<u8> {
    const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
    const VERSION_2_PROXY: u8 = 0x21;
    let mut header = SIGNATURE.to_vec();
    header.push(VERSION_2_PROXY);
    let ports = [client.port().to_be_bytes(), server.port().to_be_bytes()].concat();
    match (client.ip().to_canonical(), server.ip().to_canonical()) {
        (IpAddr::V4(client), IpAddr::V4(server)) => {
            header.extend([0x11, 0, 12]);
            header.extend(client.octets());
            header.extend(server.octets());
        }
        (client, server) => {
            header.extend([0x21, 0, 36]);
            for address in [client, server] {
                let octets = match address {
                    IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
                    IpAddr::V6(v6) => v6.octets(),
                };
                header.extend(octets);
            }
        }
    }
    header.extend(ports);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_for_an_absent_control_has_the_length_it_says() {
        let (head, body) = std::str::from_utf8(AWAY).unwrap().split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
    }

    #[test]
    fn the_header_of_the_proxy_protocol_names_both_ends() {
        // Built by hand after the specification's table.
        let four = proxy_header("192.0.2.1:1000".parse().unwrap(), "198.51.100.2:443".parse().unwrap());
        let signature = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];
        let rest = [0x21, 0x11, 0, 12, 192, 0, 2, 1, 198, 51, 100, 2, 0x03, 0xe8, 0x01, 0xbb];
        assert_eq!(four, [&signature[..], &rest].concat());
        let six = proxy_header("[2001:db8::1]:1".parse().unwrap(), "[2001:db8::2]:2".parse().unwrap());
        assert_eq!((six.len(), &six[12..16], &six[48..]), (52, &[0x21, 0x21, 0, 36][..], &[0, 1, 0, 2][..]));
    }
}
