//! Certificates and keys of both ends.

use crate::{LinkError, Result};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Names in the certificates; they are pinned as a whole, so the names only help a reader of the files.
pub(crate) const CONTROL_NAME: &str = "plausch-control";
pub(crate) const RELAY_NAME: &str = "plausch-relay";

/// The certificates of relay and control, and the private keys as far as they are on this host.
///
/// On one host, relay and control share a folder and whoever starts first fills it. For two hosts the operator
/// copies the files; the private key of the other side may be left out.
#[derive(Debug)]
pub struct Identity {
    pub(crate) control: Certified,
    pub(crate) relay: Certified,
}

/// One end.
#[derive(Debug)]
pub(crate) struct Certified {
    pub(crate) certificate: CertificateDer<'static>,
    key: std::result::Result<PrivateKeyDer<'static>, std::path::PathBuf>,
}

impl Certified {
    pub(crate) fn key(&self) -> Result<PrivateKeyDer<'static>> {
        match &self.key {
            Ok(key) => Ok(key.clone_key()),
            Err(path) => Err(LinkError::Incomplete(path.clone())),
        }
    }
}

impl Identity {
    /// Reads `control.crt`, `control.key`, `relay.crt` and `relay.key` from `dir`, and makes all of them first
    /// where there is no certificate yet. Processes that start at the same time agree on one set.
    pub fn load_or_create(dir: &Path) -> Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(file("cannot create", dir))?;
        let lock_path = dir.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(file("cannot open", &lock_path))?;
        // Held until this function returns; the kernel frees it when a process dies.
        lock.lock().map_err(file("cannot lock", &lock_path))?;
        if !dir.join("control.crt").exists() && !dir.join("relay.crt").exists() {
            create(dir)?;
        }
        Ok(Self { control: read(dir, "control")?, relay: read(dir, "relay")? })
    }
}

/// Certificates are renamed into place last: a crash before leaves none, and the next start makes a new set.
fn create(dir: &Path) -> Result<()> {
    let mut certificates = Vec::new();
    for (end, name) in [("control", CONTROL_NAME), ("relay", RELAY_NAME)] {
        let key = rcgen::KeyPair::generate()?;
        let certificate = rcgen::CertificateParams::new([name.to_owned()])?.self_signed(&key)?;
        write_private(&dir.join(format!("{end}.key")), &key.serialize_pem())?;
        certificates.push((dir.join(format!("{end}.crt")), certificate.pem()));
    }
    for (path, pem) in certificates {
        write_private(&path, &pem)?;
    }
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(file("cannot write", dir))
}

fn write_private(path: &Path, contents: &str) -> Result<()> {
    let new = path.with_extension("new");
    let write = || {
        let _ = fs::remove_file(&new);
        let mut out = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&new)?;
        out.write_all(contents.as_bytes())?;
        out.sync_all()?;
        fs::rename(&new, path)
    };
    write().map_err(file("cannot write", path))
}

fn read(dir: &Path, end: &str) -> Result<Certified> {
    let certificate_path = dir.join(format!("{end}.crt"));
    let pem = match fs::read(&certificate_path) {
        Ok(pem) => pem,
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(LinkError::Incomplete(certificate_path)),
        Err(error) => return Err(file("cannot read", &certificate_path)(error)),
    };
    let certificate = CertificateDer::from_pem_slice(&pem).map_err(|_| LinkError::Incomplete(certificate_path))?;
    let key_path = dir.join(format!("{end}.key"));
    let key = fs::read(&key_path).ok().and_then(|pem| PrivateKeyDer::from_pem_slice(&pem).ok()).ok_or(key_path);
    Ok(Certified { certificate, key })
}

fn file(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> LinkError {
    let path = path.to_owned();
    move |reason| LinkError::File { what, path, reason }
}
