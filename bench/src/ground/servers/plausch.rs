//! Our own two processes, from the folder of this program.

use super::{Driver, Folder, Server, ServerError, installed, launch, ready};
use crate::ground::Process;
use crate::ground::lab::{DEVICE, Ground};
use plausch_client::{Entry, Trust, is_healthy};
use std::net::Ipv4Addr;

/// In a lab nobody else has any; elsewhere a run that finds one taken is told so by the process itself.
const WEB_PORT: u16 = 18_443;
const LINK_PORT: u16 = 18_444;
const MEDIA_PORT: u16 = 18_445;
const METRICS_PORT: u16 = 18_446;
/// All clients have one address, which may have a quarter of these.
const SOCKETS: u32 = 16_000;
const REMEDY: &str = "run `cargo build --release -p plausch-relay -p plausch-control -p plausch-bench` first";

/// Starts control and relay, both on the server's CPUs, and waits until calls can be made. Control speaks HTTPS with a
/// certificate of its own, as it must beyond loopback.
///
/// # Errors
/// When a process is missing or does not start.
pub(crate) async fn start(ground: &Ground, driver: Driver) -> Result<Server, ServerError> {
    let mut folder = Folder::make()?;
    let programs = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.to_owned())).unwrap_or_default();
    let address = ground.server_address();
    let mut children = Vec::new();
    let configurations = [
        ("plausch-control", control_config(address)),
        ("plausch-relay", relay_config(address, ground.server_cpus(), driver)),
    ];
    for (name, text) in configurations {
        let file = folder.write(&format!("{name}.toml"), &text)?;
        let mut command = installed(ground, name, programs.join(name), REMEDY)?;
        command.arg("--config").arg(file).env("PLAUSCH_STATE_DIR", &folder.path);
        // Those of the operator's own service are not meant.
        for variable in ["HTTP_PORT", "LINK_PORT", "MEDIA_PORT", "METRICS_PORT"] {
            command.env_remove(format!("PLAUSCH_{variable}"));
        }
        children.push((name, launch(&folder, name, command)?));
    }
    let url = format!("https://{address}:{WEB_PORT}");
    let trust = Trust::File(folder.path.join("https.pem"));
    let answers = || async { is_healthy(&url, &trust).await.unwrap_or(false) };
    ready(&mut folder, &mut children, answers).await?;
    let mut processes: Vec<Process> = children.iter().map(|(_, child)| Process { pid: child.id() }).collect();
    // The relay carries media.
    processes.reverse();
    Ok(Server {
        url,
        entry: Entry::Native,
        trust,
        metrics: Some(format!("http://{address}:{METRICS_PORT}")),
        name: format!("Plausch {}", env!("CARGO_PKG_VERSION")),
        processes,
        children: children.into_iter().map(|(_, child)| child).collect(),
        folder,
    })
}

fn control_config(address: Ipv4Addr) -> String {
    format!(
        "[http]\nlisten = []\n\
         [https]\nlisten = [\"{address}:{WEB_PORT}\"]\nnames = [\"{address}\"]\n\
         [link]\nlisten = \"127.0.0.1:{LINK_PORT}\"\n\
         [limits]\nsockets = {SOCKETS}\nparticipants_per_room = 1024\njoin_burst = 10000\njoins_per_minute = 100000\n\
         [log]\nlevel = \"warn\"\n"
    )
}

fn relay_config(address: Ipv4Addr, cpus: &[usize], driver: Driver) -> String {
    format!(
        "[media]\ncpus = {cpus:?}\nfirst_port = {MEDIA_PORT}\naddresses = [\"{address}\"]\n\
         driver = \"{driver}\"\ndevice = \"{DEVICE}\"\n\
         [link]\ncontrol = \"127.0.0.1:{LINK_PORT}\"\n\
         [metrics]\nlisten = \"{address}:{METRICS_PORT}\"\n\
         [log]\nlevel = \"warn\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_name_cpus_and_address() {
        let relay = relay_config(Ipv4Addr::new(10, 0, 0, 2), &[2, 3], Driver::Xdp);
        assert!(relay.contains("cpus = [2, 3]\n") && relay.contains("addresses = [\"10.0.0.2\"]\n"), "{relay}");
        assert!(relay.contains("driver = \"xdp\"\n"), "{relay}");
        let control = control_config(Ipv4Addr::new(10, 0, 0, 2));
        assert!(control.contains("listen = [\"10.0.0.2:18443\"]"), "{control}");
    }
}
