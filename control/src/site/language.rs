//! The languages of the service's own pages.

use axum::http::{HeaderMap, header};

/// A language that pages are served in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Language {
    German,
    English,
}

impl Language {
    pub const ALL: [Self; 2] = [Self::German, Self::English];

    /// RFC 5646.
    pub fn tag(self) -> &'static str {
        match self {
            Self::German => "de",
            Self::English => "en",
        }
    }

    /// In its own words.
    pub fn name(self) -> &'static str {
        match self {
            Self::German => "Deutsch",
            Self::English => "English",
        }
    }

    /// `None` for a language that we do not have. Regions do not matter.
    fn of_tag(tag: &str) -> Option<Self> {
        let primary = tag.split('-').next().unwrap_or_default();
        Self::ALL.into_iter().find(|language| language.tag().eq_ignore_ascii_case(primary))
    }

    /// What a browser likes best of what we have (RFC 9110, section 12.5.4); English if it likes none of it.
    pub fn accepted(headers: &HeaderMap) -> Self {
        let mut best = None;
        for value in headers.get_all(header::ACCEPT_LANGUAGE) {
            for range in value.to_str().unwrap_or_default().split(',') {
                let mut parts = range.split(';').map(str::trim);
                let Some(language) = parts.next().and_then(Self::of_tag) else { continue };
                let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse().ok());
                let Some(quality) = quality.filter(|q: &f32| *q > 0.0) else { continue };
                // The first of equals.
                if best.is_none_or(|(_, other)| quality > other) {
                    best = Some((language, quality));
                }
            }
        }
        best.map_or(Self::English, |(language, _)| language)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn the_browsers_wish_is_read() {
        for (wish, language) in [
            ("de-DE,de;q=0.9,en;q=0.8", Language::German),
            ("en-GB,de;q=0.9", Language::English),
            ("fr, DE;q=0.5", Language::German),
            ("en;q=0.3, de;q=0.7", Language::German),
            ("de;q=0, en;q=0.1", Language::English),
            ("fr", Language::English),
            ("*", Language::English),
            ("de;q=many", Language::English),
            ("", Language::English),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT_LANGUAGE, HeaderValue::from_static(wish))]);
            assert_eq!(Language::accepted(&headers), language, "{wish}");
        }
        assert_eq!(Language::accepted(&HeaderMap::new()), Language::English);
    }
}
