//! Name, logo, colours and texts of the operator.

use super::colour::{BLACK, Colour, WHITE};
use super::language::Language;
use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// WCAG 2.2, 1.4.3: of text to what is behind it.
const TEXT_CONTRAST: f64 = 4.5;
/// A logo is sent to everybody; larger ones are photographs.
const LOGO_BYTES: usize = 256 * 1024;
const ICON_BYTES: usize = 512 * 1024;
/// What a home screen shows.
const ICON_PIXELS: u32 = 192;
const NAME_CHARS: usize = 60;
const TEXT_CHARS: usize = 300;

/// Our own colours, as the client's `base.css` has them.
const PAGE: Colour = Colour([0xe6, 0xef, 0xec]);
const ACCENT: Colour = Colour([0x0b, 0x6b, 0x62]);
const TEXT: Colour = Colour([0x16, 0x21, 0x1f]);
const TEXT_QUIET: Colour = Colour([0x4a, 0x5a, 0x56]);
pub(super) const DARK_PAGE: Colour = Colour([0x12, 0x18, 0x1b]);
const DARK_SURFACE: Colour = Colour([0x1e, 0x27, 0x2b]);
const DARK_TEXT: Colour = Colour([0x08, 0x23, 0x1f]);

/// `[branding]` as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct File {
    name: String,
    logo: PathBuf,
    icon: PathBuf,
    accent: String,
    background: String,
    texts: BTreeMap<String, Texts>,
}

/// Texts of the start page that replace ours, in one language.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all(serialize = "camelCase"))]
pub struct Texts {
    /// Below the name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tagline: String,
    /// Below the field.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub room_hint: String,
    /// At the foot.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub promise: String,
}

/// A picture and its media type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Picture {
    pub bytes: Bytes,
    pub media_type: &'static str,
}

/// Checked branding.
#[derive(Clone, PartialEq, Debug)]
pub struct Branding {
    pub name: String,
    pub logo: Option<Picture>,
    /// For home screens and link previews: square, PNG.
    pub icon: Option<Picture>,
    pub texts: BTreeMap<String, Texts>,
    accent: Colour,
    page: Colour,
}

impl Default for Branding {
    fn default() -> Self {
        Self { name: "Plausch".to_owned(), logo: None, icon: None, texts: BTreeMap::new(), accent: ACCENT, page: PAGE }
    }
}

impl Branding {
    /// Reads the files and checks everything.
    pub fn check(file: File) -> Result<Self> {
        let ours = Self::default();
        let name = match file.name.trim() {
            "" => ours.name,
            name => name.to_owned(),
        };
        let short = |what: &str, text: &str, chars: usize| {
            let one_line = !text.chars().any(char::is_control);
            ensure!(
                one_line && text.chars().count() <= chars,
                "branding.{what} must be one line of at most {chars} characters"
            );
            Ok(())
        };
        short("name", &name, NAME_CHARS)?;
        for (language, texts) in &file.texts {
            ensure!(
                Language::ALL.iter().any(|known| known.tag() == language),
                "branding.texts.{language} is for a language that the pages do not have; use de or en"
            );
            for (key, text) in
                [("tagline", &texts.tagline), ("room_hint", &texts.room_hint), ("promise", &texts.promise)]
            {
                short(&format!("texts.{language}.{key}"), text, TEXT_CHARS)?;
            }
        }
        let logo = picture("logo", &file.logo, LOGO_BYTES)?;
        let icon = picture("icon", &file.icon, ICON_BYTES)?;
        if let Some(icon) = &icon {
            let size = png_size(&icon.bytes);
            ensure!(
                size.is_some_and(|(width, height)| width == height && width >= ICON_PIXELS),
                "branding.icon must be a square PNG of at least {ICON_PIXELS} × {ICON_PIXELS} pixels; give another file"
            );
        }
        let page = colour("background", &file.background, PAGE)?;
        // Ours is darkened on a darker page; the operator's own is theirs to choose.
        let ours = ACCENT.until(BLACK, TEXT_CONTRAST, &[page, WHITE]);
        let accent = colour("accent", &file.accent, ours)?;
        let branding = Self { name, logo, icon, texts: file.texts, accent, page };
        branding.check_contrast()?;
        Ok(branding)
    }

    fn check_contrast(&self) -> Result<()> {
        let quiet = TEXT_QUIET.contrast(self.page);
        if quiet < TEXT_CONTRAST {
            bail!(
                "branding.background {} has a contrast of {quiet:.1} to the text on it, which needs {TEXT_CONTRAST} \
                 (WCAG 1.4.3); use a lighter one, for example {}",
                self.page,
                self.page.until_readable()
            );
        }
        let accent = self.accent.contrast(self.page).min(self.accent.contrast(WHITE));
        if accent < TEXT_CONTRAST {
            bail!(
                "branding.accent {} has a contrast of {accent:.1} to the background {}, and links and buttons need \
                 {TEXT_CONTRAST} (WCAG 1.4.3); use a darker one, for example {}",
                self.accent,
                self.page,
                self.accent.until(BLACK, TEXT_CONTRAST, &[self.page, WHITE])
            );
        }
        Ok(())
    }

