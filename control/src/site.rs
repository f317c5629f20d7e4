//! The operator's side of the web page: name, logo and colours, the texts that the law asks for, and the HTML around
//! both and around the client. Made once at start from the configuration; nothing of it needs a rebuild.

pub mod branding;
pub mod colour;
pub mod fields;
pub mod language;
pub mod markdown;
pub mod pages;
pub mod shell;

use anyhow::Result;
use branding::Branding;
use fields::Fields;
use pages::Pages;
use shell::Shell;
use std::path::PathBuf;

/// Checked settings of the site.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SiteConfig {
    pub branding: Branding,
    pub fields: Fields,
    /// The operator's own texts; a page that is not there is taken from ours.
    pub pages: Option<PathBuf>,
}

/// All that is served beside the client's files.
pub struct Site {
    pub branding: Branding,
    pub pages: Pages,
    pub shell: Shell,
}

impl Site {
    /// `index`: the client's page as it was built.
    pub fn new(config: &SiteConfig, index: &str) -> Result<Self> {
        let shell = Shell::new(index, &config.branding)?;
        let pages = Pages::load(config.pages.as_deref(), &config.fields, &shell)?;
        Ok(Self { branding: config.branding.clone(), pages, shell })
    }
}
