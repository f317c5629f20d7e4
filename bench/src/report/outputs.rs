//! Where figures go beside the terminal.

use super::measurement::Measurement;
use anyhow::anyhow;
use clap::Args;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Flattened into the arguments of every command that measures.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Outputs {
    /// Write the figures to this file as one JSON object.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a page with figures and plots to this file, to be sent around: it needs nothing else.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl Outputs {
    /// Whether the files can be written, asked before anything is measured.
    ///
    /// # Errors
    /// What is in the way, and what to do.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        self.json.iter().chain(&self.html).try_for_each(|file| check_writable(file))
    }

    pub(super) fn write(&self, measurement: &Measurement) -> anyhow::Result<()> {
        if let Some(file) = &self.json {
            write(file, measurement.json())?;
        }
        if let Some(file) = &self.html {
            write(file, &measurement.html())?;
        }
        Ok(())
    }
}

/// Leaves what is there untouched.
pub(crate) fn check_writable(file: &Path) -> anyhow::Result<()> {
    let was_there = file.exists();
    let opened = File::options().append(true).create(true).open(file);
    opened
        .map_err(|error| anyhow!("cannot write {}: {error}; make its folder, or name another file", file.display()))?;
    if !was_there {
        // It would be empty until the end of the run.
        let _ = fs::remove_file(file);
    }
    Ok(())
}

pub(crate) fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(file, text).map_err(|error| anyhow!("cannot write {}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_cannot_be_written_are_refused_beforehand() {
        let folder = std::env::temp_dir().join(format!("plausch-bench-outputs-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let at = |file: PathBuf| Outputs { json: Some(file), html: None };
        let said = at(folder.join("missing/run.json")).check().unwrap_err().to_string();
        assert!(said.contains("missing/run.json") && said.contains("make its folder"), "{said}");
        assert!(at(folder.clone()).check().is_err());
        at(folder.join("new.json")).check().unwrap();
        assert!(!folder.join("new.json").exists());
        fs::write(folder.join("old.json"), "before").unwrap();
        at(folder.join("old.json")).check().unwrap();
        assert_eq!(fs::read_to_string(folder.join("old.json")).unwrap(), "before");
        fs::remove_dir_all(folder).unwrap();
    }
}
