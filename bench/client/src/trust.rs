//! TLS to control: whom the client believes.

use super::error::ClientError;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Which certificates are believed behind `https`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Trust {
    /// The authorities of this system.
    #[default]
    System,
    /// Those in a PEM file only, for example a self-made certificate itself.
    File(PathBuf),
}

impl Trust {
    pub(crate) async fn connect(
        &self,
        host: &str,
        tcp: TcpStream,
        url: &str,
    ) -> Result<TlsStream<TcpStream>, ClientError> {
        let untrusted = |cause: String| ClientError::Untrusted { url: url.to_owned(), cause };
        let name = ServerName::try_from(host.to_owned()).map_err(|_| ClientError::BadUrl { url: url.to_owned() })?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| untrusted(error.to_string()))?
            .with_root_certificates(self.roots()?)
            .with_no_client_auth();
        // A WebSocket begins with HTTP/1.1.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, tcp).await.map_err(|error| untrusted(error.to_string()))
    }

    fn roots(&self) -> Result<RootCertStore, ClientError> {
        let mut roots = RootCertStore::empty();
        match self {
            Self::System => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
            Self::File(path) => {
                let bad = |cause: String| ClientError::BadTrust { file: path.display().to_string(), cause };
                let pem = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
                for certificate in CertificateDer::pem_slice_iter(&pem) {
                    let certificate = certificate.map_err(|error| bad(error.to_string()))?;
                    roots.add(certificate).map_err(|error| bad(error.to_string()))?;
                }
                if roots.is_empty() {
                    return Err(bad("there is none in it".to_owned()));
                }
            }
        }
        Ok(roots)
    }
}
