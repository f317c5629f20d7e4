//! The program in the kernel that gives an AF_XDP socket the datagrams that are for the shards' ports, and leaves all
//! else to the kernel: written instruction by instruction (RFC 9669), as it is fifty of them and then needs no compiler.

use super::frame::{ETHERNET_BYTES, ETHERTYPE_IPV4, ETHERTYPE_IPV6, PROTOCOL_UDP};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::mem::size_of;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

/// bpf(2): commands, types and values that `libc` has no names for.
const BPF_MAP_CREATE: i32 = 0;
const BPF_MAP_UPDATE_ELEM: i32 = 2;
const BPF_PROG_LOAD: i32 = 5;
const BPF_LINK_CREATE: i32 = 28;
const BPF_MAP_TYPE_ARRAY: u32 = 2;
const BPF_MAP_TYPE_XSKMAP: u32 = 17;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;
/// Helpers `bpf_map_lookup_elem` and `bpf_redirect_map`.
const MAP_LOOKUP: i32 = 1;
const REDIRECT_MAP: i32 = 51;
const XDP_PASS: i32 = 2;

/// Where `struct xdp_md` has the queue on which the frame came.
const RECEIVE_QUEUE: i16 = 16;

/// Queues of a device that can have a shard.
const QUEUES: u32 = 256;

/// One eBPF instruction: opcode, destination and source registers, offset, immediate.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Instruction {
    opcode: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

// Opcodes as used here (RFC 9669, sections 4 and 5).
const LOAD_BYTE: u8 = 0x71;
const LOAD_HALF: u8 = 0x69;
const LOAD_WORD: u8 = 0x61;
const LOAD_IMMEDIATE_64: u8 = 0x18;
const MOVE: u8 = 0xbf;
const MOVE_IMMEDIATE: u8 = 0xb7;
const STORE_WORD: u8 = 0x63;
const ADD_IMMEDIATE: u8 = 0x07;
const AND_IMMEDIATE: u8 = 0x57;
const JUMP: u8 = 0x05;
const JUMP_GREATER: u8 = 0x2d;
const JUMP_IF_ZERO: u8 = 0x15;
const JUMP_NOT_SAME: u8 = 0x5d;
/// On the lower 32 bits, so that an immediate with its highest bit set is not taken for a negative number.
const JUMP_EQUAL_32: u8 = 0x16;
const JUMP_NOT_EQUAL_32: u8 = 0x56;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
/// As the source register of `LOAD_IMMEDIATE_64`: the immediate is the descriptor of a map.
const MAP_DESCRIPTOR: u8 = 1;
/// The register with the end of the stack.
const FRAME_POINTER: u8 = 10;

/// Where a jump goes, before it is known how far that is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Label {
    Pass,
    Ipv6,
    Ipv4Port,
    Port,
    Redirect,
    /// Past the comparison with the n-th IPv6 address.
    NextAddress(usize),
    /// Where a port's datagrams are redirected from this queue only.
    Queue(u32),
}

#[derive(Default)]
struct Assembler {
    instructions: Vec<Instruction>,
    jumps: Vec<(usize, Label)>,
    labels: Vec<(Label, usize)>,
}

impl Assembler {
    fn add(&mut self, opcode: u8, destination: u8, source: u8, offset: i16, immediate: i32) {
        self.instructions.push(Instruction { opcode, registers: source << 4 | destination, offset, immediate });
    }

    fn jump(&mut self, opcode: u8, destination: u8, source: u8, immediate: i32, to: Label) {
        self.jumps.push((self.instructions.len(), to));
        self.add(opcode, destination, source, 0, immediate);
    }

    fn label(&mut self, label: Label) {
        self.labels.push((label, self.instructions.len()));
    }

    fn finish(mut self) -> Vec<Instruction> {
        for (at, to) in self.jumps {
            let target = self.labels.iter().find(|(label, _)| *label == to).map_or(at, |(_, target)| *target);
            self.instructions[at].offset = (target as i64 - at as i64 - 1) as i16;
        }
        self.instructions
    }
}

