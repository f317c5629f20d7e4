//! The HTML around the client and around texts. Both have the head of the client's page as it was built: its style sheet
//! has a name that only the build knows.

use super::branding::Branding;
use super::language::Language;
use super::markdown::Rendered;
use crate::rooms::names::{RoomNameError, encode};
use anyhow::{Context, Result};
use std::fmt::Write;

/// The client's page, and what is put around it.
pub struct Shell {
    /// The parts of the built page: up to `lang`'s value, from there to the title, from there to `</head>`, and the rest.
    before_language: String,
    before_title: String,
    before_head_end: String,
    rest: String,
    /// The links to the style sheets and icons of the built page.
    styles: String,
    name: String,
    logo: bool,
    head: String,
    tagline: [Option<String>; 2],
}

const TAGLINES: [(Language, &str); 2] = [
    (Language::German, "Treffen Sie sich per Video. Ohne Konto, ohne Installation."),
    (Language::English, "Meet by video. No account, nothing to install."),
];

impl Shell {
    pub fn new(index: &str, branding: &Branding) -> Result<Self> {
        let built = "the web client's page is not as it was built";
        let (before_language, rest) = index.split_once("<html lang=\"").context(built)?;
        let (_, rest) = rest.split_once('"').context(built)?;
        let (before_title, rest) = rest.split_once("<title>").context(built)?;
        let (_, rest) = rest.split_once("</title>").context(built)?;
        let (before_head_end, rest) = rest.split_once("</head>").context(built)?;
        let styles = before_head_end.lines().filter(|line| line.contains("<link "));
        let styles = styles.fold(String::new(), |all, line| all + line.trim() + "\n");
        let (light, dark) = branding.theme_colours();
        let mut head = String::new();
        let _ = write!(
            head,
            "<meta name=\"theme-color\" media=\"(prefers-color-scheme: light)\" content=\"{light}\">\n\
             <meta name=\"theme-color\" media=\"(prefers-color-scheme: dark)\" content=\"{dark}\">\n\
             <link rel=\"apple-touch-icon\" href=\"/branding/icon-180.png\">\n"
        );
        if branding.icon.is_some() {
            head.push_str("<link rel=\"icon\" type=\"image/png\" href=\"/branding/icon-192.png\">\n");
        }
        if !branding.css().is_empty() {
            head.push_str("<link rel=\"stylesheet\" href=\"/branding/colours.css\">\n");
        }
        let _ = writeln!(head, "<meta name=\"plausch-brand\" content=\"{}\">", escape(&branding.for_client()));
        Ok(Self {
            before_language: format!("{before_language}<html lang=\""),
            before_title: format!("\"{before_title}<title>"),
            before_head_end: before_head_end.to_owned(),
            rest: rest.to_owned(),
            styles,
            name: branding.name.clone(),
            logo: branding.logo.is_some(),
            head,
            tagline: TAGLINES.map(|(language, _)| {
                let texts = branding.texts.get(language.tag());
                texts.map(|texts| texts.tagline.clone()).filter(|tagline| !tagline.is_empty())
            }),
        })
    }

    fn tagline(&self, language: Language) -> &str {
        let found = TAGLINES.iter().zip(&self.tagline).find(|((of, _), _)| *of == language);
        found.map_or("", |((_, ours), own)| own.as_deref().unwrap_or(ours))
    }

    /// The client's page. `room`: the name in the link, for previews of it in messengers; `origin`: by which the browser
    /// came, if that is known.
    pub fn client_page(&self, language: Language, room: Option<&str>, origin: Option<&str>) -> String {
        let title = match room {
            Some(room) => format!("{room} – {}", self.name),
            None => self.name.clone(),
        };
        let mut preview = String::new();
        let description = match (room, language) {
            (None, _) => self.tagline(language).to_owned(),
            (Some(_), Language::German) => "Einladung zur Videokonferenz. Ohne Anmeldung und ohne App.".to_owned(),
            (Some(_), Language::English) => {
                "Invitation to a video conference. No account and no app needed.".to_owned()
            }
        };
        for (property, content) in [
            ("og:type", "website"),
            ("og:site_name", &self.name),
            ("og:title", &title),
            ("og:description", &description),
        ] {
            let _ = writeln!(preview, "<meta property=\"{property}\" content=\"{}\">", escape(content));
        }
        let _ = writeln!(preview, "<meta name=\"description\" content=\"{}\">", escape(&description));
        if let Some(origin) = origin {
            let path = room.map_or_else(String::new, encode);
            let _ = writeln!(preview, "<meta property=\"og:url\" content=\"{}\">", escape(&format!("{origin}/{path}")));
            let image = format!("{origin}/branding/icon-512.png");
            let _ = writeln!(preview, "<meta property=\"og:image\" content=\"{}\">", escape(&image));
        }
        if room.is_some() {
            // Who knows the name of a room may enter: no search engine shall tell it.
            preview.push_str("<meta name=\"robots\" content=\"noindex, nofollow\">\n");
        }
        let manifest = format!("<link rel=\"manifest\" href=\"/branding/{}.webmanifest\">\n", language.tag());
        [
            &self.before_language,
            language.tag(),
            &self.before_title,
            &escape(&title),
            "</title>",
            &self.before_head_end,
            &self.head,
            &manifest,
            &preview,
            "</head>",
            &self.rest,
        ]
        .concat()
    }

