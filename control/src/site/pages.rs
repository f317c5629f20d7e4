//! The operator's texts: guides, terms, privacy, legal notice and accessibility, in both languages.

use super::fields::{Fields, setting};
use super::language::Language;
use super::markdown::render;
use super::shell::Shell;
use anyhow::{Context, Result, ensure};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// One text in one language.
struct Text {
    /// The last part of its address, and the name of its file.
    slug: &'static str,
    language: Language,
    /// Where the foot of each page leads to it.
    label: &'static str,
    ours: &'static str,
}

macro_rules! text {
    ($language:ident, $tag:literal, $slug:literal, $label:literal) => {
        Text {
            slug: $slug,
            language: Language::$language,
            label: $label,
            ours: include_str!(concat!("../../pages/", $tag, "/", $slug, ".md")),
        }
    };
}

/// In the order of the foot; German and English in pairs.
const TEXTS: [[Text; 2]; 6] = [
    [text!(German, "de", "anleitung-pc", "Anleitung PC"), text!(English, "en", "guide-pc", "Guide PC")],
    [text!(German, "de", "anleitung-handy", "Anleitung Handy"), text!(English, "en", "guide-phone", "Guide phone")],
    [text!(German, "de", "nutzung", "Nutzung"), text!(English, "en", "terms", "Terms of use")],
    [text!(German, "de", "datenschutz", "Datenschutz"), text!(English, "en", "privacy", "Privacy")],
    [text!(German, "de", "impressum", "Impressum"), text!(English, "en", "legal-notice", "Legal notice")],
    [
        text!(German, "de", "barrierefreiheit", "Barrierefreiheit"),
        text!(English, "en", "accessibility", "Accessibility"),
    ],
];

/// Other names by which people look for them.
const ALIASES: &[(&str, &str)] = &[
    ("anleitung", "anleitung-pc"),
    ("hilfe", "anleitung-pc"),
    ("guide", "guide-pc"),
    ("help", "guide-pc"),
    ("imprint", "legal-notice"),
    ("kontakt", "impressum"),
    ("contact", "legal-notice"),
    ("nutzungsbedingungen", "nutzung"),
    ("datenschutzerklärung", "datenschutz"),
];

/// Larger texts are a mistake.
const TEXT_BYTES: usize = 512 * 1024;

/// All texts as whole pages.
pub struct Pages {
    html: HashMap<&'static str, String>,
    /// What the operator should still fill in, one sentence a page.
    pub gaps: Vec<String>,
}

impl Pages {
    /// `folder`: the operator's own, with `de/impressum.md` and so on.
    pub fn load(folder: Option<&Path>, fields: &Fields, shell: &Shell) -> Result<Self> {
        let mut html = HashMap::new();
        let mut gaps = Vec::new();
        let mut known = BTreeSet::new();
        for pair in &TEXTS {
            for text in pair {
                let file = Path::new(text.language.tag()).join(text.slug).with_extension("md");
                known.insert(file.clone());
                let own = folder.map(|folder| folder.join(&file)).filter(|path| path.exists());
                let source = match &own {
                    Some(path) => read(path)?,
                    None => text.ours.to_owned(),
                };
                let name =
                    || own.as_ref().map_or_else(|| file.display().to_string(), |path| path.display().to_string());
                let rendered = render(&source, fields, text.language)
                    .with_context(|| format!("the page {} cannot be used", name()))?;
                ensure!(!rendered.title.is_empty(), "the page {} has no heading; begin it with \"# Title\"", name());
                if !rendered.missing.is_empty() {
                    let missing: Vec<_> = rendered.missing.iter().map(|key| setting(key)).collect();
                    gaps.push(format!("/{} lacks {}", text.slug, missing.join(", ")));
                }
                let other =
                    pair.iter().find(|other| other.language != text.language).map(|other| (other.language, other.slug));
                html.insert(text.slug, shell.text_page(text.language, &rendered, &foot(text.language), other));
            }
        }
        if let Some(folder) = folder {
            check_names(folder, &known)?;
        }
        Ok(Self { html, gaps })
    }

    /// The page of this name.
    pub fn get(&self, slug: &str) -> Option<&str> {
        self.html.get(slug).map(String::as_str)
    }

