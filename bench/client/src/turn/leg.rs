//! The way between a client and the server: UDP datagrams, or a TCP or TLS stream of frames.

use super::datagrams::{Datagrams, enlarge_buffers, send_run};
use super::error::TurnError;
use super::now_ns;
use crate::arrival::stamp_arrivals;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

/// A TCP connection must be there, and a TLS handshake done, within this time.
pub const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Bytes read from a stream at once.
const READ_BYTES: usize = 64 << 10;

/// How clients reach the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Transport {
    Udp,
    Tcp,
    /// TLS 1.2 or 1.3 over TCP. The certificate is not checked: this program measures, and sends nothing secret.
    Tls,
}

impl Transport {
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        }
    }
}

/// What one client sends and receives through. Never blocks.
pub enum Leg {
    /// Connected to the server.
    Udp(UdpSocket),
    Stream(Box<Stream>),
}

pub struct Stream {
    tcp: TcpStream,
    tls: Option<ClientConnection>,
    /// Bytes of frames that are not complete yet.
    input: Vec<u8>,
    /// Bytes that the socket did not take yet; TLS keeps its own.
    output: Vec<u8>,
}

impl Leg {
    /// Connects from `local`, or from any address of this machine.
    pub fn connect(transport: Transport, server: SocketAddr, local: Option<SocketAddr>) -> Result<Self, TurnError> {
        let unreachable = |error: io::Error| TurnError::Unreachable { server, transport, cause: error.to_string() };
        if transport == Transport::Udp {
            let any = SocketAddr::new(if server.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) }, 0);
            let open = || {
                let socket = UdpSocket::bind(local.unwrap_or(any))?;
                socket.connect(server)?;
                socket.set_nonblocking(true)?;
                stamp_arrivals(&socket)?;
                Ok(socket)
            };
            return open().map(Self::Udp).map_err(|error: io::Error| TurnError::Socket(error.to_string()));
        }
        let tcp = connect_tcp(server, local).map_err(unreachable)?;
        tcp.set_nodelay(true).map_err(unreachable)?;
        tcp.set_read_timeout(Some(CONNECT_WITHIN)).map_err(unreachable)?;
        let mut stream = Stream { tcp, tls: None, input: Vec::new(), output: Vec::new() };
        if transport == Transport::Tls {
            let untrue = |cause: String| TurnError::Tls { server, cause };
            let config = super::trust::everybody().map_err(|error| untrue(error.to_string()))?;
            let name = ServerName::IpAddress(server.ip().into());
            let mut tls = ClientConnection::new(Arc::new(config), name).map_err(|error| untrue(error.to_string()))?;
            while tls.is_handshaking() {
                tls.complete_io(&mut stream.tcp).map_err(|error| untrue(error.to_string()))?;
            }
            stream.tls = Some(tls);
        }
        stream.tcp.set_nonblocking(true).map_err(unreachable)?;
        Ok(Self::Stream(Box::new(stream)))
    }

    pub fn fd(&self) -> RawFd {
        match self {
            Self::Udp(socket) => socket.as_raw_fd(),
            Self::Stream(stream) => stream.tcp.as_raw_fd(),
        }
    }

    pub fn is_udp(&self) -> bool {
        matches!(self, Self::Udp(_))
    }

    /// For clients that also carry traffic.
    pub fn enlarge(&self) {
        if let Self::Udp(socket) = self {
            enlarge_buffers(socket);
        }
    }

    /// Sends one STUN message or ChannelData message.
    ///
    /// # Errors
    /// `WouldBlock` when the way is full; the frame is then not sent at all.
    pub fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(frame).map(|_| ()),
            Self::Stream(stream) => stream.send(frame),
        }
    }

    /// Sends ChannelData messages of the same length that leave together, by one call where that is possible.
    ///
    /// # Errors
    /// Those of `send`; on a stream some may be under way then.
    pub fn send_run(&mut self, frames: &[u8], frame_bytes: usize) -> io::Result<()> {
        match self {
            Self::Udp(socket) => send_run(socket, None, frames, frame_bytes),
            Self::Stream(stream) => frames.chunks(frame_bytes).try_for_each(|frame| stream.send(frame)),
        }
    }

    /// Gives every frame that waits to `each`, with the time of its arrival.
    ///
    /// # Errors
    /// What the kernel says of the socket, and `UnexpectedEof` when the server closed the connection.
    pub fn receive(&mut self, datagrams: &mut Datagrams, mut each: impl FnMut(&[u8], u64)) -> io::Result<()> {
        match self {
            Self::Udp(socket) => datagrams.drain(socket, |bytes, _, at_ns| each(bytes, at_ns)),
            Self::Stream(stream) => stream.receive(each),
        }
    }
}