/// As a little-endian CPU loads what stands in network order in a packet.
fn loaded_half(value: u16) -> i32 {
    i32::from(value.swap_bytes())
}

fn loaded_word(bytes: [u8; 4]) -> i32 {
    i32::from_ne_bytes(bytes)
}

/// Which datagrams are for the sockets of a device's queues.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Steering {
    addresses: BTreeSet<IpAddr>,
    /// Ports with the queue whose socket has them; `None`: every queue's has.
    ports: BTreeMap<u16, Option<u32>>,
}

impl Steering {
    /// `shards` are the addresses of the sockets of each queue's shard. A port that several have is for all of them.
    pub fn new<'a>(shards: impl IntoIterator<Item = &'a [SocketAddr]>) -> Self {
        let mut steering = Self::default();
        for (queue, addresses) in (0..).zip(shards) {
            for address in addresses {
                steering.addresses.insert(address.ip());
                let owner = steering.ports.entry(address.port()).or_insert(Some(queue));
                if *owner != Some(queue) {
                    *owner = None;
                }
            }
        }
        steering
    }
}

/// Redirects UDP over IPv4 without options and IPv6 without extension headers, whole and to one of the addresses and ports,
/// to the socket in `sockets` of the queue on which it came. What came on another queue than its shard's is passed on, and
/// so reaches that shard's socket in the kernel; `bpf_redirect_map` passes on what has no socket. `relay_ports` has what
/// [`PortOwners`] says of the ports that come and go.
fn assemble(steering: &Steering, sockets: RawFd, relay_ports: RawFd) -> Vec<Instruction> {
    let ips = &steering.addresses;
    let ip = ETHERNET_BYTES as i16;
    let mut code = Assembler::default();
    // r6: context; r2: first byte of the frame; r3: the byte after its last.
    code.add(MOVE, 6, 1, 0, 0);
    code.add(LOAD_WORD, 2, 6, 0, 0);
    code.add(LOAD_WORD, 3, 6, 4, 0);
    code.add(MOVE, 4, 2, 0, 0);
    code.add(ADD_IMMEDIATE, 4, 0, 0, i32::from(ip) + 20 + 8);
    code.jump(JUMP_GREATER, 4, 3, 0, Label::Pass);
    code.add(LOAD_HALF, 5, 2, 12, 0);
    code.jump(JUMP_NOT_EQUAL_32, 5, 0, loaded_half(ETHERTYPE_IPV4), Label::Ipv6);
    code.add(LOAD_BYTE, 4, 2, ip, 0);
    code.jump(JUMP_NOT_EQUAL_32, 4, 0, 0x45, Label::Pass);
    code.add(LOAD_BYTE, 4, 2, ip + 9, 0);
    code.jump(JUMP_NOT_EQUAL_32, 4, 0, PROTOCOL_UDP.into(), Label::Pass);
    // "More fragments" and the offset.
    code.add(LOAD_HALF, 4, 2, ip + 6, 0);
    code.add(AND_IMMEDIATE, 4, 0, 0, loaded_half(0x3fff));
    code.jump(JUMP_NOT_EQUAL_32, 4, 0, 0, Label::Pass);
    code.add(LOAD_WORD, 4, 2, ip + 16, 0);
    for address in ips {
        if let IpAddr::V4(address) = address {
            code.jump(JUMP_EQUAL_32, 4, 0, loaded_word(address.octets()), Label::Ipv4Port);
        }
    }
    code.jump(JUMP, 0, 0, 0, Label::Pass);
    code.label(Label::Ipv4Port);
    code.add(LOAD_HALF, 4, 2, ip + 20 + 2, 0);
    code.jump(JUMP, 0, 0, 0, Label::Port);

    code.label(Label::Ipv6);
    code.jump(JUMP_NOT_EQUAL_32, 5, 0, loaded_half(ETHERTYPE_IPV6), Label::Pass);
    code.add(MOVE, 4, 2, 0, 0);
    code.add(ADD_IMMEDIATE, 4, 0, 0, i32::from(ip) + 40 + 8);
    code.jump(JUMP_GREATER, 4, 3, 0, Label::Pass);
    code.add(LOAD_BYTE, 4, 2, ip + 6, 0);
    code.jump(JUMP_NOT_EQUAL_32, 4, 0, PROTOCOL_UDP.into(), Label::Pass);
    code.add(LOAD_HALF, 4, 2, ip + 40 + 2, 0);
    for (index, address) in ips.iter().enumerate() {
        let IpAddr::V6(address) = address else { continue };
        for (word, bytes) in address.octets().as_chunks().0.iter().enumerate() {
            code.add(LOAD_WORD, 0, 2, ip + 24 + 4 * word as i16, 0);
            code.jump(JUMP_NOT_EQUAL_32, 0, 0, loaded_word(*bytes), Label::NextAddress(index));
        }
        code.jump(JUMP, 0, 0, 0, Label::Port);
        code.label(Label::NextAddress(index));
    }
    code.jump(JUMP, 0, 0, 0, Label::Pass);

    code.label(Label::Port);
    for (port, queue) in &steering.ports {
        code.jump(JUMP_EQUAL_32, 4, 0, loaded_half(*port), queue.map_or(Label::Redirect, Label::Queue));
    }
    code.add(STORE_WORD, FRAME_POINTER, 4, -4, 0);
    code.add(MOVE, 2, FRAME_POINTER, 0, 0);
    code.add(ADD_IMMEDIATE, 2, 0, 0, -4);
    code.add(LOAD_IMMEDIATE_64, 1, MAP_DESCRIPTOR, 0, relay_ports);
    code.add(0, 0, 0, 0, 0);
    code.add(CALL, 0, 0, 0, MAP_LOOKUP);
    code.jump(JUMP_IF_ZERO, 0, 0, 0, Label::Pass);
    code.add(LOAD_WORD, 0, 0, 0, 0);
    code.add(LOAD_WORD, 1, 6, RECEIVE_QUEUE, 0);
    code.add(ADD_IMMEDIATE, 1, 0, 0, 1);
    code.jump(JUMP_NOT_SAME, 0, 1, 0, Label::Pass);
    code.jump(JUMP, 0, 0, 0, Label::Redirect);
    let queues: BTreeSet<u32> = steering.ports.values().flatten().copied().collect();
    for queue in queues {
        code.label(Label::Queue(queue));
        code.add(LOAD_WORD, 0, 6, RECEIVE_QUEUE, 0);
        code.jump(JUMP_EQUAL_32, 0, 0, queue as i32, Label::Redirect);
        code.jump(JUMP, 0, 0, 0, Label::Pass);
    }

    code.label(Label::Redirect);
    code.add(LOAD_IMMEDIATE_64, 1, MAP_DESCRIPTOR, 0, sockets);
    code.add(0, 0, 0, 0, 0);
    code.add(LOAD_WORD, 2, 6, RECEIVE_QUEUE, 0);
    code.add(MOVE_IMMEDIATE, 3, 0, 0, XDP_PASS);
    code.add(CALL, 0, 0, 0, REDIRECT_MAP);
    code.add(EXIT, 0, 0, 0, 0);

    code.label(Label::Pass);
    code.add(MOVE_IMMEDIATE, 0, 0, 0, XDP_PASS);
    code.add(EXIT, 0, 0, 0, 0);
    code.finish()
}

