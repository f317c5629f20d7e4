//! One DTLS session, as a function of datagrams and time.

use super::failure::HandshakeFailure;
use boring::error::ErrorStack;
use boring::hash::MessageDigest;
use boring::srtp::SrtpProfileId;
use boring::ssl::{
    ErrorCode, ShutdownState, Ssl, SslAlert, SslContextRef, SslRef, SslStream, SslVerifyError, SslVerifyMode,
};
use foreign_types::ForeignTypeRef;
use plausch_engine::SessionKeys;
use plausch_engine::srtp::Profile;
use plausch_relay_api::limits::{DATAGRAM_BYTES, DTLS_MTU_BYTES, DTLS_OUTGOING_DATAGRAMS, DTLS_RETRANSMIT_MS};
use plausch_relay_api::{DtlsRole, Fingerprint};
use std::io::{self, Read, Write};
use std::time::Duration;

/// As a client: browsers' share for a post-quantum group makes a ClientHello of two datagrams, which DTLS servers of OpenSSL
/// and GnuTLS that look for a cookie in the first one do not take.
const CLIENT_GROUPS: &str = "X25519:P-256:P-384";
/// RFC 5764, section 4.2.
const EXPORTER_LABEL: &str = "EXTRACTOR-dtls_srtp";

/// A session of one browser.
pub struct Session {
    stream: SslStream<Datagrams>,
    state: State,
    /// The handshake has been finished once.
    finished: bool,
    role: DtlsRole,
    expected: Fingerprint,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Handshake,
    Established,
    Over,
}

/// What a datagram or the passing of time led to.
#[derive(Debug)]
pub enum Progress {
    /// Nothing that others must know.
    None,
    /// The handshake is finished.
    Keys(SessionKeys),
    /// It cannot be finished any more.
    Failed(HandshakeFailure),
    /// The browser said close_notify.
    Closed,
}

impl Session {
    /// Waits for a ClientHello, or is ready to send one. `expected`: what the other side announced of its certificate.
    pub fn new(context: &SslContextRef, role: DtlsRole, expected: Fingerprint) -> Result<Self, ErrorStack> {
        let mut ssl = Ssl::new(context)?;
        ssl.set_mtu(DTLS_MTU_BYTES)?;
        if role == DtlsRole::Client {
            ssl.set_curves_list(CLIENT_GROUPS)?;
        }
        // Any chain will do, the fingerprint decides (RFC 8827, section 6.5).
        ssl.set_custom_verify_callback(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT, move |ssl| {
            if certificate_matches(ssl, expected) {
                Ok(())
            } else {
                Err(SslVerifyError::Invalid(SslAlert::BAD_CERTIFICATE))
            }
        });
        // SAFETY: the pointer is that of a live `Ssl`; the call only sets a number.
        unsafe { boring_sys::DTLSv1_set_initial_timeout_duration(ssl.as_ptr(), DTLS_RETRANSMIT_MS) };
        let stream = SslStream::new(ssl, Datagrams::default())?;
        Ok(Self { stream, state: State::Handshake, finished: false, role, expected })
    }

    /// Whether the handshake is under way.
    pub fn is_handshaking(&self) -> bool {
        self.state == State::Handshake
    }

    /// Whether there never were keys: under way, or failed.
    pub fn is_unfinished(&self) -> bool {
        !self.finished
    }

    /// Sends the ClientHello, in the client role.
    pub fn start(&mut self) -> Progress {
        match self.role {
            DtlsRole::Client => self.advance(),
            DtlsRole::Server => Progress::None,
        }
    }

    /// Takes a datagram of the other side.
    pub fn receive(&mut self, datagram: Vec<u8>) -> Progress {
        if datagram.is_empty() {
            // BoringSSL would take it for the end of the stream.
            return Progress::None;
        }
        self.stream.get_mut().incoming = Some(datagram);
        let progress = self.advance();
        // What BoringSSL did not want to read is not for later.
        self.stream.get_mut().incoming = None;
        progress
    }

    /// How long until [`Self::handle_timeout`] must be called.
    pub fn timeout(&self) -> Option<Duration> {
        if self.state == State::Over {
            return None;
        }
        let mut left = boring_sys::timeval { tv_sec: 0, tv_usec: 0 };
        // SAFETY: a live `Ssl`, and room for one timeval.
        let running = unsafe { boring_sys::DTLSv1_get_timeout(self.stream.ssl().as_ptr(), &raw mut left) };
        let (seconds, micros) = (u64::try_from(left.tv_sec).ok()?, u64::try_from(left.tv_usec).ok()?);
        (running == 1).then(|| Duration::from_secs(seconds) + Duration::from_micros(micros))
    }

    /// Sends again what seems to be lost.
    pub fn handle_timeout(&mut self) -> Progress {
        if self.state == State::Over {
            return Progress::None;
        }
        // SAFETY: a live `Ssl` that nobody else uses; it calls back into our stream only.
        let result = unsafe { boring_sys::DTLSv1_handle_timeout(self.stream.ssl().as_ptr()) };
        if result < 0 {
            drop(ErrorStack::get());
            return self.end(Progress::Failed(HandshakeFailure::Protocol));
        }
        Progress::None
    }

