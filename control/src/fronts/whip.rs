//! WHIP (RFC 9725) and WHEP: publishing into a room and watching it with standard tools.
//!
//! No answer lets other origins' pages in (no CORS): a page could use its visitors' browsers to enter rooms on a
//! network that only they can reach. Tools that are no browsers do not ask.

mod sessions;

use crate::admission::door::{Claims, Closed};
use crate::admission::rates::Prefix;
use crate::http::caller::{Caller, Host};
use crate::join::Refusal;
use crate::rooms::names;
use crate::sdp::Purpose;
use crate::service::Service;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, FromRequest, Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use plausch_relay_api::limits::SIGNALLING_MESSAGE_BYTES;
use plausch_signalling::{ErrorCode, IceServers};
use serde::Deserialize;
use sessions::{Failure, Opened, Patched, Visit};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// A client has this long for a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// When to try again after 429 and 503.
const RETRY_AFTER: &str = "2";
const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

type Shared = State<Arc<Service>>;

/// The routes of both. Rooms are named as in links, however those are written ([`names::decode`]).
pub fn routes() -> Router<Arc<Service>> {
    Router::new()
        .route("/whip/", resource("/whip/", Purpose::Publish))
        .route("/whep/", resource("/whep/", Purpose::Watch))
        .route("/whip/{*path}", resource("/whip/", Purpose::Publish))
        .route("/whep/{*path}", resource("/whep/", Purpose::Watch))
        .layer(DefaultBodyLimit::max(SIGNALLING_MESSAGE_BYTES))
}

const ENDPOINT_METHODS: &str = "OPTIONS, POST";
const SESSION_METHODS: &str = "DELETE, OPTIONS, PATCH";

/// What a path below the prefix names.
enum Target {
    /// Where sessions of a room begin.
    Endpoint(String),
    Session {
        room: String,
        token: String,
    },
}

impl Target {
    fn read(uri: &Uri, prefix: &str) -> Self {
        let path = uri.path().strip_prefix(prefix).unwrap_or_default().trim_matches('/');
        match path.split_once('/') {
            Some((room, token)) => {
                Self::Session { room: names::decode(room), token: token.trim_start_matches('/').to_owned() }
            }
            None => Self::Endpoint(names::decode(path)),
        }
    }
}

/// Endpoint and sessions of a purpose, told apart by the path.
fn resource(path: &'static str, purpose: Purpose) -> MethodRouter<Arc<Service>> {
    let caller = |service: &Service, peer, headers: &HeaderMap| Caller::of(&service.config.proxies, peer, headers);
    post(
        async move |State(service): Shared,
                    ConnectInfo(peer): ConnectInfo<SocketAddr>,
                    Query(query): Query<Parameters>,
                    request: Request| {
            let Target::Endpoint(room) = Target::read(request.uri(), path) else {
                return not_allowed(SESSION_METHODS);
            };
            let caller = caller(&service, peer, request.headers());
            begin(service, caller, purpose, room, query, request).await
        },
    )
    .patch(async move |State(service): Shared, ConnectInfo(peer): ConnectInfo<SocketAddr>, request: Request| {
        let Target::Session { room, token } = Target::read(request.uri(), path) else {
            return not_allowed(ENDPOINT_METHODS);
        };
        let Caller { prefix, .. } = caller(&service, peer, request.headers());
        change(service, prefix, purpose, room, token, request).await
    })
    .delete(async move |State(service): Shared, uri: Uri| {
        let Target::Session { room, token } = Target::read(&uri, path) else { return not_allowed(ENDPOINT_METHODS) };
        match service.close(purpose, &room, &token) {
            Ok(()) => StatusCode::OK.into_response(),
            Err(refusal) => failure(&service, refusal),
        }
    })
    .options(
        async move |State(service): Shared,
                    ConnectInfo(peer): ConnectInfo<SocketAddr>,
                    uri: Uri,
                    headers: HeaderMap| {
            let Target::Endpoint(room) = Target::read(&uri, path) else {
                let headers = [(header::ALLOW, SESSION_METHODS), (ACCEPT_PATCH, FRAGMENT)];
                return (StatusCode::NO_CONTENT, headers).into_response();
            };
            let Caller { prefix, proxied } = caller(&service, peer, &headers);
            let host = Host::asked_for(&uri, &headers, proxied);
            let ice = service.ice_servers(prefix, &room, host.as_ref()).await;
            let headers = [(header::ALLOW, ENDPOINT_METHODS), (ACCEPT_POST, SDP), (header::CACHE_CONTROL, "no-store")];
            let mut response = (StatusCode::NO_CONTENT, headers).into_response();
            add_links(&mut response, &ice);
            response
        },
    )
}

fn not_allowed(allowed: &'static str) -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, allowed)]).into_response()
}

/// What an address may say after `?`.
#[derive(Debug, Deserialize)]
struct Parameters {
    /// Of the publisher or viewer, as others see it.
    name: Option<String>,
    /// Whom to watch: an id or a name.
    participant: Option<String>,
}