    /// What this name is another name of.
    pub fn alias(&self, name: &str) -> Option<&'static str> {
        ALIASES.iter().find(|(alias, _)| *alias == name).map(|(_, slug)| *slug)
    }
}

/// The links at the foot of pages in a language: addresses and texts.
pub fn foot(language: Language) -> Vec<(&'static str, &'static str)> {
    TEXTS.iter().flatten().filter(|text| text.language == language).map(|text| (text.slug, text.label)).collect()
}

fn read(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the page {}; make it a readable text file in UTF-8", path.display()))?;
    ensure!(text.len() <= TEXT_BYTES, "the page {} is larger than 512 KiB; shorten it", path.display());
    Ok(text)
}

/// A file that nobody would ever see is a mistyped name.
fn check_names(folder: &Path, known: &BTreeSet<std::path::PathBuf>) -> Result<()> {
    ensure!(folder.is_dir(), "pages.directory names {}, which is no folder; make it or name another", folder.display());
    for language in Language::ALL {
        let Ok(entries) = std::fs::read_dir(folder.join(language.tag())) else { continue };
        for entry in entries.flatten() {
            let file = Path::new(language.tag()).join(entry.file_name());
            if file.extension().is_some_and(|end| end == "md") && !known.contains(&file) {
                let names: Vec<_> = known.iter().map(|file| file.display().to_string()).collect();
                anyhow::bail!(
                    "{} has {}, which is no page; the pages are {}",
                    folder.display(),
                    file.display(),
                    names.join(", ")
                );
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rooms::names::RoomKey;
    use crate::site::branding::Branding;

    fn shell() -> Shell {
        Shell::new(
            "<!doctype html><html lang=\"en\"><head><title>Plausch</title></head><body></body></html>",
            &Branding::default(),
        )
        .unwrap()
    }

    #[test]
    fn no_room_has_the_name_of_a_page() {
        let slugs = TEXTS.iter().flatten().map(|text| text.slug);
        for name in slugs.chain(ALIASES.iter().map(|(alias, _)| *alias)) {
            assert_eq!(RoomKey::normalise(name), None, "{name}");
        }
    }

    #[test]
    fn ours_need_every_field_that_there_is() {
        let pages = Pages::load(None, &Fields::default(), &shell()).unwrap();
        assert!(pages.gaps.iter().any(|gap| gap.starts_with("/impressum lacks operator.address")), "{:?}", pages.gaps);
        for (key, ..) in super::super::fields::FIELDS {
            for language in Language::ALL {
                let used = TEXTS.iter().flatten().filter(|text| text.language == language);
                let mut used = used.filter(|text| {
                    text.ours.contains(&format!("{{{{{key}}}}}")) || text.ours.contains(&format!("{{{{{key}?}}}}"))
                });
                assert!(used.next().is_some(), "{key} stands in no page of {language:?}");
            }
        }
        assert!(pages.get("impressum").unwrap().contains("<h1>Impressum</h1>"));
        assert!(pages.get("impressum").unwrap().contains("href=\"/legal-notice\""), "the other language");
        assert!(pages.get("impressum").unwrap().contains("href=\"/barrierefreiheit\""), "from every page");
    }

    #[test]
    fn the_operators_own_texts_go_first() {
        let folder = std::env::temp_dir().join(format!("plausch-pages-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("de")).unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
        write("de/impressum.md", "# Wir\n\nHallo");
        let load = || Pages::load(Some(&folder), &Fields::default(), &shell());
        let error = || format!("{:#}", load().err().unwrap());
        assert!(load().unwrap().get("impressum").unwrap().contains("<h1>Wir</h1>"));
        assert!(load().unwrap().get("legal-notice").unwrap().contains("<h1>Legal notice</h1>"));
        write("de/impresum.md", "# x");
        assert!(error().contains("has de/impresum.md, which is no page"), "{}", error());
        std::fs::remove_file(folder.join("de/impresum.md")).unwrap();
        write("de/impressum.md", "ohne");
        assert!(error().contains("has no heading"), "{}", error());
        write("de/impressum.md", "# x\n\n{{operator.x}}");
        assert!(error().contains("there is no field {{operator.x}}"), "{}", error());
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(error().contains("is no folder"), "{}", error());
    }
}