impl Stream {
    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        self.flush()?;
        if !self.output.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.wants_write()) {
            return Err(ErrorKind::WouldBlock.into());
        }
        // On streams, ChannelData is padded to a multiple of four bytes (RFC 8656 section 12.5); STUN always is one.
        let padding = &[0; 3][..frame.len().next_multiple_of(4) - frame.len()];
        match &mut self.tls {
            Some(tls) => {
                tls.writer().write_all(frame)?;
                tls.writer().write_all(padding)?;
            }
            None => {
                self.output.extend_from_slice(frame);
                self.output.extend_from_slice(padding);
            }
        }
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        let written = match &mut self.tls {
            Some(tls) => {
                while tls.wants_write() {
                    match tls.write_tls(&mut self.tcp) {
                        Ok(_) => {}
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(error) => return Err(error),
                    }
                }
                return Ok(());
            }
            None if self.output.is_empty() => return Ok(()),
            None => self.tcp.write(&self.output),
        };
        match written {
            Ok(count) => {
                self.output.drain(..count);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn receive(&mut self, mut each: impl FnMut(&[u8], u64)) -> io::Result<()> {
        loop {
            let start = self.input.len();
            let read = match &mut self.tls {
                Some(tls) => match tls.read_tls(&mut self.tcp) {
                    Ok(count) => {
                        let state = tls.process_new_packets().map_err(io::Error::other)?;
                        self.input.resize(start + state.plaintext_bytes_to_read(), 0);
                        tls.reader().read_exact(&mut self.input[start..])?;
                        Ok(count)
                    }
                    Err(error) => Err(error),
                },
                None => {
                    self.input.resize(start + READ_BYTES, 0);
                    let read = self.tcp.read(&mut self.input[start..]);
                    self.input.truncate(start + read.as_ref().copied().unwrap_or(0));
                    read
                }
            };
            match read {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.flush(),
                Err(error) => return Err(error),
            }
            let now = now_ns();
            let mut taken = 0;
            while let Some((frame, padded)) = next_frame(&self.input[taken..]) {
                each(frame, now);
                taken += padded;
            }
            self.input.drain(..taken);
        }
    }
}

fn connect_tcp(server: SocketAddr, local: Option<SocketAddr>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(local) = local {
        socket.bind(&local.into())?;
    }
    socket.connect_timeout(&server.into(), CONNECT_WITHIN)?;
    Ok(socket.into())
}

/// The first frame if it is complete, and its length in the stream (RFC 8656 section 12.5, RFC 8489 section 6.2.2).
fn next_frame(input: &[u8]) -> Option<(&[u8], usize)> {
    let length = usize::from(u16::from_be_bytes([*input.get(2)?, *input.get(3)?]));
    let frame = if input[0] & 0xc0 == 0x40 { 4 + length } else { 20 + length };
    let padded = frame.next_multiple_of(4);
    (input.len() >= padded).then(|| (&input[..frame], padded))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_in_a_stream() {
        let channel = [0x40, 0x01, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0];
        let mut stun = [0; 24];
        stun[3] = 4;
        let stream = [channel.as_slice(), &stun].concat();
        assert_eq!(next_frame(&stream), Some((&channel[..9], 12)));
        assert_eq!(next_frame(&stream[12..]), Some((stun.as_slice(), 24)));
        for len in 0..12 {
            assert_eq!(next_frame(&channel[..len]), None);
        }
    }
}
