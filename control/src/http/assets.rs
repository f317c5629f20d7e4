//! The web client, embedded.

use anyhow::{Context, Result};
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use rust_embed::{Embed, EmbeddedFile};
use std::borrow::Cow;

#[derive(Embed)]
#[folder = "../web/dist"]
struct Files;

/// What shrinks by gzip, compressed when the program was built.
static GZIP: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/gzip.rs"));

/// Ends the tag of the compressed form, which is another sequence of bytes (RFC 9110, section 8.8.3.3).
const OF_GZIP: &str = "-gzip";

/// Vite puts what has a hash in its name here.
const HASHED: &str = "assets/";
pub const INDEX: &str = "index.html";
const NO_CACHE: &str = "no-cache";

/// Whether a file of this name lies beside the page: no room can be called so.
pub fn exists(name: &str) -> bool {
    Files::get(name).is_some()
}

/// The client's page as it was built.
pub fn index() -> Result<String> {
    let file = Files::get(INDEX).context("the web client was not built into this program")?;
    String::from_utf8(file.data.into_owned()).context("the web client's page is not UTF-8")
}

/// One file, or 404.
pub fn file(path: &str, request: &HeaderMap) -> Response {
    let Some(EmbeddedFile { data, metadata }) = Files::get(path) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let small = GZIP.iter().find(|(name, _)| *name == path).map(|(_, small)| *small);
    let small_wanted = small.filter(|_| takes_gzip(request));
    let data = match (small_wanted, data) {
        (Some(small), _) => Bytes::from_static(small),
        (None, Cow::Borrowed(data)) => Bytes::from_static(data),
        (None, Cow::Owned(data)) => Bytes::from(data),
    };
    let cache = if path.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { NO_CACHE };
    let form = if small_wanted.is_some() { OF_GZIP } else { "" };
    let mut response = tagged(data, &metadata.sha256_hash(), form, content_type(path), cache, request);
    response.extensions_mut().insert(AsBuilt);
    let headers = response.headers_mut();
    if small.is_some() {
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    if small_wanted.is_some() && headers.contains_key(header::CONTENT_TYPE) {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// What was made at start or for this request. Browsers ask each time whether it has changed.
pub fn document(data: impl Into<Bytes>, media_type: &str, request: &HeaderMap) -> Response {
    let data = data.into();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &data);
    tagged(data, hash.as_ref(), "", media_type, NO_CACHE, request)
}

/// In the extensions of answers that are files of the client: as small as they get, or not worth it.
#[derive(Clone, Copy, Debug)]
pub struct AsBuilt;

fn tagged(
    data: Bytes,
    hash: &[u8],
    form: &str,
    media_type: &str,
    cache: &'static str,
    request: &HeaderMap,
) -> Response {
    let tag: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let known = request.get_all(header::IF_NONE_MATCH).iter().any(|value| {
        // A compressing layer or proxy may have made the tag a weak one.
        let same = |other: &str| {
            let other = other.trim().trim_start_matches("W/").trim_matches('"');
            other.trim_end_matches(OF_GZIP) == tag
        };
        value.to_str().is_ok_and(|tags| tags.split(',').any(same))
    });
    let mut response = if known { StatusCode::NOT_MODIFIED.into_response() } else { Response::new(Body::from(data)) };
    let headers = response.headers_mut();
    if !known && let Ok(kind) = HeaderValue::from_str(media_type) {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    let tag = format!("\"{tag}{form}\"");
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

/// RFC 9110, section 12.5.3; a weight of zero is a no.
fn takes_gzip(request: &HeaderMap) -> bool {
    let lists = request.get_all(header::ACCEPT_ENCODING).iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
        let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
        name.trim().eq_ignore_ascii_case("gzip") && weight.is_none_or(|weight| weight > 0.0)
    })
}

fn content_type(path: &str) -> &'static str {
    let mime = mime_guess::from_path(path).first_raw().unwrap_or("application/octet-stream");
    match mime {
        "text/html" => "text/html; charset=utf-8",
        "text/css" => "text/css; charset=utf-8",
        "text/javascript" | "application/javascript" => "text/javascript; charset=utf-8",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(encodings: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(encodings))])
    }

    #[test]
    fn gzip_is_for_those_who_take_it() {
        let script = GZIP.iter().map(|(name, _)| *name).find(|name| name.ends_with(".js")).unwrap();
        for (encodings, gzip) in [
            ("gzip, deflate, br", true),
            ("br;q=1.0, GZIP;q=0.8", true),
            ("gzip;q=0, br", false),
            ("br", false),
            ("", false),
        ] {
            let response = file(script, &asking(encodings));
            let encoding = response.headers().get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap());
            assert_eq!(encoding, gzip.then_some("gzip"), "{encodings}");
            assert_eq!(response.headers()[header::VARY], "accept-encoding");
        }
        assert!(!file(script, &HeaderMap::new()).headers().contains_key(header::CONTENT_ENCODING));
    }

    #[test]
    fn what_is_compressed_is_smaller_and_of_a_file_that_is_there() {
        assert!(!GZIP.is_empty());
        for (name, small) in GZIP {
            let whole = Files::get(name).unwrap().data.len();
            assert!(small.starts_with(&[0x1f, 0x8b]) && small.len() < whole, "{name}");
        }
    }
}
