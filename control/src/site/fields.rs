//! What the operator's texts say about the operator: one field each, filled from `[operator]` of the configuration.

use super::language::Language;
use anyhow::{Result, bail, ensure};
use std::collections::BTreeMap;
use toml::Value;

/// What a field holds, and so how a page shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Text of one or more lines.
    Text,
    Email,
    Phone,
    Url,
    /// One of the three degrees of (EU) 2018/1523.
    Status,
}

/// All fields: key, kind, and what it is, for who fills it in.
pub const FIELDS: &[(&str, Kind, &str)] = &[
    ("operator.name", Kind::Text, "the operator, for example Stadt Musterstadt"),
    ("operator.legal_form", Kind::Text, "legal form, for example Körperschaft des öffentlichen Rechts"),
    ("operator.address", Kind::Text, "street and town, no post-office box"),
    ("operator.represented_by", Kind::Text, "who represents the operator, for example the mayor"),
    ("operator.email", Kind::Email, "e-mail address for questions"),
    ("operator.phone", Kind::Phone, "telephone number, or another quick way"),
    ("operator.authority", Kind::Text, "supervising authority"),
    ("operator.vat_id", Kind::Text, "VAT identification number"),
    ("operator.economic_id", Kind::Text, "economic identification number"),
    ("operator.register", Kind::Text, "register and number"),
    ("operator.editor", Kind::Text, "who answers for editorial content"),
    ("privacy.officer", Kind::Text, "data protection officer: name or office, and address"),
    ("privacy.officer_email", Kind::Email, "e-mail address of the data protection officer"),
    ("privacy.legal_basis", Kind::Text, "legal basis, for authorities Art. 6 (1)(e) GDPR with the law of the Land"),
    ("privacy.hoster", Kind::Text, "whose data centre the server is in"),
    ("privacy.telephone_provider", Kind::Text, "who provides telephone dial-in"),
    ("privacy.authority", Kind::Text, "supervisory authority for data protection: name and address"),
    ("accessibility.law", Kind::Text, "the law of the Land, for example BayBITV"),
    ("accessibility.status", Kind::Status, "\"full\", \"partial\" or \"none\""),
    ("accessibility.limits", Kind::Text, "which parts are not accessible, and why"),
    ("accessibility.alternatives", Kind::Text, "what people can use instead"),
    ("accessibility.method", Kind::Text, "how and by whom it was assessed"),
    ("accessibility.statement_date", Kind::Text, "date of the statement"),
    ("accessibility.checked_date", Kind::Text, "date of the last check, a year ago at most"),
    ("accessibility.email", Kind::Email, "where barriers are reported"),
    ("accessibility.phone", Kind::Phone, "where barriers are reported by telephone"),
    ("accessibility.enforcement", Kind::Text, "conciliation or enforcement body of the Land: name and address"),
    ("accessibility.enforcement_url", Kind::Url, "its web page"),
];

/// The filled fields.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Fields(BTreeMap<(&'static str, Language), String>);

impl Fields {
    /// Reads `[operator]`: text, or a table of text by language. What is empty counts as missing.
    pub fn check(table: toml::Table) -> Result<Self> {
        let mut fields = BTreeMap::new();
        for (name, value) in table {
            // [operator] itself, and [operator.privacy] and [operator.accessibility] below it.
            match value {
                Value::Table(group) if ["privacy", "accessibility"].contains(&name.as_str()) => {
                    for (name_within, value) in group {
                        fill(&mut fields, &format!("{name}.{name_within}"), &format!("{name}.{name_within}"), value)?;
                    }
                }
                value => fill(&mut fields, &format!("operator.{name}"), &name, value)?,
            }
        }
        Ok(Self(fields))
    }

    /// `None` if the operator has not filled it in.
    pub fn get(&self, key: &str, language: Language) -> Option<&str> {
        let (key, ..) = FIELDS.iter().find(|(known, ..)| *known == key)?;
        self.0.get(&(*key, language)).map(String::as_str)
    }
}

/// What the configuration calls a field.
pub fn setting(key: &str) -> String {
    if key.starts_with("operator.") { key.to_owned() } else { format!("operator.{key}") }
}

