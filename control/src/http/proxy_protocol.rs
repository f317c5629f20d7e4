//! The PROXY protocol, version 2 (HAProxy's specification, section 2.2): how the relay's edge says whose HTTP it hands
//! over. Such a listener is for the edge on this machine alone, so a header is demanded of every connection.

use plausch_relay_api::limits::PROXY_HEADER_BYTES;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::io::{AsyncRead, AsyncReadExt};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const PREAMBLE_BYTES: usize = 16;
const VERSION: u8 = 2;
const COMMAND_LOCAL: u8 = 0;
const COMMAND_PROXY: u8 = 1;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;
/// Source and destination address, source and destination port; TLVs may follow.
const IPV4_BYTES: usize = 12;
const IPV6_BYTES: usize = 36;

/// Why a connection's beginning is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProxyError {
    #[error("it does not begin with the signature of the PROXY protocol, version 2")]
    Signature,
    #[error("version {0} of the PROXY protocol is not 2")]
    Version(u8),
    #[error("command {0} of the PROXY protocol is unknown")]
    Command(u8),
    #[error("only TCP over IPv4 or IPv6 is taken, not family {0:#04x}")]
    Family(u8),
    #[error("a header of {0} bytes after its beginning is too long")]
    TooLong(usize),
    #[error("{0} bytes are too few for the addresses of the header's family")]
    TooShort(usize),
}

/// What the first 16 bytes say.
#[derive(Clone, Copy, Debug)]
struct Preamble {
    command: u8,
    family: u8,
    /// How many bytes follow that belong to the header.
    body_bytes: usize,
}

impl Preamble {
    fn read(bytes: &[u8; PREAMBLE_BYTES]) -> Result<Self, ProxyError> {
        let [.., version_and_command, family, length_high, length_low] = *bytes;
        if bytes[..SIGNATURE.len()] != SIGNATURE {
            return Err(ProxyError::Signature);
        }
        let (version, command) = (version_and_command >> 4, version_and_command & 0xf);
        if version != VERSION {
            return Err(ProxyError::Version(version));
        }
        if command != COMMAND_LOCAL && command != COMMAND_PROXY {
            return Err(ProxyError::Command(command));
        }
        let body_bytes = usize::from(u16::from_be_bytes([length_high, length_low]));
        if body_bytes > PROXY_HEADER_BYTES - PREAMBLE_BYTES {
            return Err(ProxyError::TooLong(body_bytes));
        }
        Ok(Self { command, family, body_bytes })
    }

    /// The client's address; `None` when the proxy speaks for itself.
    fn source(&self, body: &[u8]) -> Result<Option<SocketAddr>, ProxyError> {
        if self.command == COMMAND_LOCAL {
            return Ok(None);
        }
        let short = ProxyError::TooShort(body.len());
        let (address, port) = match self.family {
            TCP_OVER_IPV4 => {
                let body = body.first_chunk::<IPV4_BYTES>().ok_or(short)?;
                let [a, b, c, d, _, _, _, _, high, low, ..] = *body;
                (IpAddr::from(Ipv4Addr::new(a, b, c, d)), [high, low])
            }
            TCP_OVER_IPV6 => {
                let body = body.first_chunk::<IPV6_BYTES>().ok_or(short)?;
                let (address, rest) = body.split_first_chunk::<16>().ok_or(short)?;
                let port = rest[16..].first_chunk::<2>().ok_or(short)?;
                (IpAddr::from(Ipv6Addr::from(*address)), *port)
            }
            family => return Err(ProxyError::Family(family)),
        };
        Ok(Some(SocketAddr::new(address, u16::from_be_bytes(port))))
    }
}

