//! The certificate with which the edge answers: control's, exchanged while connections go on.

use plausch_relay_api::TlsCertificate;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::sync::{Arc, PoisonError, RwLock};

/// ALPN of HTTP, in the order of preference, and of TURN and STUN (RFC 7443), whose clients mostly say nothing.
const PROTOCOLS: [&[u8]; 4] = [b"h2", b"http/1.1", b"stun.turn", b"stun.nat-discovery"];

/// Holds the present certificate. Handshakes begun before an exchange end with the old one.
#[derive(Debug)]
pub(super) struct Certificates {
    provider: Arc<CryptoProvider>,
    present: RwLock<Option<Arc<CertifiedKey>>>,
}

impl Certificates {
    pub(super) fn new() -> Self {
        Self { provider: Arc::new(aws_lc_rs::default_provider()), present: RwLock::new(None) }
    }

    /// Reads a chain and the key that belongs to it. The error is for people and holds nothing of either.
    pub(super) fn read(&self, certificate: &TlsCertificate) -> Result<Arc<CertifiedKey>, String> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&certificate.chain)
            .collect::<Result<_, _>>()
            .map_err(|_| "the certificate chain is not PEM".to_owned())?;
        if chain.is_empty() {
            return Err("the certificate chain is empty".to_owned());
        }
        let key = PrivateKeyDer::from_pem_slice(certificate.key.reveal())
            .map_err(|_| "the key of the certificate is not PEM".to_owned())?;
        let key = CertifiedKey::from_der(chain, key, &self.provider)
            .map_err(|error| format!("certificate and key cannot be used: {error}"))?;
        Ok(Arc::new(key))
    }

    pub(super) fn set(&self, certificate: Option<Arc<CertifiedKey>>) {
        *self.present.write().unwrap_or_else(PoisonError::into_inner) = certificate;
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.present.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How the edge does TLS.
pub(super) fn server_config(certificates: Arc<Certificates>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(certificates.provider.clone())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(Arc::new(config))
}