async fn begin(
    service: Arc<Service>,
    Caller { prefix, proxied }: Caller,
    purpose: Purpose,
    room: String,
    query: Parameters,
    request: Request,
) -> Response {
    if !is_of_type(request.headers(), SDP) {
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, [(ACCEPT_POST, SDP)], "The offer must be application/sdp.\n")
            .into_response();
    }
    if !accepts_sdp(request.headers()) {
        return (StatusCode::NOT_ACCEPTABLE, "The answer is application/sdp.\n").into_response();
    }
    let ticket = match service.ticket(prefix) {
        Ok(ticket) => ticket,
        Err(refusal) => return failure(&service, refusal.into()),
    };
    let claims = Claims { token: bearer(request.headers()), ..Claims::default() };
    let uri = request.uri().clone();
    let host = Host::asked_for(&uri, request.headers(), proxied);
    let sdp = match read_body(&service, prefix, request).await {
        Ok(text) => text,
        Err(response) => return response,
    };
    let name = query.name.unwrap_or_else(|| default_name(purpose).to_owned());
    let visit = Visit { ticket, purpose, room, name, follows: query.participant, claims, host, sdp };
    // A client that gives up must not leave half a participant behind.
    let opening = service.clone();
    match tokio::spawn(async move { opening.open(visit).await }).await {
        Ok(Ok(opened)) => created(&uri, &opened),
        Ok(Err(refusal)) => failure(&service, refusal),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn created(uri: &Uri, opened: &Opened) -> Response {
    // The room as the client wrote it, so that nothing is encoded twice.
    let location = format!("{}/{}", uri.path().trim_end_matches('/'), opened.token);
    let headers = [
        (header::CONTENT_TYPE, SDP),
        (header::LOCATION, location.as_str()),
        (header::ETAG, &quoted(&opened.tag)),
        (header::CACHE_CONTROL, "no-store"),
        (ACCEPT_PATCH, FRAGMENT),
    ];
    let mut response = (StatusCode::CREATED, headers, opened.answer.clone()).into_response();
    if let Some(ice) = &opened.ice {
        add_links(&mut response, ice);
    }
    response
}

/// Names the TURN servers as RFC 9725, section 4.6, has it: one `Link` for each address.
fn add_links(response: &mut Response, ice: &IceServers) {
    for server in &ice.servers {
        for url in &server.urls {
            let link = format!(
                "<{url}>; rel=\"ice-server\"; username=\"{}\"; credential=\"{}\"; credential-type=\"password\"",
                server.username.reveal(),
                server.credential.reveal()
            );
            if let Ok(link) = HeaderValue::from_str(&link) {
                response.headers_mut().append(header::LINK, link);
            }
        }
    }
}

async fn change(
    service: Arc<Service>,
    prefix: Option<Prefix>,
    purpose: Purpose,
    room: String,
    token: String,
    request: Request,
) -> Response {
    if !is_of_type(request.headers(), FRAGMENT) {
        let text = "The body must be application/trickle-ice-sdpfrag.\n";
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, [(ACCEPT_PATCH, FRAGMENT)], text).into_response();
    }
    let wanted: Vec<_> = request.headers().get_all(header::IF_MATCH).iter().cloned().collect();
    if wanted.is_empty() {
        return (StatusCode::PRECONDITION_REQUIRED, "Say by If-Match which ICE session you mean.\n").into_response();
    }
    let fragment = match read_body(&service, prefix, request).await {
        Ok(text) => text,
        Err(response) => return response,
    };
    let patching = service.clone();
    let patch = async move {
        let matches = |tag: &str| wanted.iter().any(|value| value.to_str().is_ok_and(|value| names_tag(value, tag)));
        patching.patch(prefix, purpose, &room, &token, matches, &fragment).await
    };
    match tokio::spawn(patch).await {
        Ok(Ok(Patched::Trickled)) => StatusCode::NO_CONTENT.into_response(),
        Ok(Ok(Patched::Restarted { tag, fragment })) => {
            let headers =
                [(header::CONTENT_TYPE, FRAGMENT), (header::ETAG, &quoted(&tag)), (header::CACHE_CONTROL, "no-store")];
            (StatusCode::OK, headers, fragment).into_response()
        }
        Ok(Err(refusal)) => failure(&service, refusal),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The whole body, if it comes in time, is not too large and is text. While it comes, it has a place among the sockets.
async fn read_body(service: &Service, prefix: Option<Prefix>, request: Request) -> Result<String, Response> {
    let Some(_permit) = service.open_socket(prefix) else {
        return Err(failure(service, Refusal::ServerFull.into()));
    };
    let bytes = match timeout(BODY_TIMEOUT, Bytes::from_request(request, &())).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(rejection)) => return Err(rejection.into_response()),
        Err(_) => return Err(StatusCode::REQUEST_TIMEOUT.into_response()),
    };
    String::from_utf8(bytes.into())
        .map_err(|_| (StatusCode::BAD_REQUEST, "The body is not UTF-8 text.\n").into_response())
}

/// Who says no name.
fn default_name(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Publish => "WHIP",
        Purpose::Watch => "WHEP",
    }
}

/// The token of the request, if it has one (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Option<String> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

