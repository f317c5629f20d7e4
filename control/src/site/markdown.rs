//! The operator's texts from Markdown to HTML: fields are filled in, raw HTML is shown as text, links go to pages, mail
//! and telephones only, and pictures come from this server.

use super::fields::{FIELDS, Fields, Kind, setting};
use super::language::Language;
use anyhow::{Result, bail};
use pulldown_cmark::{CowStr, Event, LinkType, Options, Parser, Tag, TagEnd, TextMergeStream, html};
use std::collections::BTreeSet;

/// A text as HTML.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rendered {
    pub html: String,
    /// The text of its first heading.
    pub title: String,
    /// The fields that it needs and the operator has not filled in.
    pub missing: BTreeSet<&'static str>,
}

/// Fields stand in a text as `{{operator.name}}`. A line with `{{operator.vat_id?}}` is left out if that is missing; any
/// other missing field leaves a mark. Each line of the text is a line of the page.
pub fn render(text: &str, fields: &Fields, language: Language) -> Result<Rendered> {
    let text = without_empty_lines(text, fields, language)?;
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    let mut events = Vec::new();
    let mut title = String::new();
    let mut missing = BTreeSet::new();
    let mut in_title = false;
    // How many tags of links and pictures are left out and still open.
    let mut dropped = Vec::new();
    for event in TextMergeStream::new(Parser::new_ext(&text, options)) {
        match event {
            Event::Start(Tag::Heading { .. }) if title.is_empty() => {
                in_title = true;
                events.push(event);
            }
            Event::End(TagEnd::Heading(_)) => {
                in_title = false;
                events.push(event);
            }
            Event::Text(text) => {
                let start = events.len();
                fill(&text, fields, language, &mut missing, &mut events);
                if in_title {
                    title.extend(events[start..].iter().filter_map(|event| match event {
                        Event::Text(text) => Some(text.as_ref()),
                        _ => None,
                    }));
                }
            }
            // What is no Markdown is text.
            Event::Html(raw) | Event::InlineHtml(raw) => events.push(Event::Text(raw)),
            Event::SoftBreak => events.push(Event::HardBreak),
            Event::Start(Tag::Link { ref dest_url, .. }) => {
                let kept = is_safe(dest_url);
                dropped.push(!kept);
                if kept {
                    events.push(event);
                }
            }
            Event::Start(Tag::Image { ref dest_url, .. }) => {
                let kept = dest_url.starts_with('/') && !dest_url.starts_with("//");
                dropped.push(!kept);
                if kept {
                    events.push(event);
                }
            }
            Event::End(TagEnd::Link | TagEnd::Image) => {
                if dropped.pop() != Some(true) {
                    events.push(event);
                }
            }
            event => events.push(event),
        }
    }
    let mut out = String::new();
    html::push_html(&mut out, events.into_iter());
    Ok(Rendered { html: out, title, missing })
}

/// Replaces the fields in a piece of text.
fn fill<'a>(
    text: &str,
    fields: &Fields,
    language: Language,
    missing: &mut BTreeSet<&'static str>,
    events: &mut Vec<Event<'a>>,
) {
    let mut rest = text;
    while let Some((before, key, after)) = next_field(rest) {
        events.push(Event::Text(before.to_owned().into()));
        rest = after;
        let Some((key, kind, what)) = FIELDS.iter().find(|(known, ..)| *known == key.trim_end_matches('?')) else {
            continue;
        };
        match fields.get(key, language) {
            Some(value) => show(value, *kind, language, events),
            None => {
                missing.insert(key);
                let mark = match language {
                    Language::German => format!("[fehlt: {}]", setting(key)),
                    Language::English => format!("[missing: {} – {what}]", setting(key)),
                };
                events.push(Event::InlineHtml("<mark>".into()));
                events.push(Event::Text(mark.into()));
                events.push(Event::InlineHtml("</mark>".into()));
            }
        }
    }
    events.push(Event::Text(rest.to_owned().into()));
}

fn show<'a>(value: &str, kind: Kind, language: Language, events: &mut Vec<Event<'a>>) {
    let link = match kind {
        Kind::Text => {
            for (n, line) in value.lines().enumerate() {
                if n > 0 {
                    events.push(Event::HardBreak);
                }
                events.push(Event::Text(line.to_owned().into()));
            }
            return;
        }
        Kind::Status => {
            events.push(Event::Text(status(value, language).into()));
            return;
        }
        Kind::Email => format!("mailto:{value}"),
        Kind::Phone => {
            let digits: String = value.chars().filter(|c| c.is_ascii_digit() || *c == '+').collect();
            format!("tel:{digits}")
        }
        Kind::Url => value.to_owned(),
    };
    let empty = || CowStr::from("");
    events.push(Event::Start(Tag::Link {
        link_type: LinkType::Inline,
        dest_url: link.into(),
        title: empty(),
        id: empty(),
    }));
    events.push(Event::Text(value.to_owned().into()));
    events.push(Event::End(TagEnd::Link));
}

/// As the model statement of (EU) 2018/1523 has it.
fn status(value: &str, language: Language) -> &'static str {
    match (value, language) {
        ("full", Language::German) => "Dieser Dienst ist mit den Anforderungen vollständig vereinbar.",
        ("partial", Language::German) => {
            "Dieser Dienst ist wegen der unten genannten Inhalte mit den Anforderungen teilweise vereinbar."
        }
        (_, Language::German) => "Dieser Dienst ist mit den Anforderungen nicht vereinbar.",
        ("full", Language::English) => "This service is fully compliant with the requirements.",
        ("partial", Language::English) => {
            "This service is partially compliant with the requirements, because of the content listed below."
        }
        (_, Language::English) => "This service is not compliant with the requirements.",
    }
}

