//! The running program: its sockets and tasks.

use crate::admission::door::Door;
use crate::config::Config;
use crate::http::certificate::CertificateStore;
use crate::http::connections::{Connections, Guard};
use crate::http::edge::{self, EdgeAcceptor};
use crate::http::{self, assets};
use crate::relays::{link, memory};
use crate::service::Service;
use crate::site::Site;
use crate::state_dir::StateDir;
use anyhow::{Context, Result, bail};
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use plausch_daemon::descriptors;
use plausch_link::{Identity, Listener};
use socket2::{Domain, Socket, Type};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

const TICK: Duration = Duration::from_millis(500);
/// A client has this long for the head of its first request, and of each one after it.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const BACKLOG: i32 = 1024;
/// Between two looks at the certificate's files.
const CERTIFICATE_INTERVAL: Duration = Duration::from_secs(60);

/// Control with all its sockets open. Dropping it ends everything.
pub struct Server {
    pub service: Arc<Service>,
    http: Vec<SocketAddr>,
    https: Vec<SocketAddr>,
    link: SocketAddr,
    reload: Arc<Notify>,
    tasks: JoinSet<Result<()>>,
}

impl Server {
    /// Opens all sockets, and begins to serve. Every room is open.
    pub async fn start(config: Config) -> Result<Self> {
        Self::start_with(config, Door::open()).await
    }

    /// As [`Server::start`], with a door that decides who may enter.
    pub async fn start_with(config: Config, door: Door) -> Result<Self> {
        let state = StateDir::create(config.state_dir.clone())?;
        let secret = state.control_secret()?;
        let plain = bind_all(&config.http, "http.listen or PLAUSCH_HTTP_PORT")?;
        let secure = bind_all(&config.https, "https.listen")?;
        let identity = Identity::load_or_create(&state.path().join("link"))?;
        let listener = Listener::bind(&identity, config.link)?;
        let link = listener.local_addr()?;
        let certificates = CertificateStore::load(&config.certificate, &state)?;
        let tls = RustlsConfig::from_config(certificates.tls());
        let (edge, edge_socket) = edge::listen(state.path())?;
        let connections = Connections::new(descriptors::raise_limit().unwrap_or(1024));
        let proxies = config.proxies.clone();
        let site = Arc::new(Site::new(&config.site, &assets::index()?)?);
        for gap in &site.pages.gaps {
            tracing::warn!("the page {gap}; fill it in, the page shows a mark there");
        }
        let service = Arc::new(Service::new(config, door, &secret));
        let relays = memory::read(&state);
        service.expect_relays(relays.iter().cloned());
        service.set_certificate(certificates.present().clone());
        let uid = edge_socket.uid;
        service.set_edge_socket(edge_socket);
        service.metrics.watch_connections(connections.clone());

        let mut tasks = JoinSet::new();
        let mut server = axum_server::from_unix(edge)?
            .acceptor(EdgeAcceptor { connections: connections.clone(), uid, timeout: HEADER_TIMEOUT })
            .first_request_timeout(HEADER_TIMEOUT);
        set_timeouts(server.http_builder());
        let app = http::router(service.clone(), site.clone(), true).into_make_service();
        tasks.spawn(async move { server.serve(app).await.context("the HTTP server for the relay's edge failed") });
        let mut http_addresses = Vec::new();
        for socket in plain {
            http_addresses.push(socket.local_addr()?);
            let mut server = axum_server::from_tcp(socket)?
                .acceptor(Guard::for_plain(connections.clone(), proxies.clone()))
                .first_request_timeout(HEADER_TIMEOUT);
            set_timeouts(server.http_builder());
            let app = http::router(service.clone(), site.clone(), false).into_make_service();
            tasks.spawn(async move { server.serve(app).await.context("the HTTP server failed") });
        }
        let mut https_addresses = Vec::new();
        for socket in secure {
            https_addresses.push(socket.local_addr()?);
            let mut server = axum_server::from_tcp(socket)?
                .acceptor(
                    RustlsAcceptor::new(tls.clone()).acceptor(Guard::for_tls(connections.clone(), proxies.clone())),
                )
                .first_request_timeout(HEADER_TIMEOUT);
            set_timeouts(server.http_builder());
            let app = http::router(service.clone(), site.clone(), true).into_make_service();
            tasks.spawn(async move { server.serve(app).await.context("the HTTPS server failed") });
        }
        service.set_ports(http_addresses.iter().chain(&https_addresses).map(SocketAddr::port).collect());
        let links = link::run(service.clone(), listener);
        tasks.spawn(async move {
            links.await;
            bail!("the listener for relays ended")
        });
        let memory = memory::keep(service.clone(), state.clone(), relays);
        tasks.spawn(async move {
            memory.await;
            bail!("nobody keeps the names of relays any more")
        });
        let reload = Arc::new(Notify::new());
        tasks.spawn(watch_certificate(service.clone(), certificates, tls, reload.clone()));
        let ticking = service.clone();
        tasks.spawn(async move {
            let mut ticks = interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                ticking.tick();
            }
        });
        Ok(Self { service, http: http_addresses, https: https_addresses, link, reload, tasks })
    }

    /// Addresses of plain HTTP, with the real ports.
    pub fn http(&self) -> &[SocketAddr] {
        &self.http
    }

    pub fn https(&self) -> &[SocketAddr] {
        &self.https
    }

    /// Where a relay dials.
    pub fn link(&self) -> SocketAddr {
        self.link
    }

    /// Looks at the certificate's files now instead of within a minute.
    pub fn reload_certificate(&self) {
        self.reload.notify_one();
    }

    /// Runs until something that must not end does.
    pub async fn run(&mut self) -> Result<()> {
        match self.tasks.join_next().await {
            Some(Ok(result)) => result,
            Some(Err(error)) => Err(error).context("a part of the server failed"),
            None => Ok(()),
        }
    }

    /// Ends the link at once, so that the relay need not wait for a timeout before it dials the next control.
    pub async fn stop(mut self) {
        self.service.stop();
        // The goodbye on the link is one packet.
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.tasks.shutdown().await;
    }
}

