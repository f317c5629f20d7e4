//! The routes, and under which rules a browser shows it.

use super::assets;
use super::caller::{Caller, Host};
use super::connections::Connection;
use super::pages;
use crate::fronts::browser::Seat;
use crate::fronts::{browser, whip};
use crate::service::Service;
use crate::site::Site;
use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Extension, Path, Request, State};
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, Uri, Version, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use plausch_relay_api::limits::SIGNALLING_MESSAGE_BYTES;
use std::net::SocketAddr;
use std::sync::Arc;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, Predicate};

/// No route but those of WHIP takes a body; this is for what is sent all the same.
const BODY_BYTES: usize = 4096;
const SOCKET_BUFFER_BYTES: usize = 8 * 1024;
/// A year, as preload lists ask for.
const HSTS: &str = "max-age=31536000";

/// All routes. `secure`: the listener speaks HTTPS.
pub fn router(service: Arc<Service>, site: Arc<Site>, secure: bool) -> Router {
    let proxies = service.config.proxies.clone();
    let page = get(async move |ConnectInfo(peer): ConnectInfo<SocketAddr>, uri: Uri, headers: HeaderMap| {
        let proxied = proxies.trust(peer.ip());
        pages::page(&site, &uri, &headers, origin(&uri, &headers, proxied, secure).as_deref())
    });
    Router::new()
        .route("/assets/{*path}", get(asset))
        .route("/api/health", get(health))
        .route("/api/signalling", get(signalling))
        .route("/metrics", get(metrics))
        .merge(whip::routes())
        .fallback_service(page)
        .layer(CompressionLayer::new().compress_when(DefaultPredicate::new().and(is_made_anew)))
        .layer(from_fn_with_state(secure, security_headers))
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .with_state(service)
}

async fn asset(Path(path): Path<String>, headers: HeaderMap) -> Response {
    assets::file(&format!("assets/{path}"), &headers)
}

/// The client's files are compressed already.
fn is_made_anew(_: StatusCode, _: Version, _: &HeaderMap, extensions: &Extensions) -> bool {
    extensions.get::<assets::AsBuilt>().is_none()
}

async fn health(State(service): State<Arc<Service>>) -> Response {
    let ready = service.ready();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let json = format!("{{\"ready\":{ready}}}");
    (status, [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], json).into_response()
}

/// For this machine only: how busy the service is, is nobody else's business.
async fn metrics(
    State(service): State<Arc<Service>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    if !Caller::of(&service.config.proxies, peer, &headers).is_this_machine() {
        return StatusCode::NOT_FOUND.into_response();
    }
    let text = service.metrics.text(&service.gauges());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4"), (header::CACHE_CONTROL, "no-store")], text).into_response()
}

async fn signalling(
    State(service): State<Arc<Service>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(connection): Extension<Connection>,
    uri: Uri,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let caller = Caller::of(&service.config.proxies, peer, &headers);
    if !is_our_page(&headers, caller.proxied) {
        return (StatusCode::FORBIDDEN, "Only pages of this server may use this.\n").into_response();
    }
    let host = Host::asked_for(&uri, &headers, caller.proxied);
    upgrade
        // Allocated for every socket, and most of them are silent.
        .read_buffer_size(SOCKET_BUFFER_BYTES)
        .write_buffer_size(SOCKET_BUFFER_BYTES)
        .max_message_size(SIGNALLING_MESSAGE_BYTES)
        .max_frame_size(SIGNALLING_MESSAGE_BYTES)
        .on_upgrade(async move |socket| {
            connection.upgraded();
            if let Some(permit) = service.open_socket(caller.prefix) {
                browser::run(service, socket, caller.prefix, host, Seat { connection, permit }).await;
            }
        })
}

/// Scheme, host and port by which the browser came, for links that must be whole; `None` if that is no host. A proxy is
/// taken to speak HTTPS.
fn origin(uri: &Uri, headers: &HeaderMap, proxied: bool, secure: bool) -> Option<String> {
    let forwarded = headers.get_all("x-forwarded-host").iter().next_back().filter(|_| proxied);
    let forwarded = forwarded.and_then(|hosts| hosts.to_str().ok()?.rsplit(',').next().map(str::trim));
    let authority = uri.authority().map(|authority| authority.as_str());
    let host = forwarded.or(authority).or_else(|| headers.get(header::HOST)?.to_str().ok())?;
    let scheme = if secure || proxied { "https" } else { "http" };
    is_host(host).then(|| format!("{scheme}://{host}"))
}