    /// Colours of the browser's own bars in the light and in the dark.
    pub fn theme_colours(&self) -> (Colour, Colour) {
        (self.page, DARK_PAGE)
    }

    /// The style sheet that replaces our colours; empty where they are ours.
    pub fn css(&self) -> String {
        let mut css = String::new();
        if self.page != PAGE {
            // The dark page stays: it is said below, for these rules go before those of the client.
            let _ = write!(css, ":root:root{{--page:{}}}", self.page);
            let _ = write!(css, "@media(prefers-color-scheme:dark){{:root:root{{--page:{DARK_PAGE}}}}}");
            let _ = write!(css, ":root:root[data-theme=dark]{{--page:{DARK_PAGE}}}");
        }
        if self.accent != ACCENT {
            let light = palette(self.accent, BLACK, WHITE, &[self.page, WHITE]);
            let lifted = self.accent.until(WHITE, TEXT_CONTRAST, &[DARK_PAGE, DARK_SURFACE]);
            let dark = palette(lifted, WHITE, DARK_SURFACE, &[DARK_PAGE, DARK_SURFACE]);
            let _ = write!(css, ":root:root{{{light}}}");
            let _ = write!(css, "@media(prefers-color-scheme:dark){{:root:root{{{dark}}}}}");
            let _ = write!(css, ":root:root[data-theme=dark]{{{dark}}}");
        }
        css
    }

    /// The manifest by which phones put the page on their home screen (W3C Web Application Manifest).
    pub fn manifest(&self, language: Language) -> String {
        let (page, _) = self.theme_colours();
        let sizes: &[&str] = if self.icon.is_some() { &["192x192"] } else { &["192x192", "512x512"] };
        let icons: Vec<_> = sizes
            .iter()
            .map(|sizes| {
                let size = sizes.split('x').next().unwrap_or_default();
                serde_json::json!({ "src": format!("/branding/icon-{size}.png"), "sizes": sizes, "type": "image/png" })
            })
            .collect();
        serde_json::json!({
            "name": self.name,
            "short_name": self.name.chars().take(12).collect::<String>().trim_end(),
            "lang": language.tag(),
            "id": "/",
            "start_url": "/",
            "scope": "/",
            "display": "standalone",
            "background_color": page.to_string(),
            "theme_color": page.to_string(),
            "icons": icons,
        })
        .to_string()
    }

    /// For the client: what it shows of the operator.
    pub fn for_client(&self) -> String {
        let mut brand = serde_json::json!({ "name": self.name, "texts": self.texts });
        if self.logo.is_some() {
            brand["logo"] = "/branding/logo".into();
        }
        brand.to_string()
    }
}

impl Colour {
    /// The nearest lighter colour on which our quiet text can be read.
    fn until_readable(self) -> Self {
        let steps = (0..=100).map(|step| self.mixed(WHITE, f64::from(step) / 100.0));
        let mut steps = steps.filter(|page| TEXT_QUIET.contrast(*page).min(TEXT.contrast(*page)) >= TEXT_CONTRAST);
        steps.next().unwrap_or(WHITE)
    }
}

/// All colours that belong to an accent. `stronger`: where more contrast is to be found.
fn palette(accent: Colour, stronger: Colour, surface: Colour, grounds: &[Colour]) -> String {
    let soft = surface.mixed(accent, 0.18);
    let strong = accent.mixed(stronger, 0.25).until(stronger, TEXT_CONTRAST, &[&[soft], grounds].concat());
    let on = if accent.contrast(WHITE) >= accent.contrast(DARK_TEXT) { WHITE } else { DARK_TEXT };
    format!("--accent:{accent};--accent-strong:{strong};--accent-soft:{soft};--on-accent:{on}")
}

fn colour(key: &str, text: &str, ours: Colour) -> Result<Colour> {
    match text {
        "" => Ok(ours),
        text => Colour::parse(text)
            .with_context(|| format!("branding.{key} is \"{text}\", which is no colour; write it as \"#0b6b62\"")),
    }
}

fn picture(key: &str, path: &Path, limit: usize) -> Result<Option<Picture>> {
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let bytes = std::fs::read(path)
        .with_context(|| format!("branding.{key}: cannot read {}; name a file that is there", path.display()))?;
    ensure!(
        bytes.len() <= limit,
        "branding.{key}: {} has {} KiB; make it smaller than {} KiB",
        path.display(),
        bytes.len() / 1024,
        limit / 1024
    );
    let media_type = if png_size(&bytes).is_some() {
        "image/png"
    } else if std::str::from_utf8(&bytes).is_ok_and(|text| text.contains("<svg")) {
        "image/svg+xml"
    } else {
        bail!("branding.{key}: {} is neither PNG nor SVG; convert it", path.display())
    };
    Ok(Some(Picture { bytes: bytes.into(), media_type }))
}

