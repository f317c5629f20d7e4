//! Pages and headers.

use super::World;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Head and body of one request.
async fn request(world: &World, line: &str, headers: &str) -> (String, Vec<u8>) {
    let mut socket = TcpStream::connect(world.server.http()[0]).await.unwrap();
    let text = format!("{line} HTTP/1.1\r\nHost: plausch.example:8080\r\nConnection: close\r\n{headers}\r\n");
    socket.write_all(text.as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    socket.read_to_end(&mut reply).await.unwrap();
    let end = reply.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(reply[..end].to_vec()).unwrap();
    (head.to_lowercase(), reply[end + 4..].to_vec())
}

#[tokio::test]
async fn every_room_is_the_page() {
    let world = World::new().await;
    for path in ["/", "/kulturverein", "/%F0%9F%8E%BB%20Probe%20%231", "/Kulturverein%20Marion"] {
        let (head, body) = request(&world, &format!("GET {path}"), "").await;
        assert!(head.starts_with("http/1.1 200"), "{path}: {head}");
        assert!(head.contains("content-type: text/html; charset=utf-8"));
        assert!(head.contains("cache-control: no-cache"));
        assert!(String::from_utf8_lossy(&body).to_lowercase().contains("<!doctype html>"));
    }
    for path in [
        "/a/b",
        "/a%2Fb",
        "/%00",
        "/assets/none.js",
        "/assets/../Cargo.toml",
        "/assets/%2e%2e/%2e%2e/Cargo.toml",
        "/api/",
        "/api/x",
        "/.env",
        "/wp-login.php",
        "/branding/nothing",
    ] {
        let (head, _) = request(&world, &format!("GET {path}"), "").await;
        assert!(head.starts_with("http/1.1 404"), "{path}: {head}");
        assert!(head.contains("x-content-type-options: nosniff"));
    }
    let (head, _) = request(&world, "POST /", "Content-Length: 0\r\n").await;
    assert!(head.starts_with("http/1.1 405"), "{head}");
}

#[tokio::test]
async fn a_link_leads_to_its_room_however_it_is_written() {
    let world = World::new().await;
    for (path, right) in [
        ("/Test/", "/test"),
        ("//Test", "/test"),
        ("/Test.", "/test"),
        ("/Test/?utm=1", "/test?utm=1"),
        ("/K%FCche", "/k%c3%bcche"),
        ("/Ku%CC%88che", "/k%c3%bcche"),
        ("//evil.example", "/evil.example"),
        ("//", "/"),
        ("/index.html", "/"),
        ("/Impressum/", "/impressum"),
        ("/imprint", "/legal-notice"),
    ] {
        let (head, _) = request(&world, &format!("GET {path}"), "").await;
        assert!(head.starts_with("http/1.1 307"), "{path}: {head}");
        assert!(head.contains(&format!("\nlocation: {right}\r")), "{path}: {head}");
    }
}

#[tokio::test]
async fn what_is_no_room_is_said_in_the_residents_language() {
    let world = World::new().await;
    for path in ["/a/b", "/%00", "/robots.php", "/api/x"] {
        let (_, body) = request(&world, &format!("GET {path}"), "Accept-Language: de-DE,de;q=0.9\r\n").await;
        let body = String::from_utf8(body).unwrap();
        assert!(body.contains("<html lang=\"de\">") && body.contains("Zur Startseite"), "{path}: {body}");
        let (_, body) = request(&world, &format!("GET {path}"), "").await;
        assert!(String::from_utf8(body).unwrap().contains("Go to the start page"), "{path}");
    }
}

#[tokio::test]
async fn the_operators_pages_and_look_are_served() {
    let extra = "[branding]\nname = \"Musterstadt\"\naccent = \"#003f7d\"\n[operator]\nname = \"Stadt <Muster>\"\n";
    let world =
        World::with(&format!("[http]\nlisten = [\"127.0.0.1:0\"]\n[link]\nlisten = \"127.0.0.1:0\"\n{extra}")).await;
    for (path, kind, text) in [
        ("/impressum", "text/html; charset=utf-8", "Stadt &lt;Muster&gt;"),
        ("/accessibility", "text/html; charset=utf-8", "<html lang=\"en\">"),
        ("/datenschutz", "text/html; charset=utf-8", "[fehlt: operator.privacy.officer]"),
        ("/branding/colours.css", "text/css; charset=utf-8", "--accent:#003f7d"),
        ("/branding/de.webmanifest", "application/manifest+json", "\"name\":\"Musterstadt\""),
        ("/robots.txt", "text/plain; charset=utf-8", "Disallow: /\n"),
        ("/", "text/html; charset=utf-8", "<title>Musterstadt</title>"),
        ("/KulturvereinMarion", "text/html; charset=utf-8", "og:title\" content=\"KulturvereinMarion – Musterstadt\""),
        ("/", "text/html; charset=utf-8", "og:image\" content=\"http://plausch.example:8080/branding/icon-512.png\""),
    ] {
        let (head, body) = request(&world, &format!("GET {path}"), "").await;
        assert!(head.starts_with("http/1.1 200"), "{path}: {head}");
        assert!(head.contains(&format!("content-type: {kind}")), "{path}: {head}");
        assert!(head.contains("content-security-policy: default-src 'self'"), "{path}: {head}");
        let body = String::from_utf8(body).unwrap();
        assert!(body.contains(text), "{path}: {body}");
    }
    for path in ["/favicon.ico", "/apple-touch-icon.png", "/branding/icon-512.png"] {
        let (head, body) = request(&world, &format!("GET {path}"), "").await;
        assert!(head.starts_with("http/1.1 200") && head.contains("content-type: image/png"), "{path}: {head}");
        assert!(body.starts_with(b"\x89PNG"), "{path}");
    }
}

#[tokio::test]
async fn headers_allow_nothing_but_ourselves() {
    let world = World::new().await;
    let (head, _) = request(&world, "GET /", "").await;
    for line in [
        "content-security-policy: default-src 'self'; connect-src 'self' ws://plausch.example:8080 \
         wss://plausch.example:8080; img-src 'self' data: blob:; media-src 'self' blob:; worker-src 'self'; \
         object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        "permissions-policy: camera=(self), microphone=(self), display-capture=(self)",
        "referrer-policy: no-referrer",
        "x-content-type-options: nosniff",
        "cross-origin-opener-policy: same-origin",
    ] {
        assert!(head.contains(line), "{line}\nis not in\n{head}");
    }
    assert!(!head.contains("strict-transport-security"), "not on plain HTTP");
}

#[tokio::test]
async fn the_page_is_compressed_and_not_sent_twice() {
    let world = World::new().await;
    let (head, _) = request(&world, "GET /", "Accept-Encoding: gzip\r\n").await;
    assert!(head.contains("content-encoding: gzip"), "{head}");
    let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().to_owned();
    let (head, body) = request(&world, "GET /", &format!("If-None-Match: {tag}\r\n")).await;
    assert!(head.starts_with("http/1.1 304") && body.is_empty(), "{head}");
    assert!(head.contains("content-security-policy"));
}

#[tokio::test]
async fn health_and_metrics() {
    let world = World::without_relay("").await;
    let (head, body) = request(&world, "GET /api/health", "").await;
    assert!(head.starts_with("http/1.1 503"));
    assert_eq!(body, b"{\"ready\":false}");
    world.relay.dial(&world).await;
    world.ready().await;
    let (head, body) = request(&world, "GET /api/health", "").await;
    assert!(head.starts_with("http/1.1 200"));
    assert_eq!(body, b"{\"ready\":true}");

    let _anna = world.joined("r", "Anna").await;
    let (_, body) = request(&world, "GET /metrics", "").await;
    let text = String::from_utf8(body).unwrap();
    for line in ["plausch_rooms 1", "plausch_participants 1", "plausch_joins_total 1", "plausch_relay_linked 1"] {
        assert!(text.lines().any(|other| other == line), "{line}\nis not in\n{text}");
    }
}

#[tokio::test]
async fn metrics_are_not_for_others() {
    let world =
        World::with("[http]\nlisten = [\"127.0.0.1:0\"]\nbehind_proxy = true\n[link]\nlisten = \"127.0.0.1:0\"\n")
            .await;
    let (head, _) = request(&world, "GET /metrics", "X-Forwarded-For: 192.0.2.1\r\n").await;
    assert!(head.starts_with("http/1.1 404"));
    let (head, _) = request(&world, "GET /metrics", "").await;
    assert!(head.starts_with("http/1.1 200"));
}

/// Another site may not drive its visitors' browsers into rooms here.
#[tokio::test]
async fn pages_of_others_get_no_socket() {
    let world = World::new().await;
    for (origin, status) in [
        ("", "101"),
        ("Origin: http://plausch.example:8080\r\n", "101"),
        ("Origin: https://evil.example\r\n", "403"),
        ("Origin: null\r\n", "403"),
    ] {
        let mut socket = TcpStream::connect(world.server.http()[0]).await.unwrap();
        let text = format!(
            "GET /api/signalling HTTP/1.1\r\nHost: plausch.example:8080\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{origin}\r\n"
        );
        socket.write_all(text.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        socket.read_exact(&mut head).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&head), format!("HTTP/1.1 {status}"), "{origin}");
    }
}
