//! Datagrams that the kernel threw away because the socket that they were for was full: whose fault a loss is.

use super::Process;
use std::collections::HashSet;
use std::fs;

impl Process {
    /// Of all UDP sockets that the process has now; `None` where we may not see that.
    pub(crate) fn dropped_datagrams(&self) -> Option<u64> {
        let folder = format!("/proc/{}", self.pid);
        let own: HashSet<u64> = fs::read_dir(format!("{folder}/fd"))
            .ok()?
            .flatten()
            .filter_map(|entry| inode(fs::read_link(entry.path()).ok()?.to_str()?))
            .collect();
        // The tables are those of the network namespace that the process is in.
        let tables = ["udp", "udp6"].map(|table| fs::read_to_string(format!("{folder}/net/{table}")));
        Some(tables.iter().flatten().map(|table| drops(table, &own)).sum())
    }
}

/// `socket:[12345]`
fn inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The last column of a table like /proc/net/udp, of these sockets.
fn drops(table: &str, inodes: &HashSet<u64>) -> u64 {
    let sockets = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        Some((fields.get(9)?.parse().ok()?, fields.last()?.parse::<u64>().ok()?))
    });
    sockets.filter(|(inode, _)| inodes.contains(inode)).map(|(_, drops)| drops).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn what_a_full_socket_loses_is_counted() {
        let (full, sender) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let before = Process::own().dropped_datagrams().unwrap();
        for _ in 0..20_000 {
            let _ = sender.send_to(&[0; 1_200], full.local_addr().unwrap());
        }
        let lost = Process::own().dropped_datagrams().unwrap() - before;
        // 20 000 × 1200 bytes fit into no receive buffer of any default.
        assert!(lost > 1_000, "{lost}");
    }

    #[test]
    fn other_sockets_do_not_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
            1: 0100007F:1F90 00000000:0000 07 00000000:00000000 00:00000000 00000000  0 0 111 2 0000000000000000 5\n\
            2: 0100007F:1F91 00000000:0000 07 00000000:00000000 00:00000000 00000000  0 0 222 2 0000000000000000 70\n";
        assert_eq!(drops(table, &HashSet::from([111])), 5);
        assert_eq!(drops(table, &HashSet::from([111, 222])), 75);
        assert_eq!(inode("socket:[111]"), Some(111));
        assert_eq!(inode("/dev/null"), None);
    }
}