/// Browsers let any page open a WebSocket anywhere and say whose page it is (RFC 6455, section 10.2): another site must
/// not take its visitors into rooms here. What is no browser says nothing.
fn is_our_page(headers: &HeaderMap, proxied: bool) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Some((scheme, origin)) = origin.to_str().ok().and_then(|origin| origin.split_once("://")) else { return false };
    let default_port = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
    let ours = |host: &HeaderValue| {
        let hosts = host.to_str().unwrap_or_default().split(',').map(str::trim);
        hosts.map(|host| host.strip_suffix(default_port).unwrap_or(host)).any(|host| host.eq_ignore_ascii_case(origin))
    };
    // A proxy may ask by another name than it was asked by.
    headers.get(header::HOST).is_some_and(ours) || (proxied && headers.get_all("x-forwarded-host").iter().any(ours))
}

async fn security_headers(State(secure): State<bool>, request: Request, next: Next) -> Response {
    // HTTP/2 says it in the address.
    let host = match request.uri().authority() {
        Some(authority) => authority.as_str(),
        None => request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default(),
    };
    let policy = content_security_policy(host, secure);
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            header::HeaderName::from_static("permissions-policy"),
            "camera=(self), microphone=(self), display-capture=(self), autoplay=(self), fullscreen=(self), \
             screen-wake-lock=(self), geolocation=(), payment=(), usb=()",
        ),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // A picture of the operator's has a stricter one.
    if !headers.contains_key(header::CONTENT_SECURITY_POLICY)
        && let Ok(policy) = HeaderValue::from_str(&policy)
    {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    if secure {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(HSTS));
    }
    response
}

/// Looks like a host and perhaps a port.
fn is_host(host: &str) -> bool {
    !host.is_empty()
        && host.len() <= 260
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte))
}

/// Nothing but ourselves. Safari before 16 does not count WebSockets to the own origin as `'self'`, so that origin
/// is named; the Host header is the client's own word, so only what a host can look like gets in.
fn content_security_policy(host: &str, secure: bool) -> String {
    let sockets = match (is_host(host), secure) {
        (false, _) => String::new(),
        (true, true) => format!(" wss://{host}"),
        // A proxy may speak HTTPS for us.
        (true, false) => format!(" ws://{host} wss://{host}"),
    };
    format!(
        "default-src 'self'; connect-src 'self'{sockets}; img-src 'self' data: blob:; media-src 'self' blob:; \
         worker-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_others_are_told_from_ours() {
        let asks = |host: &'static str, origin: &'static str, behind_proxy| {
            let forwarded = header::HeaderName::from_static("x-forwarded-host");
            let headers = [(header::HOST, host), (header::ORIGIN, origin), (forwarded, "plausch.example")];
            let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
            is_our_page(&HeaderMap::from_iter(headers), behind_proxy)
        };
        assert!(is_our_page(&HeaderMap::new(), false), "no browser");
        for (host, origin) in [
            ("localhost:8080", "http://localhost:8080"),
            ("[::1]:8080", "http://[::1]:8080"),
            ("Plausch.example:443", "https://plausch.example"),
            ("plausch.example", "https://plausch.example"),
        ] {
            assert!(asks(host, origin, false), "{host} {origin}");
        }
        for origin in [
            "null",
            "",
            "https://evil.example",
            "http://localhost",
            "http://localhost:8081",
            "http://localhost:8080.evil",
        ] {
            assert!(!asks("localhost:8080", origin, false), "{origin}");
        }
        assert!(asks("127.0.0.1:8080", "https://plausch.example", true));
        assert!(!asks("127.0.0.1:8080", "https://plausch.example", false));
    }

    #[test]
    fn a_host_cannot_write_policy() {
        assert!(
            content_security_policy("localhost:8080", false)
                .contains("'self' ws://localhost:8080 wss://localhost:8080;")
        );
        assert!(content_security_policy("[::1]:8080", true).contains("connect-src 'self' wss://[::1]:8080;"));
        for bad in ["a; script-src *", "a b", "", "a'", &"a".repeat(300)] {
            assert!(content_security_policy(bad, false).contains("connect-src 'self'; img-src"), "{bad}");
        }
    }
}
