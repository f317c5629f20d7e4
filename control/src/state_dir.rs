//! The folder in which control keeps its secrets.

use crate::random;
use anyhow::{Context, Result, bail};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// An existing folder that only this user can read.
#[derive(Clone, Debug)]
pub struct StateDir(PathBuf);

impl StateDir {
    pub fn create(path: PathBuf) -> Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot create the state folder {}; choose another", path.display()))?;
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Reads `control.secret`, or makes it: what is signed by it outlives a restart.
    pub fn control_secret(&self) -> Result<[u8; 32]> {
        let secret = self.secret_file("control.secret", || Ok(random::bytes::<32>().to_vec()))?;
        secret.as_slice().try_into().context("control.secret must hold 32 bytes; delete it")
    }

    /// Reads a file; if there is none, makes its content and writes it so that it is there whole or not at all.
    pub fn secret_file(&self, name: &str, make: impl FnOnce() -> Result<Vec<u8>>) -> Result<Vec<u8>> {
        let path = self.0.join(name);
        match fs::read(&path) {
            Ok(content) => return Ok(content),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => bail!("cannot read {}: {error}; make it readable for this user", path.display()),
        }
        let content = make()?;
        self.write(name, &content)?;
        Ok(content)
    }

    /// Writes a file so that it is there whole or as it was.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let path = self.0.join(name);
        let partial = self.0.join(format!(".{name}.{}", std::process::id()));
        let written = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&partial)
            .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&partial, &path));
        written.with_context(|| format!("cannot write {}; check the folder's rights and free space", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_secret_is_made_once_and_is_private() {
        let path = std::env::temp_dir().join(format!("plausch-state-{}", std::process::id()));
        let state = StateDir::create(path.clone()).unwrap();
        assert_eq!(state.secret_file("s", || Ok(b"one".to_vec())).unwrap(), b"one");
        assert_eq!(state.secret_file("s", || Ok(b"two".to_vec())).unwrap(), b"one");
        let mode = fs::metadata(path.join("s")).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
        fs::remove_dir_all(path).unwrap();
    }
}
