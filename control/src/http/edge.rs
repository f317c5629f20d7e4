//! Where the relay's edge hands over HTTP: a Unix socket in the state folder. No other user of this machine can answer in
//! control's place, or speak to it as the edge, also not while control is away: the socket is this user's from the moment
//! that it has a name, and both sides look at who the other is.

use super::connections::{Connection, Connections, Guarded};
use super::proxy_protocol::read_header;
use anyhow::{Context, Result};
use axum::extract::ConnectInfo;
use axum_server::accept::Accept;
use plausch_daemon::prefix::Networks;
use plausch_relay_api::EdgeSocket;
use socket2::{Domain, SockAddr, Socket, Type};
use std::fs::{self, File, Permissions};
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::timeout;
use tower_http::add_extension::AddExtension;

const NAME: &str = "edge.sock";
const BACKLOG: i32 = 1024;
/// The relay may run as root, for the sake of its ports.
const ROOT: u32 = 0;

/// Listens in this folder, in the place of whoever did before, and says what the relay must know.
pub fn listen(folder: &Path) -> Result<(UnixListener, EdgeSocket)> {
    bind(folder).with_context(|| {
        let path = folder.join(NAME);
        format!("cannot make the socket {}; check the folder's rights, and that its path is short", path.display())
    })
}

fn bind(folder: &Path) -> io::Result<(UnixListener, EdgeSocket)> {
    let folder = fs::canonicalize(folder)?;
    let (partial, path) = (folder.join(format!(".{NAME}.{}", std::process::id())), folder.join(NAME));
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Before it has a name: Linux makes the file with the rights of the socket.
    File::from(OwnedFd::from(socket.try_clone()?)).set_permissions(Permissions::from_mode(0o600))?;
    socket.bind(&SockAddr::unix(&partial)?)?;
    socket.listen(BACKLOG)?;
    let uid = fs::symlink_metadata(&partial)?.uid();
    // At once: whoever dials finds the one before or this one.
    fs::rename(&partial, &path)?;
    Ok((OwnedFd::from(socket).into(), EdgeSocket { path, uid }))
}

/// Takes connections of the edge, each begun by a PROXY protocol header, and tells the routes of its client.
#[derive(Clone)]
pub struct EdgeAcceptor {
    pub connections: Arc<Connections>,
    /// The user id of this process.
    pub uid: u32,
    /// For the whole header.
    pub timeout: Duration,
}

impl<S: Send + 'static> Accept<UnixStream, S> for EdgeAcceptor {
    type Stream = Guarded<UnixStream>;
    type Service = AddExtension<AddExtension<S, Connection>, ConnectInfo<SocketAddr>>;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, mut stream: UnixStream, service: S) -> Self::Future {
        let Self { connections, uid, timeout: limit } = self.clone();
        Box::pin(async move {
            let peer = stream.peer_cred()?.uid();
            if peer != uid && peer != ROOT {
                tracing::warn!("user {peer} of this machine tried to speak for the relay's edge");
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            let source = timeout(limit, read_header(&mut stream)).await.map_err(io::Error::from)??;
            // Without one the edge speaks for itself.
            let client = source.unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 0).into());
            let (stream, connection) = connections.guard(stream, Networks::of(client.ip()))?;
            Ok((stream, AddExtension::new(AddExtension::new(service, connection), ConnectInfo(client))))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream as Stream;

    #[test]
    fn the_socket_is_this_user_s_alone_and_takes_the_place_of_the_one_before() {
        let folder = std::env::temp_dir().join(format!("plausch-edge-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
        let (_before, first) = listen(&folder).unwrap();
        let metadata = fs::symlink_metadata(&first.path).unwrap();
        assert_eq!((metadata.mode() & 0o777, metadata.uid()), (0o600, first.uid));
        let (after, second) = listen(&folder).unwrap();
        assert_eq!(first, second);
        let _dialled = Stream::connect(&second.path).unwrap();
        after.accept().unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing else is left");
        fs::remove_dir_all(&folder).unwrap();
    }
}
