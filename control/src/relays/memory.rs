//! Which relays there were, in the state folder. A control that starts again learns its rooms from them, and begins no
//! room anew that may be on one that has not dialled yet.

use super::placement::RelayId;
use crate::service::Service;
use crate::state_dir::StateDir;
use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

const FILE: &str = "relays";
/// Bytes of the file that are read: a few hundred names.
const FILE_BYTES: usize = 64 * 1024;

/// The relays of the control before, one a line. A file that cannot be read is as good as none: a join may come too
/// early then, and is tried again.
pub fn read(state: &StateDir) -> BTreeSet<RelayId> {
    let content = fs::read(state.path().join(FILE)).unwrap_or_default();
    let text = String::from_utf8_lossy(&content[..content.len().min(FILE_BYTES)]).into_owned();
    text.lines().filter(|line| !line.is_empty()).filter_map(RelayId::new).collect()
}

/// Keeps the file up to date, for ever.
pub async fn keep(service: Arc<Service>, state: StateDir, mut written: BTreeSet<RelayId>) {
    let mut changes = service.relay_changes();
    let mut trouble = false;
    while changes.changed().await.is_ok() {
        let relays = service.relays();
        if relays == written {
            continue;
        }
        let lines: String = relays.iter().map(|relay| format!("{relay}\n")).collect();
        match state.write(FILE, lines.as_bytes()) {
            Ok(()) => (written, trouble) = (relays, false),
            Err(error) if !trouble => {
                tracing::warn!("{error:#}; after a restart a call may be cut that is on a relay which dials late");
                trouble = true;
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_anything_is_read_as_far_as_it_goes() {
        let path = std::env::temp_dir().join(format!("plausch-relay-memory-{}", std::process::id()));
        let state = StateDir::create(path.clone()).unwrap();
        assert_eq!(read(&state), BTreeSet::new());
        state.write(FILE, b"b:1\n\na:1\ntwo words\n\xff\xfe\na:1\n").unwrap();
        assert_eq!(read(&state).iter().map(RelayId::to_string).collect::<Vec<_>>(), ["a:1", "b:1"]);
        fs::remove_dir_all(path).unwrap();
    }
}
