//! DTLS in the client role with the `dtls` crate, over datagrams that the transport demultiplexes.

use super::error::ClientError;
use async_trait::async_trait;
use aws_lc_rs::digest;
use dtls::config::Config;
use dtls::conn::DTLSConn;
use dtls::crypto::Certificate;
use dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use std::any::Any;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;
use webrtc_srtp::config::Config as SrtpConfig;
use webrtc_srtp::protection_profile::ProtectionProfile;
use webrtc_util::conn::Conn;

/// Datagrams that wait between transport and handshake; a flight is about ten.
const QUEUE: usize = 64;
/// A handshake over a path that works takes some round trips; more than this means that nobody answers.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);
/// Between two sends of a flight. RFC 6347, section 4.2.4.1 says 1 s at first; browsers begin at 50 ms, because over ICE
/// the path is known to work. The crate does not back off, so a little more. It matters with servers that cannot take
/// a ClientHello yet when they have answered a check.
const FLIGHT_INTERVAL: Duration = Duration::from_millis(100);

/// Which SRTP profiles the client offers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SrtpProfiles {
    /// AEAD_AES_128_GCM, AEAD_AES_256_GCM and AES128_CM_HMAC_SHA1_80, as browsers do.
    #[default]
    All,
    /// One of them only.
    Aes128Gcm,
    Aes256Gcm,
    Aes128Cm,
}

/// The client's self-signed certificate.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) certificate: Certificate,
    /// SHA-256, for SDP.
    pub(crate) fingerprint: [u8; 32],
}

impl Identity {
    pub(crate) fn generate() -> Result<Self, ClientError> {
        // The DTLS crate asks rustls for the provider of the process, even though it verifies no chain here. An
        // error only says that there is one already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let certificate = Certificate::generate_self_signed(vec!["plausch-bench".to_owned()])
            .map_err(|error| ClientError::Dtls(format!("no certificate could be made ({error})")))?;
        let fingerprint = fingerprint(&certificate.certificate[0]);
        Ok(Self { certificate, fingerprint })
    }
}

fn fingerprint(der: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
    out
}

/// Queues between the transport and a DTLS connection.
pub(crate) struct DtlsQueues {
    /// Received DTLS datagrams go in here.
    pub(crate) incoming: mpsc::Sender<Vec<u8>>,
    /// DTLS datagrams to send come out here.
    pub(crate) outgoing: mpsc::Receiver<Vec<u8>>,
}

/// The datagram side of a DTLS connection.
pub(crate) struct DatagramConn {
    incoming: Mutex<mpsc::Receiver<Vec<u8>>>,
    outgoing: mpsc::Sender<Vec<u8>>,
}

impl DatagramConn {
    pub(crate) fn new() -> (Self, DtlsQueues) {
        let (incoming_tx, incoming_rx) = mpsc::channel(QUEUE);
        let (outgoing_tx, outgoing_rx) = mpsc::channel(QUEUE);
        let conn = Self { incoming: Mutex::new(incoming_rx), outgoing: outgoing_tx };
        (conn, DtlsQueues { incoming: incoming_tx, outgoing: outgoing_rx })
    }
}

/// The address that the DTLS crate sees; the real one is the transport's business and may change.
const NO_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

#[async_trait]
impl Conn for DatagramConn {
    async fn connect(&self, _: SocketAddr) -> webrtc_util::Result<()> {
        Ok(())
    }

    async fn recv(&self, buf: &mut [u8]) -> webrtc_util::Result<usize> {
        let Some(datagram) = self.incoming.lock().await.recv().await else {
            // The transport is gone. The crate would try again without end.
            return std::future::pending().await;
        };
        let target = buf.get_mut(..datagram.len()).ok_or(webrtc_util::Error::ErrBufferShort)?;
        target.copy_from_slice(&datagram);
        Ok(datagram.len())
    }

    async fn recv_from(&self, buf: &mut [u8]) -> webrtc_util::Result<(usize, SocketAddr)> {
        Ok((self.recv(buf).await?, NO_ADDRESS))
    }

