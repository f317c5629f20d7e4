//! Certificates of HTTPS.

use crate::config::Certificate;
use crate::state_dir::StateDir;
use anyhow::{Context, Result, ensure};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::sync::Arc;

/// Key and certificate of a self-made pair are one file, so that they never come apart.
const GENERATED: &str = "https.pem";

/// TLS settings with the operator's certificate, or with one that is made once and kept.
pub fn server_config(certificate: &Certificate, state: &StateDir) -> Result<Arc<ServerConfig>> {
    let (chain, key) = match certificate {
        Certificate::Files { certificate, key } => {
            let read = |path: &std::path::Path| {
                std::fs::read(path)
                    .with_context(|| format!("cannot read {}; make it readable for this user", path.display()))
            };
            (read(certificate)?, read(key)?)
        }
        Certificate::Generated { names } => {
            let pem = state.secret_file(GENERATED, || generate(names))?;
            (pem.clone(), pem)
        }
    };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&chain)
        .collect::<Result<_, _>>()
        .context("the certificate of HTTPS is not PEM; give another file")?;
    ensure!(!chain.is_empty(), "the certificate file of HTTPS holds no certificate; give another file");
    let key = PrivateKeyDer::from_pem_slice(&key)
        .context("the key of HTTPS is not a private key in PEM; give another file")?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .context("TLS cannot be set up")?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("the certificate and the key of HTTPS do not belong together; give a matching pair")?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn generate(names: &[String]) -> Result<Vec<u8>> {
    let key = rcgen::KeyPair::generate().context("cannot make a key for HTTPS")?;
    let mut parameters = rcgen::CertificateParams::new(names.to_vec())
        .context("https.names has something that is no name of a server; correct it")?;
    let name = names.first().map(String::as_str).unwrap_or("plausch");
    parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
    let certificate = parameters.self_signed(&key).context("cannot make a certificate for HTTPS")?;
    Ok((certificate.pem() + &key.serialize_pem()).into_bytes())
}