    /// A page that is text. `foot`: slugs and texts of its links; `other`: the same text in the other language.
    pub fn text_page(
        &self,
        language: Language,
        text: &Rendered,
        foot: &[(&str, &str)],
        other: Option<(Language, &str)>,
    ) -> String {
        let mut links = String::new();
        for (slug, label) in foot {
            let _ = write!(links, "<li><a href=\"/{slug}\">{}</a></li>", escape(label));
        }
        if let Some((language, slug)) = other {
            let tag = language.tag();
            let _ =
                write!(links, "<li><a href=\"/{slug}\" lang=\"{tag}\" hreflang=\"{tag}\">{}</a></li>", language.name());
        }
        let about = match language {
            Language::German => "Über diesen Dienst",
            Language::English => "About this service",
        };
        let logo = if self.logo { "<img class=\"logo\" src=\"/branding/logo\" alt=\"\">" } else { "" };
        format!(
            "<!doctype html>\n<html lang=\"{tag}\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1, viewport-fit=cover\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n\
             <title>{title} – {name}</title>\n{styles}{head}</head>\n<body>\n<div class=\"page text\">\n\
             <header class=\"page-head\"><a class=\"home\" href=\"/\">{logo}{name}</a></header>\n\
             <main class=\"text-main\">\n{body}</main>\n\
             <footer class=\"page-foot\"><nav aria-label=\"{about}\"><ul class=\"foot-links\">{links}</ul></nav></footer>\n\
             </div>\n</body>\n</html>\n",
            tag = language.tag(),
            title = escape(&text.title),
            name = escape(&self.name),
            styles = self.styles,
            head = self.head,
            body = text.html,
        )
    }

    /// For a path that can be no room and is no file.
    pub fn refusal_page(&self, language: Language, error: RoomNameError) -> String {
        let (title, sentence, back) = match language {
            Language::German => ("Diese Seite gibt es nicht", refusal_german(error), "Zur Startseite"),
            Language::English => ("There is no such page", refusal_english(error), "Go to the start page"),
        };
        let html =
            format!("<h1>{title}</h1>\n<p>{sentence}</p>\n<p><a class=\"button primary\" href=\"/\">{back}</a></p>\n");
        let rendered = Rendered { html, title: title.to_owned(), missing: Default::default() };
        self.text_page(language, &rendered, &super::pages::foot(language), None)
    }
}

fn refusal_german(error: RoomNameError) -> &'static str {
    match error {
        RoomNameError::Empty | RoomNameError::Characters => {
            "So kann kein Raum heißen: Sein Name hat keinen Schrägstrich und nur sichtbare Zeichen. Vielleicht ist der Link \
             nicht vollständig oder enthält etwas zu viel. Öffnen Sie die Startseite und geben Sie dort den Raumnamen ein."
        }
        RoomNameError::TooLong => {
            "Dieser Raumname ist zu lang. Öffnen Sie die Startseite und geben Sie dort den Raumnamen ein."
        }
        RoomNameError::Reserved => {
            "Unter diesem Namen gibt es hier nichts, und ein Raum kann nicht so heißen. Öffnen Sie die Startseite und wählen \
             Sie einen anderen Namen."
        }
    }
}

fn refusal_english(error: RoomNameError) -> &'static str {
    match error {
        RoomNameError::Empty | RoomNameError::Characters => {
            "No room can be called so: its name has no slash, and only characters that can be seen. Perhaps the link is not \
             complete, or there is something too much in it. Open the start page and type the room's name there."
        }
        RoomNameError::TooLong => "This room name is too long. Open the start page and type the room's name there.",
        RoomNameError::Reserved => {
            "There is nothing of this name here, and no room can be called so. Open the start page and choose another name."
        }
    }
}

/// For text and for values of attributes in double quotes.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = "<!doctype html>\n<html lang=\"en\">\n  <head>\n    <title>Plausch</title>\n    \
                         <link rel=\"stylesheet\" href=\"/assets/a.css\">\n  </head>\n  <body><div id=\"app\"></div></body>\n</html>\n";

    #[test]
    fn a_link_has_a_preview_and_nothing_of_it_is_active() {
        let shell = Shell::new(INDEX, &Branding::default()).unwrap();
        let page = shell.client_page(Language::German, Some("\"><script>"), Some("https://a.example"));
        assert!(page.starts_with("<!doctype html>\n<html lang=\"de\">"), "{page}");
        assert!(page.contains("<title>&quot;&gt;&lt;script&gt; – Plausch</title>"), "{page}");
        assert!(page.contains("og:url\" content=\"https://a.example/%22%3E%3Cscript%3E\""), "{page}");
        assert!(page.contains("noindex"), "{page}");
        assert!(!page.contains("<script>"), "{page}");
        let start = shell.client_page(Language::English, None, None);
        assert!(start.contains("<title>Plausch</title>") && !start.contains("noindex") && !start.contains("og:url"));
        assert!(start.contains("href=\"/branding/en.webmanifest\""));
    }

    #[test]
    fn a_page_that_was_not_built_is_said() {
        assert!(Shell::new("<html>", &Branding::default()).is_err());
    }

    #[test]
    fn refusals_are_in_the_residents_language() {
        let shell = Shell::new(INDEX, &Branding::default()).unwrap();
        for error in [RoomNameError::Empty, RoomNameError::TooLong, RoomNameError::Characters, RoomNameError::Reserved]
        {
            let german = shell.refusal_page(Language::German, error);
            assert!(
                german.contains("lang=\"de\"") && german.contains("Startseite") && german.contains("/assets/a.css")
            );
            assert!(shell.refusal_page(Language::English, error).contains("start page"));
        }
    }
}