    async fn send(&self, buf: &[u8]) -> webrtc_util::Result<usize> {
        // A full queue loses the datagram, as a network would; a closed one is the end.
        match self.outgoing.try_send(buf.to_vec()) {
            Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => Ok(buf.len()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(webrtc_util::Error::ErrBufferClosed),
        }
    }

    async fn send_to(&self, buf: &[u8], _: SocketAddr) -> webrtc_util::Result<usize> {
        self.send(buf).await
    }

    fn local_addr(&self) -> webrtc_util::Result<SocketAddr> {
        Ok(NO_ADDRESS)
    }

    fn remote_addr(&self) -> Option<SocketAddr> {
        Some(NO_ADDRESS)
    }

    async fn close(&self) -> webrtc_util::Result<()> {
        Ok(())
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

/// A finished handshake.
pub(crate) struct Established {
    pub(crate) conn: DTLSConn,
    /// Keys and profile for SRTP.
    pub(crate) srtp: SrtpConfig,
}

/// Performs the handshake as client, and accepts only the announced certificate (RFC 8122).
pub(crate) async fn handshake(
    conn: DatagramConn,
    identity: Identity,
    remote_fingerprint: [u8; 32],
    profiles: SrtpProfiles,
) -> Result<Established, ClientError> {
    let failed = |error: dtls::Error| ClientError::Dtls(error.to_string());
    let config = Config {
        certificates: vec![identity.certificate],
        srtp_protection_profiles: match profiles {
            SrtpProfiles::All => vec![
                SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
                SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm,
                SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
            ],
            SrtpProfiles::Aes128Gcm => vec![SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm],
            SrtpProfiles::Aes256Gcm => vec![SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm],
            SrtpProfiles::Aes128Cm => vec![SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80],
        },
        // Chains mean nothing in WebRTC: the certificate must be the one that SDP announced.
        insecure_skip_verify: true,
        verify_peer_certificate: Some(Arc::new(move |certificates, _| match certificates.first() {
            Some(der) if fingerprint(der) == remote_fingerprint => Ok(()),
            _ => Err(dtls::Error::Other("the server's certificate is not the announced one".to_owned())),
        })),
        flight_interval: FLIGHT_INTERVAL,
        ..Config::default()
    };
    let conn = timeout(HANDSHAKE_TIMEOUT, DTLSConn::new(Arc::new(conn), config, true, None))
        .await
        .map_err(|_| ClientError::Silent { during: "the DTLS handshake", within: HANDSHAKE_TIMEOUT })?
        .map_err(failed)?;
    let profile = match conn.selected_srtpprotection_profile() {
        SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => ProtectionProfile::AeadAes128Gcm,
        SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm => ProtectionProfile::AeadAes256Gcm,
        SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        other => return Err(ClientError::Dtls(format!("the server chose {other:?}, which was not offered"))),
    };
    let mut srtp = SrtpConfig { profile, ..SrtpConfig::default() };
    let state = conn.connection_state().await;
    srtp.extract_session_keys_from_dtls(state, true).await.map_err(|error| ClientError::Srtp(error.to_string()))?;
    Ok(Established { conn, srtp })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dtls::config::ClientAuthType;

    /// Joins two datagram connections back to back.
    fn connect(a: DtlsQueues, b: DtlsQueues) {
        for (mut from, to) in [(a.outgoing, b.incoming), (b.outgoing, a.incoming)] {
            tokio::spawn(async move {
                while let Some(datagram) = from.recv().await {
                    if to.send(datagram).await.is_err() {
                        break;
                    }
                }
            });
        }
    }

    async fn shake(
        profiles: SrtpProfiles,
        server_profiles: Vec<SrtpProtectionProfile>,
        wrong_fingerprint: bool,
    ) -> (Result<Established, ClientError>, Option<SrtpConfig>) {
        let (client_conn, client_queues) = DatagramConn::new();
        let (server_conn, server_queues) = DatagramConn::new();
        connect(client_queues, server_queues);
        let client = Identity::generate().unwrap();
        let server = Identity::generate().unwrap();
        let mut expected = server.fingerprint;
        expected[0] ^= u8::from(wrong_fingerprint);
        let config = Config {
            certificates: vec![server.certificate],
            srtp_protection_profiles: server_profiles,
            client_auth: ClientAuthType::RequireAnyClientCert,
            insecure_skip_verify: true,
            ..Config::default()
        };
        let accepting = tokio::spawn(async move {
            let conn = DTLSConn::new(Arc::new(server_conn), config, false, None).await.ok()?;
            let profile = match conn.selected_srtpprotection_profile() {
                SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => ProtectionProfile::AeadAes128Gcm,
                _ => ProtectionProfile::Aes128CmHmacSha1_80,
            };
            let mut srtp = SrtpConfig { profile, ..SrtpConfig::default() };
            srtp.extract_session_keys_from_dtls(conn.connection_state().await, false).await.ok()?;
            Some(srtp)
        });
        let result = handshake(client_conn, client, expected, profiles).await;
        let server = match result.is_ok() {
            true => accepting.await.unwrap(),
            false => None,
        };
        (result, server)
    }

    #[tokio::test]
    async fn both_ends_derive_the_same_keys() {
        let all =
            vec![SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm, SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80];
        for (profiles, key_len) in [(SrtpProfiles::All, 16), (SrtpProfiles::Aes128Cm, 16)] {
            let (client, server) = shake(profiles, all.clone(), false).await;
            let (client, server) = (client.unwrap(), server.unwrap());
            assert_eq!(client.srtp.keys.local_master_key.len(), key_len);
            assert_eq!(client.srtp.keys.local_master_key, server.keys.remote_master_key);
            assert_eq!(client.srtp.keys.remote_master_salt, server.keys.local_master_salt);
        }
    }

    #[tokio::test]
    async fn another_certificate_than_the_announced_one_is_refused() {
        let (client, _) = shake(SrtpProfiles::All, vec![SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm], true).await;
        assert!(matches!(client, Err(ClientError::Dtls(_))));
    }
}
