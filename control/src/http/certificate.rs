//! The certificate of HTTPS and of TURN over TLS: the operator's, or one that is made once and kept. The operator's is
//! looked at again from time to time, because it is renewed every few weeks while calls go on.

use crate::config::Certificate;
use crate::state_dir::StateDir;
use anyhow::{Context, Result, ensure};
use plausch_relay_api::{TlsCertificate, TlsKey};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Key and certificate of a self-made pair are one file, so that they never come apart.
const GENERATED: &str = "https.pem";

/// A pair that belongs together, and where a new one would come from.
pub struct CertificateStore {
    /// Of chain and key; `None` where the pair is self-made.
    files: Option<(PathBuf, PathBuf)>,
    present: TlsCertificate,
    tls: Arc<ServerConfig>,
}

impl CertificateStore {
    pub fn load(certificate: &Certificate, state: &StateDir) -> Result<Self> {
        let (files, present) = match certificate {
            Certificate::Files { certificate, key } => {
                (Some((certificate.clone(), key.clone())), read_files(certificate, key)?)
            }
            Certificate::Generated { names } => {
                let pem = state.secret_file(GENERATED, || generate(names))?;
                let pem = bytes::Bytes::from(pem);
                (None, TlsCertificate { chain: pem.clone(), key: pem.into() })
            }
        };
        let tls = server_config(&present)?;
        Ok(Self { files, present, tls })
    }

    pub fn present(&self) -> &TlsCertificate {
        &self.present
    }

    /// TLS settings with it.
    pub fn tls(&self) -> Arc<ServerConfig> {
        self.tls.clone()
    }

    /// Takes what the files hold now. `true` if that is something new; on an error the pair before stays in use.
    pub fn reload(&mut self) -> Result<bool> {
        let Some((certificate, key)) = &self.files else { return Ok(false) };
        let found = read_files(certificate, key)?;
        if found == self.present {
            return Ok(false);
        }
        self.tls = server_config(&found)?;
        self.present = found;
        Ok(true)
    }
}

fn read_files(certificate: &Path, key: &Path) -> Result<TlsCertificate> {
    let read = |path: &Path| {
        let content = std::fs::read(path);
        content.with_context(|| format!("cannot read {}; make it readable for this user", path.display()))
    };
    Ok(TlsCertificate { chain: read(certificate)?.into(), key: TlsKey::new(read(key)?) })
}

fn server_config(pair: &TlsCertificate) -> Result<Arc<ServerConfig>> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pair.chain)
        .collect::<Result<_, _>>()
        .context("the certificate of HTTPS is not PEM; give another file")?;
    ensure!(!chain.is_empty(), "the certificate file of HTTPS holds no certificate; give another file");
    let key = PrivateKeyDer::from_pem_slice(pair.key.reveal())
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_new_pair_is_taken_and_half_of_one_is_not() {
        let folder = std::env::temp_dir().join(format!("plausch-certificates-{}", std::process::id()));
        let state = StateDir::create(folder.clone()).unwrap();
        let (chain, key) = (folder.join("chain.pem"), folder.join("key.pem"));
        let write = |pem: &[u8], what: &[&PathBuf]| what.iter().for_each(|path| fs::write(path, pem).unwrap());
        let pairs = ["a.example", "b.example"].map(|name| generate(&[name.to_owned()]).unwrap());
        write(&pairs[0], &[&chain, &key]);
        let files = Certificate::Files { certificate: chain.clone(), key: key.clone() };
        let mut store = CertificateStore::load(&files, &state).unwrap();
        let first = store.tls();
        assert!(!store.reload().unwrap());
        assert!(Arc::ptr_eq(&first, &store.tls()));
        // The programs that renew certificates write one file after the other.
        write(&pairs[1], &[&chain]);
        assert!(format!("{:#}", store.reload().unwrap_err()).contains("do not belong together"));
        fs::remove_file(&key).unwrap();
        assert!(format!("{:#}", store.reload().unwrap_err()).contains("cannot read"));
        assert_eq!(store.present().chain, pairs[0]);
        assert!(Arc::ptr_eq(&first, &store.tls()));
        write(&pairs[1], &[&key]);
        assert!(store.reload().unwrap());
        assert_eq!(store.present().chain, pairs[1]);
        assert!(!Arc::ptr_eq(&first, &store.tls()));
        fs::remove_dir_all(folder).unwrap();
    }
}
