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
    let data = match data {
        Cow::Borrowed(data) => Bytes::from_static(data),
        Cow::Owned(data) => Bytes::from(data),
    };
    let cache = if path.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { NO_CACHE };
    tagged(data, &metadata.sha256_hash(), content_type(path), cache, request)
}

/// What was made at start or for this request. Browsers ask each time whether it has changed.
pub fn document(data: impl Into<Bytes>, media_type: &str, request: &HeaderMap) -> Response {
    let data = data.into();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &data);
    tagged(data, hash.as_ref(), media_type, NO_CACHE, request)
}

fn tagged(data: Bytes, hash: &[u8], media_type: &str, cache: &'static str, request: &HeaderMap) -> Response {
    let tag: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{tag}\"");
    let known = request.get_all(header::IF_NONE_MATCH).iter().any(|value| {
        // A compressing layer or proxy may have made the tag a weak one.
        value.to_str().is_ok_and(|tags| tags.split(',').any(|other| other.trim().trim_start_matches("W/") == tag))
    });
    let mut response = if known { StatusCode::NOT_MODIFIED.into_response() } else { Response::new(Body::from(data)) };
    let headers = response.headers_mut();
    if !known && let Ok(kind) = HeaderValue::from_str(media_type) {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    response
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
