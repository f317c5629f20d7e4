//! What a path means that is no file of the client and no interface: a room, a text of the operator, a picture of the
//! branding, or nothing, which is then said in the language of who asks.

use super::assets::{self, INDEX};
use crate::rooms::names::{Link, encode};
use crate::site::Site;
use crate::site::language::Language;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

const HTML: &str = "text/html; charset=utf-8";
/// Rooms are nobody's business but their guests'; texts may be found.
const ROBOTS: &str = "User-agent: *\nAllow: /$\nDisallow: /\n";
/// An operator's drawing may hold scripts, which run when it is opened by itself.
const PICTURE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox";
/// Our own icons, by size.
const ICONS: [(u32, &[u8]); 3] = [
    (180, include_bytes!("../../branding/icon-180.png")),
    (192, include_bytes!("../../branding/icon-192.png")),
    (512, include_bytes!("../../branding/icon-512.png")),
];

/// Any path that no other route has. `origin`: by which the browser came, if that is known.
pub(super) fn page(site: &Site, uri: &Uri, headers: &HeaderMap, origin: Option<&str>) -> Response {
    let path = uri.path();
    let language = Language::accepted(headers);
    if let Some(response) = well_known(site, path, language, headers) {
        return response;
    }
    let file = path.trim_start_matches('/');
    if file != INDEX && assets::exists(file) {
        return assets::file(file, headers);
    }
    match Link::read(path) {
        Link::Start if path == "/" => client_page(site, language, None, origin, headers),
        Link::Start => redirect("/", uri),
        Link::Room(room) if room.canonical => client_page(site, language, Some(&room.title), origin, headers),
        Link::Room(room) => redirect(&format!("/{}", encode(&room.title)), uri),
        Link::Refused { error, name } => {
            let slug = site.pages.alias(&name).unwrap_or(&name);
            match site.pages.get(slug) {
                Some(text) if path.strip_prefix('/') == Some(slug) => assets::document(text.to_owned(), HTML, headers),
                Some(_) => redirect(&format!("/{slug}"), uri),
                None if file == INDEX => redirect("/", uri),
                None => {
                    let text = site.shell.refusal_page(language, error);
                    let mut response = (
                        StatusCode::NOT_FOUND,
                        [(header::CONTENT_TYPE, HTML), (header::CACHE_CONTROL, "no-store")],
                        text,
                    )
                        .into_response();
                    vary(&mut response);
                    response
                }
            }
        }
    }
}

fn client_page(
    site: &Site,
    language: Language,
    room: Option<&str>,
    origin: Option<&str>,
    headers: &HeaderMap,
) -> Response {
    let mut response = assets::document(site.shell.client_page(language, room, origin), HTML, headers);
    vary(&mut response);
    response
}

/// Files that browsers, phones and crawlers ask for by themselves, and those of `/branding/`.
fn well_known(site: &Site, path: &str, language: Language, headers: &HeaderMap) -> Option<Response> {
    Some(match path {
        "/robots.txt" => assets::document(ROBOTS, "text/plain; charset=utf-8", headers),
        "/favicon.ico" | "/apple-touch-icon.png" | "/apple-touch-icon-precomposed.png" => icon(site, 180, headers)?,
        "/manifest.webmanifest" | "/manifest.json" => manifest(site, language, headers),
        _ => match path.strip_prefix("/branding/")? {
            "colours.css" => assets::document(site.branding.css(), "text/css; charset=utf-8", headers),
            "logo" => {
                let logo = site.branding.logo.as_ref()?;
                let mut response = assets::document(logo.bytes.clone(), logo.media_type, headers);
                let policy = HeaderValue::from_static(PICTURE_POLICY);
                response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
                response
            }
            "de.webmanifest" => manifest(site, Language::German, headers),
            "en.webmanifest" => manifest(site, Language::English, headers),
            file => icon(site, file.strip_prefix("icon-")?.strip_suffix(".png")?.parse().ok()?, headers)?,
        },
    })
}

fn manifest(site: &Site, language: Language, headers: &HeaderMap) -> Response {
    assets::document(site.branding.manifest(language), "application/manifest+json", headers)
}

/// The operator's icon, which has one size for all, or ours.
fn icon(site: &Site, size: u32, headers: &HeaderMap) -> Option<Response> {
    let (_, ours) = ICONS.iter().find(|(known, _)| *known == size)?;
    let bytes = site.branding.icon.as_ref().map_or(Bytes::from_static(ours), |icon| icon.bytes.clone());
    Some(assets::document(bytes, "image/png", headers))
}

/// For now: what a link means may change with the next version.
fn redirect(path: &str, uri: &Uri) -> Response {
    let location = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let headers = [(header::LOCATION, location), (header::CACHE_CONTROL, "no-store".to_owned())];
    (StatusCode::TEMPORARY_REDIRECT, headers).into_response()
}

/// Caches must not give the page of one language to the speaker of another.
fn vary(response: &mut Response) {
    response.headers_mut().append(header::VARY, HeaderValue::from_static("accept-language"));
}
