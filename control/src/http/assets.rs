//! The web client, embedded.

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
const INDEX: &str = "index.html";

/// Whether a file of this name lies beside the page: no room can be called so.
pub fn exists(name: &str) -> bool {
    Files::get(name).is_some()
}

/// The page itself, the same for every room.
pub fn index(request: &HeaderMap) -> Response {
    file(INDEX, request)
}

/// One file, or 404.
pub fn file(path: &str, request: &HeaderMap) -> Response {
    let Some(EmbeddedFile { data, metadata }) = Files::get(path) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let tag: String = metadata.sha256_hash()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{tag}\"");
    let cache = if path.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-cache" };
    let known = request.get_all(header::IF_NONE_MATCH).iter().any(|value| {
        // A compressing layer or proxy may have made the tag a weak one.
        value.to_str().is_ok_and(|tags| tags.split(',').any(|other| other.trim().trim_start_matches("W/") == tag))
    });
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let data = match data {
            Cow::Borrowed(data) => Bytes::from_static(data),
            Cow::Owned(data) => Bytes::from(data),
        };
        Response::new(Body::from(data))
    };
    let headers = response.headers_mut();
    if !known && let Ok(kind) = HeaderValue::from_str(content_type(path)) {
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