/// Width and height in pixels of a PNG (its first chunk, section 11.2.1 of the specification).
fn png_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let rest = bytes.strip_prefix(b"\x89PNG\r\n\x1a\n")?.get(4..)?.strip_prefix(b"IHDR")?;
    let number = |at: usize| Some(u32::from_be_bytes(rest.get(at..at + 4)?.try_into().ok()?));
    Some((number(0)?, number(4)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn branding(toml: &str) -> Result<Branding> {
        Branding::check(toml::from_str(toml).unwrap())
    }

    fn error(toml: &str) -> String {
        format!("{:#}", branding(toml).unwrap_err())
    }

    #[test]
    fn nothing_said_is_ours() {
        assert_eq!(branding("").unwrap(), Branding::default());
        assert_eq!(Branding::default().css(), "");
        Branding::default().check_contrast().unwrap();
    }

    #[test]
    fn every_value_is_checked_with_a_sentence() {
        for (toml, sentence) in [
            ("accent = \"red\"", "which is no colour; write it as \"#0b6b62\""),
            ("accent = \"#ffcc00\"", "branding.accent #ffcc00 has a contrast of 1.3"),
            ("background = \"#808080\"", "use a lighter one, for example #"),
            ("name = \"a\\nb\"", "branding.name must be one line"),
            ("logo = \"/nowhere.svg\"", "cannot read /nowhere.svg"),
            ("[texts.fr]\ntagline = \"Bonjour\"", "branding.texts.fr is for a language"),
        ] {
            assert!(error(toml).contains(sentence), "{toml}: {}", error(toml));
        }
        assert!(toml::from_str::<File>("colour = \"#000000\"").is_err());
    }

    #[test]
    fn what_is_proposed_is_taken() {
        for text in
            ["accent = \"#ffcc00\"", "background = \"#808080\"", "accent = \"#ff0000\"\nbackground = \"#ffffff\""]
        {
            let proposed = error(text).rsplit(' ').next().unwrap().to_owned();
            let (key, rest) = text.split_once(" = ").unwrap();
            let rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
            branding(&format!("{key} = \"{proposed}\"\n{rest}")).unwrap();
        }
    }

    #[test]
    fn all_colours_of_an_accent_can_be_read() {
        for accent in ["#003f7d", "#c8102e", "#5a0f6b", "#006341", "#000000", "#6b4c00"] {
            let css = branding(&format!("accent = \"{accent}\"")).unwrap().css();
            let rules: Vec<_> = css.split("--accent:").skip(1).collect();
            assert_eq!(rules.len(), 3, "light, dark by the system, dark in the room");
            for (rule, grounds) in
                rules.iter().zip([[PAGE, WHITE], [DARK_PAGE, DARK_SURFACE], [DARK_PAGE, DARK_SURFACE]])
            {
                let colours: Vec<_> =
                    rule.split('#').skip(1).map(|hex| Colour::parse(&format!("#{}", &hex[..6])).unwrap()).collect();
                let all: Vec<_> =
                    std::iter::once(Colour::parse(&rule[..7]).unwrap()).chain(colours.into_iter().skip(1)).collect();
                let [accent, strong, soft, on] = all[..] else { panic!("{rule}") };
                for ground in grounds {
                    assert!(accent.contrast(ground) >= TEXT_CONTRAST, "{accent} on {ground}");
                }
                assert!(strong.contrast(soft) >= TEXT_CONTRAST, "{strong} on {soft}");
                assert!(on.contrast(accent) >= TEXT_CONTRAST, "{on} on {accent}");
            }
        }
    }

    #[test]
    fn pictures_are_known_by_their_content() {
        let folder = std::env::temp_dir().join(format!("plausch-branding-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.join(name);
            std::fs::write(&path, bytes).unwrap();
            path.display().to_string()
        };
        let png = |width: u32, height: u32| {
            [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".as_slice(), &width.to_be_bytes(), &height.to_be_bytes()].concat()
        };
        let svg = write("a.png", b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>");
        assert_eq!(branding(&format!("logo = \"{svg}\"")).unwrap().logo.unwrap().media_type, "image/svg+xml");
        let square = write("b", &png(512, 512));
        assert_eq!(branding(&format!("icon = \"{square}\"")).unwrap().icon.unwrap().media_type, "image/png");
        for (bytes, sentence) in [
            (png(512, 256), "must be a square PNG"),
            (png(64, 64), "must be a square PNG"),
            (b"<svg/>".to_vec(), "must be a square PNG"),
            (b"GIF89a".to_vec(), "neither PNG nor SVG"),
            (vec![0; ICON_BYTES + 1], "make it smaller than 512 KiB"),
        ] {
            let path = write("c", &bytes);
            assert!(error(&format!("icon = \"{path}\"")).contains(sentence), "{sentence}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_manifest_is_json_whatever_the_name() {
        let branding = branding("name = \"Stadt \\\"Muster\\\" <b>\"").unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&branding.manifest(Language::German)).unwrap();
        assert_eq!(manifest["name"], "Stadt \"Muster\" <b>");
        assert_eq!(manifest["icons"].as_array().unwrap().len(), 2);
    }
}
