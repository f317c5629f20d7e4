//! Debian's Janus, configured as its makers advise for much media on few CPUs.
//!
//! `event_loops` lets a fixed number of threads carry all PeerConnections, one for each CPU that it may use; ICE Lite
//! saves it all connectivity checks of its own; plugins, transports and event handlers that are not used are not
//! loaded, and nothing is logged but errors.

use super::{Folder, Server, ServerError, installed, launch, ready};
use crate::ground::Process;
use crate::ground::lab::Ground;
use plausch_client::{Entry, Trust, speaks_janus};
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM: &str = "/usr/bin/janus";
const REMEDY: &str = "install Debian's package with scripts/bench-peers";
const PORT: u16 = 18_188;
/// Media ports, one for each PeerConnection; below those that the kernel gives away by itself.
const MEDIA_PORTS: &str = "20000-32000";

/// Whether it is installed.
///
/// # Errors
/// When it is not: what to do.
pub(crate) fn check() -> Result<(), ServerError> {
    match Path::new(PROGRAM).is_file() && library().is_some() {
        true => Ok(()),
        false => Err(ServerError::NotThere { name: "janus", path: PathBuf::from(PROGRAM), remedy: REMEDY }),
    }
}

/// Starts it on the server's CPUs and waits until it answers.
///
/// # Errors
/// Outside of a lab, and when it is not installed or does not start.
pub(crate) async fn start(ground: &Ground) -> Result<Server, ServerError> {
    let address = ground.server_address();
    if address.is_loopback() {
        return Err(ServerError::NeedsLab);
    }
    let mut folder = Folder::make()?;
    let mut command = installed(ground, "janus", PathBuf::from(PROGRAM), REMEDY)?;
    let library = library().ok_or_else(|| ServerError::NotThere {
        name: "janus",
        path: PathBuf::from("/usr/lib/*/janus/plugins"),
        remedy: REMEDY,
    })?;
    folder.write("janus.jcfg", &core_config(&library, &folder.path, address, ground.server_cpus().len()))?;
    folder.write("janus.transport.websockets.jcfg", &websocket_config(address))?;
    folder.write("janus.plugin.videoroom.jcfg", "general: {\n\tevents = false\n}\n")?;
    command.arg("--config").arg(folder.path.join("janus.jcfg"));
    command.arg("--configs-folder").arg(&folder.path);
    let mut children = [("janus", launch(&folder, "janus", command)?)];
    let url = format!("http://{address}:{PORT}");
    ready(&mut folder, &mut children, || speaks_janus(&url)).await?;
    let [(_, child)] = children;
    Ok(Server {
        url,
        entry: Entry::Janus,
        trust: Trust::System,
        metrics: None,
        name: version().unwrap_or_else(|| "Janus".to_owned()),
        processes: vec![Process { pid: child.id() }],
        children: vec![child],
        folder,
    })
}

/// `/usr/lib/x86_64-linux-gnu/janus` or that of another architecture.
fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path().join("janus"));
    folders.into_iter().find(|folder| folder.join("plugins").is_dir())
}

/// `Janus 1.1.2`
fn version() -> Option<String> {
    let output = Command::new(PROGRAM).arg("--help").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    parse_version(&text)
}

/// `Janus version: 1102 (1.1.2)`
fn parse_version(text: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix("Janus version:"))?;
    let (_, version) = line.split_once('(')?;
    Some(format!("Janus {}", version.split(')').next()?))
}

/// All loadable files of a kind but one, as a list for `disable`.
fn all_but(folder: &Path, kept: &str) -> String {
    let entries = fs::read_dir(folder).map(|entries| entries.flatten().collect::<Vec<_>>()).unwrap_or_default();
    let names = entries.iter().filter_map(|entry| entry.file_name().into_string().ok());
    let mut others: Vec<String> = names.filter(|name| name.ends_with(".so") && name != kept).collect();
    others.sort();
    others.join(",")
}

fn core_config(library: &Path, folder: &Path, address: Ipv4Addr, event_loops: usize) -> String {
    let (lib, own) = (library.display(), folder.display());
    let plugins = all_but(&library.join("plugins"), "libjanus_videoroom.so");
    let transports = all_but(&library.join("transports"), "libjanus_websockets.so");
    let loggers = all_but(&library.join("loggers"), "");
    format!(
        "general: {{\n\
         \tconfigs_folder = \"{own}\"\n\
         \tplugins_folder = \"{lib}/plugins\"\n\
         \ttransports_folder = \"{lib}/transports\"\n\
         \tevents_folder = \"{lib}/events\"\n\
         \tloggers_folder = \"{lib}/loggers\"\n\
         \tdebug_level = 2\n\
         \tdebug_colors = false\n\
         \tserver_name = \"plausch-bench\"\n\
         \tevent_loops = {event_loops}\n\
         }}\n\
         media: {{\n\
         \tipv6 = false\n\
         \trtp_port_range = \"{MEDIA_PORTS}\"\n\
         }}\n\
         nat: {{\n\
         \tnice_debug = false\n\
         \tice_lite = true\n\
         \tice_enforce_list = \"{address}\"\n\
         }}\n\
         plugins: {{\n\
         \tdisable = \"{plugins}\"\n\
         }}\n\
         transports: {{\n\
         \tdisable = \"{transports}\"\n\
         }}\n\
         loggers: {{\n\
         \tdisable = \"{loggers}\"\n\
         }}\n\
         events: {{\n\
         \tbroadcast = false\n\
         }}\n"
    )
}

fn websocket_config(address: Ipv4Addr) -> String {
    format!(
        "general: {{\n\
         \tjson = \"compact\"\n\
         \tws = true\n\
         \tws_port = {PORT}\n\
         \tws_ip = \"{address}\"\n\
         \twss = false\n\
         \tws_logging = \"none\"\n\
         }}\n\
         admin: {{\n\
         \tadmin_ws = false\n\
         \tadmin_wss = false\n\
         }}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_loads_only_what_is_used_and_listens_in_the_lab_only() {
        let library = std::env::temp_dir().join(format!("plausch-bench-janus-{}", std::process::id()));
        for file in ["plugins/libjanus_videoroom.so", "plugins/libjanus_sip.so", "plugins/libjanus_sip.so.1"] {
            let path = library.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let address = Ipv4Addr::new(10, 213, 77, 2);
        let core = core_config(&library, Path::new("/tmp/x"), address, 1);
        fs::remove_dir_all(&library).unwrap();
        assert!(core.contains("\tevent_loops = 1\n") && core.contains("\tice_lite = true\n"), "{core}");
        assert!(core.contains("plugins: {\n\tdisable = \"libjanus_sip.so\"\n}"), "{core}");
        assert!(core.contains("ice_enforce_list = \"10.213.77.2\"") && !core.contains("stun"), "{core}");
        assert!(websocket_config(address).contains("ws_ip = \"10.213.77.2\""));
        assert_eq!(core.matches('{').count(), core.matches('}').count());
    }

    #[test]
    fn versions_are_read() {
        let text = "Janus version: 1102 (1.1.2)\nJanus commit: not-a-git-repo\n";
        assert_eq!(parse_version(text).as_deref(), Some("Janus 1.1.2"));
        assert_eq!(parse_version("something else"), None);
    }
}