    /// The datagrams to send to the browser, in order.
    pub fn take_outgoing(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.stream.get_mut().outgoing)
    }

    /// `DTLSv1.2` or `DTLSv1.3`, once negotiated.
    pub fn version(&self) -> &'static str {
        self.stream.ssl().version_str()
    }

    fn handshake(&mut self) -> Result<(), boring::ssl::Error> {
        match self.role {
            DtlsRole::Client => self.stream.connect(),
            DtlsRole::Server => self.stream.accept(),
        }
    }

    fn advance(&mut self) -> Progress {
        match self.state {
            State::Handshake => match self.handshake() {
                Ok(()) => match self.keys() {
                    Some(keys) => {
                        self.state = State::Established;
                        self.finished = true;
                        Progress::Keys(keys)
                    }
                    None => self.end(Progress::Failed(HandshakeFailure::SrtpProfile)),
                },
                Err(error) if error.code() == ErrorCode::WANT_READ => Progress::None,
                Err(error) => {
                    tracing::debug!("a DTLS handshake failed: {error}");
                    let failure = HandshakeFailure::of(error.ssl_error());
                    self.end(Progress::Failed(failure))
                }
            },
            State::Established => self.read(),
            State::Over => Progress::None,
        }
    }

    /// Reads what comes after the handshake: repeated flights, key updates, close_notify. Application data is not
    /// for us. Each round takes a record of the one datagram that there is, so this ends.
    fn read(&mut self) -> Progress {
        let mut discarded = [0; DATAGRAM_BYTES];
        loop {
            match self.stream.ssl_read(&mut discarded) {
                Ok(_) => continue,
                Err(error) if error.code() == ErrorCode::WANT_READ => {}
                Err(error) if error.code() == ErrorCode::ZERO_RETURN => return self.end(Progress::Closed),
                // A fatal alert of the browser, or a broken record within the session: over in any case.
                Err(_) => return self.end(Progress::Closed),
            }
            if self.stream.get_shutdown().contains(ShutdownState::RECEIVED) {
                return self.end(Progress::Closed);
            }
            return Progress::None;
        }
    }

    fn end(&mut self, progress: Progress) -> Progress {
        drop(ErrorStack::get());
        self.state = State::Over;
        progress
    }

    /// `None`: no profile in common, or (which the verify callback excludes) not the announced certificate.
    fn keys(&self) -> Option<SessionKeys> {
        let ssl = self.stream.ssl();
        if !certificate_matches(ssl, self.expected) {
            return None;
        }
        let profile = match ssl.selected_srtp_profile()?.id() {
            SrtpProfileId::SRTP_AEAD_AES_128_GCM => Profile::AeadAes128Gcm,
            SrtpProfileId::SRTP_AEAD_AES_256_GCM => Profile::AeadAes256Gcm,
            SrtpProfileId::SRTP_AES128_CM_SHA1_80 => Profile::Aes128CmSha1_80,
            _ => return None,
        };
        let (key, salt) = (profile.key_len(), profile.salt_len());
        let mut material = vec![0; 2 * (key + salt)];
        ssl.export_keying_material(&mut material, EXPORTER_LABEL, None).ok()?;
        let (keys, salts) = material.split_at(2 * key);
        // RFC 5764, section 4.2: the client's first.
        let (client, server) = ((&keys[..key], &salts[..salt]), (&keys[key..], &salts[salt..]));
        let (remote, local) = match self.role {
            DtlsRole::Client => (server, client),
            DtlsRole::Server => (client, server),
        };
        Some(SessionKeys {
            profile,
            remote_key: remote.0.to_vec(),
            local_key: local.0.to_vec(),
            remote_salt: remote.1.to_vec(),
            local_salt: local.1.to_vec(),
        })
    }
}

fn certificate_matches(ssl: &SslRef, expected: Fingerprint) -> bool {
    let hash_function = match expected {
        Fingerprint::Sha256(_) => MessageDigest::sha256(),
        Fingerprint::Sha384(_) => MessageDigest::sha384(),
        Fingerprint::Sha512(_) => MessageDigest::sha512(),
    };
    ssl.peer_certificate()
        .and_then(|certificate| certificate.digest(hash_function).ok())
        .is_some_and(|digest| &*digest == expected.bytes())
}

/// What BoringSSL reads from and writes to: one datagram per call.
#[derive(Default)]
pub(super) struct Datagrams {
    pub(super) incoming: Option<Vec<u8>>,
    pub(super) outgoing: Vec<Vec<u8>>,
}

impl Read for Datagrams {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let datagram = self.incoming.take().ok_or(io::ErrorKind::WouldBlock)?;
        let len = datagram.len().min(buffer.len());
        buffer[..len].copy_from_slice(&datagram[..len]);
        Ok(len)
    }
}

impl Write for Datagrams {
    fn write(&mut self, datagram: &[u8]) -> io::Result<usize> {
        // Beyond the limit it is lost, as datagrams may be.
        if self.outgoing.len() < DTLS_OUTGOING_DATAGRAMS {
            self.outgoing.push(datagram.to_vec());
        }
        Ok(datagram.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