fn fill(fields: &mut BTreeMap<(&'static str, Language), String>, key: &str, written: &str, value: Value) -> Result<()> {
    let Some((key, kind, _)) = FIELDS.iter().find(|(known, ..)| *known == key) else {
        let known: Vec<_> = FIELDS.iter().map(|(known, ..)| setting(known)).collect();
        bail!("operator.{written} is no field of the pages; they have {}", known.join(", "));
    };
    for language in Language::ALL {
        let text = match &value {
            Value::String(text) => text,
            Value::Table(by_language) => {
                for tag in by_language.keys() {
                    ensure!(
                        Language::ALL.iter().any(|language| language.tag() == tag),
                        "operator.{written}.{tag} is for a language that the pages do not have; use de or en"
                    );
                }
                match by_language.get(language.tag()) {
                    Some(Value::String(text)) => text,
                    None => continue,
                    Some(_) => bail!("operator.{written}.{} must be a text", language.tag()),
                }
            }
            Value::Datetime(date) => &date.to_string(),
            _ => bail!("operator.{written} must be a text, or a text for each language: {{ de = \"…\", en = \"…\" }}"),
        };
        let text = text.trim();
        if text.is_empty() {
            continue;
        }
        let sound = match kind {
            Kind::Text | Kind::Phone => !text.chars().any(|c| c.is_control() && c != '\n'),
            Kind::Email => text.split_once('@').is_some_and(|(user, host)| {
                !user.is_empty() && host.contains('.') && !text.chars().any(|c| c.is_whitespace() || c.is_control())
            }),
            Kind::Url => text.starts_with("https://") && !text.chars().any(|c| c.is_whitespace() || c.is_control()),
            Kind::Status => ["full", "partial", "none"].contains(&text),
        };
        ensure!(sound, "operator.{written} is \"{text}\", which is {}", expected(*kind));
        fields.insert((*key, language), text.to_owned());
    }
    Ok(())
}

fn expected(kind: Kind) -> &'static str {
    match kind {
        Kind::Text | Kind::Phone => "no plain text; remove its control characters",
        Kind::Email => "no e-mail address; write it as name@example.de",
        Kind::Url => "no address of a page; write it as https://example.de/page",
        Kind::Status => "no degree of compliance; use \"full\", \"partial\" or \"none\"",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(toml: &str) -> Result<Fields> {
        Fields::check(toml::from_str(toml).unwrap())
    }

    #[test]
    fn fields_are_read_for_each_language() {
        let fields = fields(
            "name = \"Stadt Muster\"\nphone = \" \"\n[privacy]\nhoster = { de = \"Rechenzentrum\", en = \"Data centre\" }\n\
             [accessibility]\nstatement_date = 2026-11-30",
        )
        .unwrap();
        assert_eq!(fields.get("operator.name", Language::English), Some("Stadt Muster"));
        assert_eq!(fields.get("operator.phone", Language::German), None);
        assert_eq!(fields.get("privacy.hoster", Language::German), Some("Rechenzentrum"));
        assert_eq!(fields.get("privacy.hoster", Language::English), Some("Data centre"));
        assert_eq!(fields.get("accessibility.statement_date", Language::German), Some("2026-11-30"));
        assert_eq!(fields.get("nonsense", Language::German), None);
    }

    #[test]
    fn every_value_is_checked_with_a_sentence() {
        for (toml, sentence) in [
            ("nmae = \"x\"", "operator.nmae is no field of the pages; they have operator.name"),
            ("[privacy]\nofficr = \"x\"", "operator.privacy.officr is no field"),
            ("name = 5", "operator.name must be a text"),
            ("name = { fr = \"x\" }", "operator.name.fr is for a language"),
            ("email = \"muster\"", "operator.email is \"muster\", which is no e-mail address"),
            ("[accessibility]\nstatus = \"good\"", "which is no degree of compliance"),
            ("[accessibility]\nenforcement_url = \"javascript:alert(1)\"", "no address of a page"),
            ("name = \"a\\u0000b\"", "no plain text"),
        ] {
            let error = format!("{:#}", fields(toml).unwrap_err());
            assert!(error.contains(sentence), "{toml}: {error}");
        }
    }
}