fn failure(service: &Service, failure: Failure) -> Response {
    let (status, text) = match failure {
        Failure::NotFound => (StatusCode::NOT_FOUND, "There is no such session.".to_owned()),
        Failure::Outdated => (StatusCode::PRECONDITION_FAILED, "The ICE session is another one by now.".to_owned()),
        Failure::Sdp(error) => {
            service.metrics.count_error(ErrorCode::BadOffer);
            let status = match error.is_malformed() {
                true => StatusCode::BAD_REQUEST,
                false => StatusCode::UNPROCESSABLE_ENTITY,
            };
            (status, format!("This cannot be used: {error}."))
        }
        Failure::Refused(refusal) => {
            service.metrics.count_error(refusal.into());
            let (status, text) = sentence(refusal);
            (status, text.to_owned())
        }
    };
    let mut response = (status, format!("{text}\n")).into_response();
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
    }
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn sentence(refusal: Refusal) -> (StatusCode, &'static str) {
    match refusal {
        Refusal::BadRoomName => (StatusCode::NOT_FOUND, "There is no room of this name."),
        Refusal::BadName => (StatusCode::BAD_REQUEST, "The name is empty, too long or has characters of no name."),
        Refusal::BadOffer | Refusal::BadRequest => {
            (StatusCode::UNPROCESSABLE_ENTITY, "The relay cannot serve this offer.")
        }
        Refusal::RoomFull => (StatusCode::SERVICE_UNAVAILABLE, "The room is full."),
        Refusal::ServerFull => (StatusCode::SERVICE_UNAVAILABLE, "The server is full."),
        Refusal::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "Too many requests from this address."),
        Refusal::NoRelay | Refusal::Replaced => {
            (StatusCode::SERVICE_UNAVAILABLE, "No relay is connected at the moment.")
        }
        Refusal::Closed(why) => match why {
            Closed::Blocked => (StatusCode::FORBIDDEN, "The operator has blocked this room."),
            Closed::RoomClosed => (StatusCode::FORBIDDEN, "The room is closed."),
            Closed::PasswordNeeded | Closed::PasswordWrong => {
                (StatusCode::FORBIDDEN, "The room has a password, which this protocol cannot carry.")
            }
            Closed::TokenNeeded => (StatusCode::UNAUTHORIZED, "This room asks for a bearer token."),
            Closed::Quota => (StatusCode::TOO_MANY_REQUESTS, "Too many rooms or participants come from this address."),
            Closed::CannotWait => (StatusCode::FORBIDDEN, "The room has a lobby, in which this protocol cannot wait."),
        },
    }
}

/// Content-Type, without its parameters.
fn is_of_type(headers: &HeaderMap, wanted: &str) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    essence(value).eq_ignore_ascii_case(wanted)
}

/// RFC 9110, section 12.5.1; without the header everything is accepted.
fn accepts_sdp(headers: &HeaderMap) -> bool {
    let mut ranges = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
    ranges.peek().is_none()
        || ranges.flat_map(|value| value.split(',')).any(|range| {
            let refused = range.split(';').skip(1).any(|parameter| {
                parameter.trim().strip_prefix("q=").is_some_and(|q| q.trim().parse::<f32>().is_ok_and(|q| q == 0.0))
            });
            !refused && [SDP, "application/*", "*/*"].iter().any(|known| essence(range).eq_ignore_ascii_case(known))
        })
}

fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

fn quoted(tag: &str) -> String {
    format!("\"{tag}\"")
}

/// Whether an If-Match names the tag: `*` names whatever there is, and RFC 9725 (section 4.3.3) has clients send it
/// to restart ICE. Weak tags match nothing (RFC 9110, section 13.1.1).
fn names_tag(value: &str, tag: &str) -> bool {
    value.split(',').map(str::trim).any(|named| named == "*" || named == quoted(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags() {
        assert!(names_tag("*", "ab+/"));
        assert!(names_tag("\"x\", \"ab+/\"", "ab+/"));
        for other in ["", "ab+/", "\"ab\"", "W/\"ab+/\"", "\"\""] {
            assert!(!names_tag(other, "ab+/"), "{other}");
        }
    }

    #[test]
    fn media_types() {
        let headers =
            |name: HeaderName, value: &'static str| HeaderMap::from_iter([(name, HeaderValue::from_static(value))]);
        for fine in ["application/sdp", "Application/SDP; charset=utf-8"] {
            assert!(is_of_type(&headers(header::CONTENT_TYPE, fine), SDP), "{fine}");
        }
        assert!(!is_of_type(&HeaderMap::new(), SDP));
        assert!(!is_of_type(&headers(header::CONTENT_TYPE, "application/sdpx"), SDP));
        assert!(accepts_sdp(&HeaderMap::new()));
        for fine in ["*/*", "text/html, application/*;q=0.5", "application/sdp"] {
            assert!(accepts_sdp(&headers(header::ACCEPT, fine)), "{fine}");
        }
        for other in ["text/html", "application/json", "application/sdp;q=0", ""] {
            assert!(!accepts_sdp(&headers(header::ACCEPT, other)), "{other}");
        }
    }
}