/// Takes a renewed certificate for HTTPS and for the relay's edge. Connections that are open go on with the old one.
async fn watch_certificate(
    service: Arc<Service>,
    mut certificates: CertificateStore,
    tls: RustlsConfig,
    reload: Arc<Notify>,
) -> Result<()> {
    let mut trouble = String::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep(CERTIFICATE_INTERVAL) => {}
            () = reload.notified() => trouble.clear(),
        }
        match certificates.reload() {
            Ok(true) => {
                tls.reload_from_config(certificates.tls());
                service.set_certificate(certificates.present().clone());
                tracing::info!("the new certificate is in use");
            }
            Ok(false) => {}
            Err(error) => {
                // Once, not every minute; who renews certificates may be between its two files.
                let text = format!("{error:#}");
                if text != trouble {
                    tracing::warn!("the certificate stays the old one: {text}");
                    trouble = text;
                }
                continue;
            }
        }
        trouble.clear();
    }
}

fn set_timeouts(builder: &mut hyper_util::server::conn::auto::Builder<hyper_util::rt::TokioExecutor>) {
    builder.http1().timer(hyper_util::rt::TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
}

/// Binds every address. Where a machine has no IPv6, its loopback address is left out with a line in the log.
fn bind_all(addresses: &[SocketAddr], setting: &str) -> Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    let mut without = None;
    for address in addresses {
        match bind(*address) {
            Ok(listener) => listeners.push(listener),
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                bail!("TCP {address} is in use by another program; stop that, or set another port in {setting}")
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                bail!(
                    "this user may not use TCP {address}; use a port above 1023 in {setting}, or give the right to it"
                )
            }
            Err(error)
                if address.is_ipv6()
                    && address.ip().is_loopback()
                    && matches!(error.kind(), ErrorKind::AddrNotAvailable | ErrorKind::Unsupported) =>
            {
                without = Some(*address);
            }
            Err(error) => bail!("cannot use TCP {address}: {error}; correct {setting}"),
        }
    }
    if let Some(address) = without {
        if listeners.is_empty() {
            bail!("this machine has no IPv6, so {address} cannot be used; correct {setting}");
        }
        tracing::info!("this machine has no IPv6, so {address} is left out");
    }
    Ok(listeners)
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).map_err(|error| {
        // A kernel without IPv6 says "address family not supported", which has no kind of its own.
        match address.is_ipv6() {
            true => std::io::Error::new(ErrorKind::Unsupported, error),
            false => error,
        }
    })?;
    if address.is_ipv6() {
        // So that 0.0.0.0 and [::] can both be listened on.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit it. Otherwise `welcome` would wait for the delayed acknowledgement of what went before.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