/// The loaded program on one device, and the map of its sockets. When the last owner is gone, the kernel takes the
/// program off the device.
#[derive(Debug)]
pub(super) struct Redirect {
    sockets: OwnedFd,
    relay_ports: Mutex<PortOwners>,
    _link: OwnedFd,
}

/// Which shard has a relay port, of those that are open on any address: in the kernel an array by port of the queue plus
/// one. A port that shards have on several addresses is 0, as all others are, and the kernel's.
#[derive(Debug)]
struct PortOwners {
    map: OwnedFd,
    /// The queues of those who have it.
    owners: BTreeMap<u16, Vec<u32>>,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct MapUpdate {
    map_fd: u32,
    _padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct ProgramLoad {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct LinkCreate {
    program_fd: u32,
    target_interface: u32,
    attach_type: u32,
    flags: u32,
}

/// bpf(2) reads a union of which each command uses the beginning; the rest must be zero.
#[repr(C, align(8))]
union Attributes<T: Copy> {
    all: [u8; 128],
    used: T,
}

fn bpf<T: Copy>(command: i32, used: T) -> io::Result<i64> {
    const { assert!(size_of::<T>() <= 128) };
    let mut attributes = Attributes::<T> { all: [0; 128] };
    attributes.used = used;
    // SAFETY: the structure of this command, zeroes behind it, whose pointers the caller keeps alive for the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const attributes, size_of::<Attributes<T>>()) };
    if result >= 0 { Ok(result) } else { Err(io::Error::last_os_error()) }
}

fn owned(descriptor: i64) -> OwnedFd {
    // SAFETY: a descriptor that bpf(2) has just opened, and nobody else has.
    unsafe { OwnedFd::from_raw_fd(descriptor as RawFd) }
}

impl Redirect {
    /// Loads the program and attaches it to the device.
    pub(super) fn attach(interface: u32, steering: &Steering) -> io::Result<Self> {
        let map = |map_type, max_entries| {
            bpf(BPF_MAP_CREATE, MapCreate { map_type, key_size: 4, value_size: 4, max_entries }).map(owned)
        };
        let sockets = map(BPF_MAP_TYPE_XSKMAP, QUEUES)?;
        let relay_ports = map(BPF_MAP_TYPE_ARRAY, 1 << u16::BITS)?;
        let instructions = assemble(steering, sockets.as_raw_fd(), relay_ports.as_raw_fd());
        let program = owned(bpf(
            BPF_PROG_LOAD,
            ProgramLoad {
                program_type: BPF_PROG_TYPE_XDP,
                instruction_count: instructions.len() as u32,
                instructions: instructions.as_ptr() as u64,
                license: c"Apache-2.0".as_ptr() as u64,
                log_level: 0,
                log_size: 0,
                log: 0,
                kernel_version: 0,
                flags: 0,
            },
        )?);
        let link = owned(bpf(
            BPF_LINK_CREATE,
            LinkCreate {
                program_fd: program.as_raw_fd() as u32,
                target_interface: interface,
                attach_type: BPF_XDP,
                flags: 0,
            },
        )?);
        let relay_ports = Mutex::new(PortOwners { map: relay_ports, owners: BTreeMap::new() });
        Ok(Self { sockets, relay_ports, _link: link })
    }

    /// Has the datagrams of one queue go to this socket.
    pub(super) fn insert(&self, queue: u32, socket: RawFd) -> io::Result<()> {
        update(&self.sockets, queue, socket as u32)
    }

    /// A relay port of this queue's shard was opened on one more address.
    pub(super) fn open_port(&self, port: u16, queue: u32) -> io::Result<()> {
        self.relay_ports.lock().unwrap_or_else(PoisonError::into_inner).change(port, |owners| owners.push(queue))
    }

    /// It was closed on one.
    pub(super) fn close_port(&self, port: u16, queue: u32) -> io::Result<()> {
        self.relay_ports.lock().unwrap_or_else(PoisonError::into_inner).change(port, |owners| {
            if let Some(place) = owners.iter().position(|owner| *owner == queue) {
                owners.swap_remove(place);
            }
        })
    }
}

impl PortOwners {
    fn change(&mut self, port: u16, change: impl FnOnce(&mut Vec<u32>)) -> io::Result<()> {
        let owners = self.owners.entry(port).or_default();
        change(owners);
        let value = match owners.as_slice() {
            [first, others @ ..] if others.iter().all(|other| other == first) => first + 1,
            _ => 0,
        };
        if owners.is_empty() {
            self.owners.remove(&port);
        }
        update(&self.map, loaded_half(port) as u32, value)
    }
}

/// Writes an element of a map whose keys and values have four bytes.
fn update(map: &OwnedFd, key: u32, value: u32) -> io::Result<()> {
    let (key, value) = (&raw const key, &raw const value);
    let update =
        MapUpdate { map_fd: map.as_raw_fd() as u32, _padding: 0, key: key as u64, value: value as u64, flags: 0 };
    bpf(BPF_MAP_UPDATE_ELEM, update)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::frame;
    use super::*;
    use std::cell::Cell;
    use std::collections::HashMap;

    fn redirects(code: &[Instruction], packet: &[u8], queue: u64) -> bool {
        redirects_with(code, packet, queue, |_| 0)
    }

    /// What the program answers for a frame: whether it redirects. A few lines of interpreter, for the few opcodes used.
    fn redirects_with(code: &[Instruction], packet: &[u8], queue: u64, map: impl Fn(u32) -> u32) -> bool {
        const START: u64 = 0x10000;
        const CONTEXT: u64 = 0x100;
        const STACK: u64 = 0x1000;
        const ELEMENT: u64 = 0x2000;
        let mut registers: HashMap<u8, u64> = HashMap::from([(1, CONTEXT), (FRAME_POINTER, STACK)]);
        // The only word on the stack.
        let key = Cell::new(None);
        let load = |address: u64, bytes: usize| -> u64 {
            if address == ELEMENT {
                return map(key.get().expect("a key")).into();
            }
            if address < START {
                return match address - CONTEXT {
                    0 => START,
                    4 => START + packet.len() as u64,
                    16 => queue,
                    other => panic!("the context has no field at {other}"),
                };
            }
            let at = (address - START) as usize;
            let mut word = [0; 8];
            word[..bytes].copy_from_slice(packet.get(at..at + bytes).expect("reads past the frame"));
            u64::from_le_bytes(word)
        };
        let mut at = 0usize;
        for _ in 0..10_000 {
            let Instruction { opcode, registers: which, offset, immediate } = code[at];
            let (destination, source) = (which & 15, which >> 4);
            let value = |register: u8| registers.get(&register).copied().expect("reads what was never written");
            at += 1;
            let taken = match opcode {
                LOAD_BYTE | LOAD_HALF | LOAD_WORD => {
                    let bytes = match opcode {
                        LOAD_BYTE => 1,
                        LOAD_HALF => 2,
                        _ => 4,
                    };
                    let loaded = load(value(source).wrapping_add_signed(offset.into()), bytes);
                    registers.insert(destination, loaded);
                    false
                }
                LOAD_IMMEDIATE_64 => {
                    registers.insert(destination, immediate as u64);
                    at += 1;
                    false
                }
                MOVE => {
                    registers.insert(destination, value(source));
                    false
                }
                MOVE_IMMEDIATE => {
                    registers.insert(destination, i64::from(immediate) as u64);
                    false
                }
                ADD_IMMEDIATE => {
                    registers.insert(destination, value(destination).wrapping_add_signed(immediate.into()));
                    false
                }
                AND_IMMEDIATE => {
                    registers.insert(destination, value(destination) & i64::from(immediate) as u64);
                    false
                }
                STORE_WORD => {
                    assert_eq!(value(destination).wrapping_add_signed(offset.into()), STACK - 4);
                    key.set(Some(value(source) as u32));
                    false
                }
                CALL if immediate == MAP_LOOKUP => {
                    assert_eq!(value(2), STACK - 4);
                    registers.retain(|register, _| *register > 5);
                    registers.insert(0, ELEMENT);
                    false
                }
                JUMP => true,
                JUMP_IF_ZERO => value(destination) == 0,
                JUMP_NOT_SAME => value(destination) != value(source),
                JUMP_GREATER => value(destination) > value(source),
                JUMP_EQUAL_32 => value(destination) as u32 == immediate as u32,
                JUMP_NOT_EQUAL_32 => value(destination) as u32 != immediate as u32,
                CALL => return immediate == REDIRECT_MAP && value(3) == XDP_PASS as u64,
                EXIT => {
                    assert_eq!(value(0), XDP_PASS as u64);
                    return false;
                }
                other => panic!("opcode {other:#x}"),
            };
            if taken {
                assert!(offset >= 0, "the program has no loops");
                at += offset as usize;
            }
        }
        panic!("does not end");
    }

    /// Two shards. With highest bits set, where a comparison of signed numbers would go wrong.
    fn shards() -> [Vec<SocketAddr>; 2] {
        [7882, 60_000].map(|port| {
            let addresses = ["192.0.2.1", "203.0.113.255", "2001:db8::1", "fd00::ffff:ffff:ffff:fffe"];
            let both = |ip: &str| [port, 3478].map(|port| SocketAddr::new(ip.parse().unwrap(), port));
            addresses.into_iter().flat_map(both).collect()
        })
    }

    fn code() -> Vec<Instruction> {
        assemble(&Steering::new(shards().iter().map(Vec::as_slice)), 5, 6)
    }

    fn datagram(to: &str, len: usize) -> Vec<u8> {
        let destination: SocketAddr = to.parse().unwrap();
        let source = if destination.is_ipv4() { "198.51.100.7:5000" } else { "[2001:db8:7::9]:5000" };
        let mut buffer = vec![0; 2048];
        let header = frame::Header::new(&[2; 12], source.parse().unwrap(), destination).unwrap();
        let written = header.write(&mut buffer, &vec![1; len]);
        buffer.truncate(written.max(60));
        buffer
    }

    #[test]
    fn datagrams_go_to_the_socket_of_their_shard() {
        let code = code();
        for (queue, addresses) in (0..).zip(shards()) {
            for ours in addresses {
                for len in [20, 1400] {
                    let packet = datagram(&ours.to_string(), len);
                    assert!(redirects(&code, &packet, queue), "{ours}");
                    assert_eq!(redirects(&code, &packet, 1 - queue), ours.port() == 3478, "{ours}");
                    assert_eq!(redirects(&code, &packet, 2), ours.port() == 3478, "{ours}");
                }
            }
        }
        for other in [
            "192.0.2.2:7882",
            "192.0.2.1:7883",
            "192.0.2.1:53",
            "[2001:db8::2]:7882",
            "[2001:db8::1]:1",
            "[fd00::1]:3478",
        ] {
            assert!((0..3).all(|queue| !redirects(&code, &datagram(other, 20), queue)), "{other}");
        }
    }

    #[test]
    fn relay_ports_go_to_the_shard_that_has_them() {
        let code = code();
        let map = |key: u32| u32::from(key == loaded_half(61_002) as u32) * 2;
        for (to, ours) in [
            ("192.0.2.1:61002", true),
            ("[2001:db8::1]:61002", true),
            ("192.0.2.1:61003", false),
            ("192.0.2.2:61002", false),
        ] {
            for queue in 0..3 {
                let redirected = redirects_with(&code, &datagram(to, 20), queue, map);
                assert_eq!(redirected, ours && queue == 1, "{to} on {queue}");
            }
        }
    }

    #[test]
    fn everything_else_is_left_to_the_kernel() {
        let code = code();
        for (to, changes) in [
            ("192.0.2.1:7882", [(12, 0x81), (14, 0x46), (20, 0x20), (20, 0x01), (21, 0x08), (23, 6)]),
            ("[2001:db8::1]:7882", [(12, 0x81), (13, 0xde), (20, 6), (20, 44), (20, 0), (20, 58)]),
        ] {
            assert!(redirects(&code, &datagram(to, 40), 0));
            for (byte, value) in changes {
                let mut packet = datagram(to, 40);
                packet[byte] = value;
                assert!(!redirects(&code, &packet, 0), "byte {byte}");
            }
        }
    }

    #[test]
    fn short_frames_are_never_read_past_their_end() {
        let code = code();
        for to in ["192.0.2.1:7882", "[2001:db8::1]:7882"] {
            let packet = datagram(to, 100);
            for len in 0..packet.len() {
                redirects(&code, &packet[..len], 0);
            }
        }
    }
}