/// The text before the next `{{key}}`, the key, and the text after it.
fn next_field(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once("{{")?;
    let (key, after) = rest.split_once("}}")?;
    Some((before, key.trim(), after))
}

/// Leaves out the lines whose optional fields are missing. An error names a field that does not exist.
fn without_empty_lines(text: &str, fields: &Fields, language: Language) -> Result<String> {
    let mut kept = String::with_capacity(text.len());
    for (n, line) in text.lines().enumerate() {
        let mut keep = true;
        let mut rest = line;
        while let Some((_, key, after)) = next_field(rest) {
            rest = after;
            let bare = key.trim_end_matches('?');
            if !FIELDS.iter().any(|(known, ..)| *known == bare) {
                let known: Vec<_> = FIELDS.iter().map(|(known, ..)| *known).collect();
                bail!("line {}: there is no field {{{{{bare}}}}}; the fields are {}", n + 1, known.join(", "));
            }
            keep &= bare == key || fields.get(bare, language).is_some();
        }
        if keep {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    Ok(kept)
}

/// Pages of this server and of others, mail, telephones. Not `javascript:`, and not what looks like one and is another.
fn is_safe(link: &str) -> bool {
    let lower = link.to_ascii_lowercase();
    ["https://", "http://", "mailto:", "tel:"].iter().any(|scheme| lower.starts_with(scheme))
        || link.starts_with('#')
        || (link.starts_with('/') && !link.starts_with("//") && !link.starts_with("/\\"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields(toml: &str) -> Fields {
        Fields::check(toml::from_str(toml).unwrap()).unwrap()
    }

    fn html(text: &str) -> String {
        render(text, &Fields::default(), Language::German).unwrap().html
    }

    #[test]
    fn fields_are_text_whatever_is_in_them() {
        let fields = fields(
            "name = \"<b>*Stadt*</b>\"\naddress = \"Weg 1\\n12345 Ort\"\nemail = \"a_b@c.de\"\nphone = \"+49 (30) 1\"",
        );
        let text = "# {{operator.name}}\n\n{{operator.address}}\n{{operator.email}} {{operator.phone}}\n";
        let page = render(text, &fields, Language::German).unwrap();
        assert_eq!(page.title, "<b>*Stadt*</b>");
        assert!(page.html.contains("<h1>&lt;b&gt;*Stadt*&lt;/b&gt;</h1>"), "{}", page.html);
        assert!(page.html.contains("Weg 1<br />\n12345 Ort"), "{}", page.html);
        assert!(page.html.contains("<a href=\"mailto:a_b@c.de\">a_b@c.de</a>"), "{}", page.html);
        assert!(page.html.contains("<a href=\"tel:+49301\">+49 (30) 1</a>"), "{}", page.html);
        assert!(page.missing.is_empty());
    }

    #[test]
    fn what_is_missing_is_said_and_what_may_be_missing_is_left_out() {
        let page =
            render("Von {{operator.name}}\nID: {{operator.vat_id?}}\n", &Fields::default(), Language::German).unwrap();
        assert_eq!(page.missing, BTreeSet::from(["operator.name"]));
        assert!(page.html.contains("<mark>[fehlt: operator.name]</mark>"), "{}", page.html);
        assert!(!page.html.contains("ID:"));
        let page = render("ID: {{operator.vat_id?}}", &fields("vat_id = \"DE1\""), Language::German).unwrap();
        assert_eq!(page.html, "<p>ID: DE1</p>\n");
        let error = render("a\n{{operator.nmae}}", &Fields::default(), Language::German).unwrap_err();
        assert!(error.to_string().contains("line 2: there is no field {{operator.nmae}}"), "{error}");
    }

    #[test]
    fn nothing_active_gets_through() {
        for (text, must_not) in [
            ("<script>alert(1)</script>", "<script"),
            ("a <img src=x onerror=alert(1)> b", "<img"),
            ("<a href=\"javascript:alert(1)\">x</a>", "<a "),
            ("[x](javascript:alert(1))", "href"),
            ("[x](JaVaScRiPt:alert(1))", "href"),
            ("[x](data:text/html,x)", "href"),
            ("[x](//evil.example/)", "href"),
            ("[x](vbscript:x)", "href"),
            ("![x](https://evil.example/p.png)", "<img"),
            ("![x](//evil.example/p.png)", "<img"),
            ("<javascript:alert(1)>", "href"),
        ] {
            assert!(!html(text).contains(must_not), "{text}: {}", html(text));
        }
        assert!(html("[x](/datenschutz)").contains("href=\"/datenschutz\""));
        assert!(html("<https://example.de/a?b=c&d>").contains("href=\"https://example.de/a?b=c&amp;d\""));
        assert!(html("![Logo](/branding/logo)").contains("<img src=\"/branding/logo\" alt=\"Logo\""));
        assert_eq!(html("[**x**](javascript:a) y"), "<p><strong>x</strong> y</p>\n");
    }

    proptest! {
        #[test]
        fn tags_are_ours_only(text in "(\\PC|[<>\\[\\]()!`*{}\n\"' ]|javascript:|<script|onload=){0,60}") {
            if let Ok(page) = render(&text, &Fields::default(), Language::English) {
                let html = page.html.to_lowercase();
                prop_assert!(!html.contains("<script") && !html.contains("href=\"javascript:"), "{html}");
            }
        }
    }
}