/// Reads the header and not a byte more. The client's address; `None` when the proxy speaks for itself.
pub(super) async fn read_header(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut preamble = [0; PREAMBLE_BYTES];
    stream.read_exact(&mut preamble).await?;
    let preamble = Preamble::read(&preamble).map_err(invalid)?;
    let mut body = [0; PROXY_HEADER_BYTES - PREAMBLE_BYTES];
    let body = &mut body[..preamble.body_bytes];
    stream.read_exact(body).await?;
    preamble.source(body).map_err(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(version_and_command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut header = SIGNATURE.to_vec();
        header.extend([version_and_command, family]);
        header.extend((body.len() as u16).to_be_bytes());
        header.extend(body);
        header
    }

    const IPV4: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0x30, 0x39, 0x01, 0xbb];

    fn ipv6() -> Vec<u8> {
        let source = "2001:db8::7".parse::<Ipv6Addr>().unwrap().octets();
        let destination = "2001:db8::1".parse::<Ipv6Addr>().unwrap().octets();
        [&source[..], &destination[..], &[0x30, 0x39, 0x01, 0xbb]].concat()
    }

    /// What is read of the header, and what is left of the bytes.
    fn read(mut bytes: &[u8]) -> (io::Result<Option<SocketAddr>>, Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let result = runtime.block_on(read_header(&mut bytes));
        (result, bytes.to_vec())
    }

    fn error(bytes: &[u8]) -> ProxyError {
        let error = read(bytes).0.unwrap_err();
        *error.get_ref().unwrap().downcast_ref().unwrap()
    }

    #[test]
    fn the_clients_address_is_read_and_nothing_after_the_header() {
        for (family, body, client) in
            [(TCP_OVER_IPV4, IPV4.to_vec(), "192.0.2.7:12345"), (TCP_OVER_IPV6, ipv6(), "[2001:db8::7]:12345")]
        {
            for tlvs in [&[][..], &[0x04, 0, 2, 1, 2][..]] {
                let mut bytes = header(0x21, family, &[&body[..], tlvs].concat());
                bytes.extend(b"GET /");
                let (source, rest) = read(&bytes);
                assert_eq!(source.unwrap(), Some(client.parse().unwrap()));
                assert_eq!(rest, b"GET /");
            }
        }
    }

    #[test]
    fn a_proxy_may_speak_for_itself() {
        for (family, body) in [(0, &[][..]), (TCP_OVER_IPV4, &IPV4[..]), (0x77, &[1, 2, 3][..])] {
            let (source, rest) = read(&header(0x20, family, body));
            assert_eq!(source.unwrap(), None);
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let mut wrong = header(0x21, TCP_OVER_IPV4, &IPV4);
        wrong[4] ^= 1;
        assert_eq!(error(&wrong), ProxyError::Signature);
        assert_eq!(error(b"PROXY TCP4 192.0.2.7 198.51.100.1 12345 443\r\n"), ProxyError::Signature);
        assert_eq!(error(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), ProxyError::Signature);
        assert_eq!(error(&header(0x11, TCP_OVER_IPV4, &IPV4)), ProxyError::Version(1));
        assert_eq!(error(&header(0x31, TCP_OVER_IPV4, &IPV4)), ProxyError::Version(3));
        assert_eq!(error(&header(0x22, TCP_OVER_IPV4, &IPV4)), ProxyError::Command(2));
        for family in [0x00, 0x10, 0x12, 0x22, 0x31] {
            assert_eq!(error(&header(0x21, family, &IPV4)), ProxyError::Family(family));
        }
        assert_eq!(error(&header(0x21, TCP_OVER_IPV4, &IPV4[..11])), ProxyError::TooShort(11));
        assert_eq!(error(&header(0x21, TCP_OVER_IPV6, &IPV4)), ProxyError::TooShort(12));
        let most = PROXY_HEADER_BYTES - PREAMBLE_BYTES;
        assert!(read(&header(0x20, 0, &vec![0; most])).0.is_ok());
        assert_eq!(error(&header(0x20, 0, &vec![0; most + 1])), ProxyError::TooLong(most + 1));
    }

    #[test]
    fn what_is_cut_short_is_waited_for() {
        for whole in [header(0x21, TCP_OVER_IPV4, &IPV4), header(0x21, TCP_OVER_IPV6, &ipv6())] {
            for length in 0..whole.len() {
                let error = read(&whole[..length]).0.unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{length}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            command in any::<u8>(),
            family in any::<u8>(),
            body in prop::collection::vec(any::<u8>(), 0..600),
            cut in 0usize..700,
        ) {
            let bytes = header(command, family, &body);
            let _ = read(&bytes[..cut.min(bytes.len())]);
        }
    }
}
