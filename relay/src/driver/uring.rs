//! The driver over io_uring: one ring per shard, multishot receive into provided buffers, sends with UDP_SEGMENT,
//! wake-ups and deadlines in the same wait. A packet that arrives costs no system call of its own.

use super::message::{CONTROL_BYTES, Joined, NAME_BYTES, Outgoing, Sending, Unusable};
use super::ports::Ports;
use super::{Driver, DriverCounters, Received, Sockets, Waker};
use io_uring::types::{BufRingEntry, CancelBuilder, Fd, RecvMsgOut, SubmitArgs, Timespec};
use io_uring::{IoUring, Probe, cqueue, opcode, squeue};
use plausch_engine::{LocalSocket, Path, RxPacket, TxBatch};
use plausch_relay_api::limits::{
    BATCH_PACKETS, DATAGRAM_BYTES, JOINED_BYTES, RECEIVE_BUFFERS, SEND_MESSAGES, SOUND_PATIENCE_MS,
    TURN_OPEN_PORTS_PER_SHARD,
};
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::collections::VecDeque;
use std::io;
use std::mem::zeroed;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// `struct io_uring_recvmsg_out`, which multishot receive puts before name, control messages and payload.
const OUT_HEADER_BYTES: usize = 16;
const PAYLOAD_OFFSET: usize = OUT_HEADER_BYTES + NAME_BYTES + CONTROL_BYTES;
/// Rounded up to whole cache lines; and no power of two, or the beginnings of all would
/// compete for the same few places of the cache.
const BUFFER_BYTES: usize = (PAYLOAD_OFFSET + JOINED_BYTES).next_multiple_of(64);
const _: () = assert!(!BUFFER_BYTES.is_multiple_of(4096) && PAYLOAD_OFFSET + DATAGRAM_BYTES < 4096);
/// The only buffer group.
const GROUP: u16 = 0;

/// Sockets that are registered with the ring, by their number, so that it need not look up and hold the file each time.
const REGISTERED: u32 = LocalSocket::FIRST_RELAY_PORT as u32 + TURN_OPEN_PORTS_PER_SHARD as u32;

const SEND_FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// Submissions: a chunk of sends, and all receives and the wake-up armed at once.
const SUBMISSIONS: u32 = 512;
/// Completions: every receive buffer and every submission, so that the queue never overflows.
const COMPLETIONS: u32 = 4096;
const _: () = assert!(SEND_MESSAGES < SUBMISSIONS as usize);
const _: () = assert!(RECEIVE_BUFFERS as u32 + SUBMISSIONS <= COMPLETIONS);
const _: () = assert!(RECEIVE_BUFFERS.is_power_of_two());

/// What a completion is about, in the upper half of its user data; the lower half is an index. For a receive it is the
/// socket's number, and above that the generation of a relay port.
const RECEIVE: u64 = 1 << 32;
const SEND: u64 = 2 << 32;
const WAKE: u64 = 3 << 32;
const CANCEL: u64 = 4 << 32;

/// See the module.
pub struct Uring {
    // Dropped first: no buffer may go before the ring that writes to it.
    ring: IoUring,
    ports: Ports,
    waker: Waker,
    buffers: Buffers,
    /// Describes the layout of received messages to the kernel.
    layout: Box<libc::msghdr>,
    /// Where the eventfd's value is read to. It has its place on the heap, and so may be lost to the kernel.
    wakeups: Box<u64>,
    wake_armed: bool,
    /// Somebody woke the shard while it was sending: the next wait is none.
    woken: bool,
    /// Numbers below are those of registered files; 0 where the kernel or the limit of descriptors does not allow any.
    registered: u32,
    /// The kernel sends a datagram to an address without a message header (Linux 6.1).
    sends_plain: bool,
    /// Sockets and relay ports without a multishot receive under way, by their user data.
    unarmed: Vec<u64>,
    /// Received, and not given to the engine yet.
    ready: VecDeque<Ready>,
    /// Buffers that the engine has until the next call of `receive`.
    lent: Vec<u16>,
    outgoing: Box<[Outgoing]>,
    results: Box<[i32]>,
    sends_under_way: usize,
    counters: DriverCounters,
}

/// Received datagrams in one buffer, those that the engine has not had yet.
struct Ready {
    buffer: u16,
    /// Where the next one begins in the payload.
    begin: usize,
    joined: Joined,
    local: LocalSocket,
    taken_at: Instant,
}

impl Driver for Uring {
    type Device = ();

    fn open(sockets: Sockets, waker: Waker, (): &()) -> io::Result<Self> {
        let ring = build_ring()?;
        if !ring.params().is_feature_ext_arg() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "the kernel's io_uring has no timed wait"));
        }
        let buffers = Buffers::new();
        // SAFETY: the memory of the buffer ring lives as long as `buffers`, which is dropped after the ring.
        unsafe { ring.submitter().register_buf_ring_with_flags(buffers.ring_address(), RECEIVE_BUFFERS, GROUP, 0)? };
        let registered = register(&ring, &sockets);
        let mut probe = Probe::new();
        // Came with the same version.
        let sends_plain =
            ring.submitter().register_probe(&mut probe).is_ok() && probe.is_supported(opcode::SendMsgZc::CODE);
        // SAFETY: a C struct of integers and pointers, for which zeroes are valid.
        let mut layout: Box<libc::msghdr> = Box::new(unsafe { zeroed() });
        layout.msg_namelen = NAME_BYTES as libc::socklen_t;
        layout.msg_controllen = CONTROL_BYTES;
        let mut driver = Self {
            ring,
            unarmed: (0..sockets.len() as u64).map(|index| RECEIVE | index).collect(),
            ports: Ports::new(sockets),
            waker,
            buffers,
            layout,
            wakeups: Box::new(0),
            wake_armed: false,
            woken: false,
            registered,
            sends_plain,
            ready: VecDeque::with_capacity(RECEIVE_BUFFERS.into()),
            lent: Vec::with_capacity(BATCH_PACKETS),
            outgoing: (0..SEND_MESSAGES).map(|_| Outgoing::new()).collect(),
            results: vec![0; SEND_MESSAGES].into_boxed_slice(),
            sends_under_way: 0,
            counters: DriverCounters::default(),
        };
        (0..RECEIVE_BUFFERS).for_each(|buffer| driver.buffers.provide(buffer));
        driver.buffers.publish();
        // A kernel that does not know multishot receive says so at once.
        driver.arm()?;
        driver.ring.submit()?;
        driver.reap();
        if !driver.unarmed.is_empty() && driver.counters.receive_buffers_empty == 0 {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "the kernel's io_uring has no multishot recvmsg"));
        }
        Ok(driver)
    }

    fn receive<'d>(&'d mut self, timeout: Option<Duration>, rx: &mut Vec<RxPacket<'d>>) -> io::Result<Received> {
        if !self.lent.is_empty() {
            while let Some(buffer) = self.lent.pop() {
                self.buffers.provide(buffer);
            }
            self.buffers.publish();
        }
        self.arm()?;
        if self.ready.is_empty() {
            self.wait(if self.woken { Some(Duration::ZERO) } else { timeout })?;
            self.reap();
        }
        self.woken = false;
        let taken_at = self.ready.front().map(|ready| ready.taken_at);
        while rx.len() < BATCH_PACKETS
            && let Some(ready) = self.ready.front_mut()
        {
            let Joined { remote, len, size } = ready.joined;
            let range = ready.begin..len.min(ready.begin + size);
            ready.begin = range.end;
            // SAFETY: the kernel gave this buffer back with its completion and gets it again in the next `receive` at the
            // soonest, which cannot be called while 'd lasts; and no two datagrams of it overlap.
            let data = unsafe { self.buffers.payload(ready.buffer, range) };
            rx.push(RxPacket { path: Path { local: ready.local, remote }, data });
            if ready.begin == len {
                self.lent.push(ready.buffer);
                self.ready.pop_front();
            }
        }
        // The kernel hands over so many at once, and whether there are more is known with the next call only.
        Ok(Received { full: rx.len() == BATCH_PACKETS, taken_at })
    }

    fn send(&mut self, tx: &mut TxBatch) -> io::Result<()> {
        let mut refused = false;
        let mut patience = Duration::from_millis(SOUND_PATIENCE_MS);
        for chunk in tx.runs().chunks(SEND_MESSAGES) {
            for (index, run) in chunk.iter().enumerate() {
                let Some((fd, flags)) = self.file(run.path.local) else {
                    self.results[index] = -libc::EBADF;
                    continue;
                };
                let (bytes, outgoing) = (tx.bytes(run), &mut self.outgoing[index]);
                let send = if self.sends_plain && run.len <= run.segment {
                    let (address, len) = outgoing.address(run.path.remote);
                    opcode::Send::new(fd, bytes.as_ptr(), bytes.len() as u32)
                        .dest_addr(address)
                        .dest_addr_len(len)
                        .flags(SEND_FLAGS)
                        .build()
                } else {
                    let header = outgoing.prepare(run.path.remote, bytes, run.segment);
                    opcode::SendMsg::new(fd, header).flags(SEND_FLAGS as u32).build()
                };
                self.push(&send.flags(flags).user_data(SEND | index as u64))?;
                self.sends_under_way += 1;
            }
            // With MSG_DONTWAIT each send is finished or refused within this call; the loop is for what cannot
            // happen, because the batch must not be touched before.
            while self.sends_under_way > 0 {
                submitted(self.ring.submit_and_wait(self.sends_under_way))?;
                self.reap();
            }
            for (index, run) in chunk.iter().enumerate() {
                let datagrams = run.datagrams() as u64;
                if self.results[index] >= 0 {
                    self.counters.count_sent(datagrams);
                    continue;
                }
                let error = io::Error::from_raw_os_error(-self.results[index]);
                match self.ports.fd(run.path.local) {
                    Some(fd) => {
                        let (outgoing, counters) = (&mut self.outgoing[index], &mut self.counters);
                        let mut sending = Sending { fd, outgoing, tx, counters, patience: &mut patience };
                        refused |= sending.refused(&error, run);
                    }
                    None => self.counters.count_refused(&error, datagrams),
                }
            }
        }
        if refused {
            tx.set_segmentation(false);
        }
        Ok(())
    }

    fn open_port(&mut self, local: LocalSocket, address: SocketAddr) -> io::Result<()> {
        let port = self.ports.open(local, address)?;
        let (fd, data) = (port.socket.as_raw_fd(), receive_data(local, port.generation));
        if u32::from(local.0) < self.registered
            && let Err(error) = self.ring.submitter().register_files_update(local.0.into(), &[fd])
        {
            self.ports.close(local);
            return Err(error);
        }
        self.unarmed.push(data);
        Ok(())
    }

    fn close_port(&mut self, local: LocalSocket) {
        let Some(port) = self.ports.close(local) else { return };
        // The receive under way holds the socket, and with it the port, until it is cancelled.
        let data = receive_data(local, port.generation);
        let cancel = opcode::AsyncCancel::new(data).build().user_data(CANCEL);
        if self.push(&cancel).is_err() {
            self.counters.receive_errors += 1;
        }
        if u32::from(local.0) < self.registered
            && self.ring.submitter().register_files_update(local.0.into(), &[-1]).is_err()
        {
            self.counters.receive_errors += 1;
        }
        let Self { ready, buffers, .. } = self;
        ready.retain(|ready| {
            let other = ready.local != local;
            if !other {
                buffers.provide(ready.buffer);
            }
            other
        });
        buffers.publish();
    }

    fn counters(&self) -> DriverCounters {
        self.counters
    }
}

/// User data of a receive.
fn receive_data(local: LocalSocket, generation: u16) -> u64 {
    RECEIVE | u64::from(generation) << 16 | u64::from(local.0)
}

/// Socket and generation in the user data of a receive.
fn receive_place(data: u64) -> (LocalSocket, u16) {
    (LocalSocket(data as u16), (data >> 16) as u16)
}

/// Whether a receive belongs to a socket that is open still.
fn is_current(ports: &Ports, data: u64) -> bool {
    let (local, generation) = receive_place(data);
    !local.is_relay_port() || ports.relay_port(local).is_some_and(|port| port.generation == generation)
}

impl Uring {
    /// Starts what is not under way: a receive per socket and the read of the eventfd.
    fn arm(&mut self) -> io::Result<()> {
        while let Some(data) = self.unarmed.pop() {
            if !is_current(&self.ports, data) {
                continue;
            }
            let Some((fd, flags)) = self.file(receive_place(data).0) else { continue };
            let receive = opcode::RecvMsgMulti::new(fd, &raw const *self.layout, GROUP)
                .flags(libc::MSG_TRUNC as u32)
                .build()
                .flags(flags)
                .user_data(data);
            self.push(&receive)?;
        }
        if !self.wake_armed {
            let pointer = (&raw mut *self.wakeups).cast();
            let read = opcode::Read::new(Fd(self.waker.fd()), pointer, 8).build().user_data(WAKE);
            self.push(&read)?;
            self.wake_armed = true;
        }
        Ok(())
    }

    /// How an entry names the socket: the two are for each other only.
    fn file(&self, local: LocalSocket) -> Option<(Fd, squeue::Flags)> {
        let fd = self.ports.fd(local)?;
        match u32::from(local.0) < self.registered {
            true => Some((Fd(local.0.into()), squeue::Flags::FIXED_FILE)),
            false => Some((Fd(fd), squeue::Flags::empty())),
        }
    }

    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        loop {
            // SAFETY: what entries point to is owned by `self` and has its place on the heap (`layout`, `wakeups`,
            // `outgoing`), or is the outgoing batch, which `send` holds until its completions are there. On the way
            // out, `drop` takes the rest back.
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                return Ok(());
            }
            submitted(self.ring.submit())?;
        }
    }

    /// Submits, and waits for one completion at least.
    fn wait(&self, timeout: Option<Duration>) -> io::Result<()> {
        let submitter = self.ring.submitter();
        let Some(timeout) = timeout else { return submitted(submitter.submit_and_wait(1)) };
        let timespec = Timespec::from(timeout);
        submitted(submitter.submit_with_args(1, &SubmitArgs::new().timespec(&timespec)))
    }

    /// Takes the completions. Bounded by the size of the queue.
    fn reap(&mut self) {
        // Split borrows: the queue is read while the rest of the driver is written.
        let Self {
            ring,
            ports,
            buffers,
            layout,
            unarmed,
            ready,
            counters,
            results,
            sends_under_way,
            wake_armed,
            woken,
            ..
        } = self;
        let now = Instant::now();
        for completion in ring.completion() {
            let index = completion.user_data() as u32 as usize;
            match completion.user_data() & !u64::from(u32::MAX) {
                RECEIVE => {
                    let data = completion.user_data();
                    let current = is_current(ports, data);
                    if !cqueue::more(completion.flags()) && current {
                        unarmed.push(data);
                    }
                    match completion.result() {
                        // The end of a port that was closed, or what came before it.
                        errno if errno < 0 && !current => {}
                        _ if !current => {
                            if let Some(buffer) = cqueue::buffer_select(completion.flags()) {
                                buffers.provide(buffer);
                                buffers.publish();
                            }
                        }
                        errno if errno == -libc::ENOBUFS => counters.receive_buffers_empty += 1,
                        errno if errno < 0 => counters.receive_errors += 1,
                        len => {
                            let Some(buffer) = cqueue::buffer_select(completion.flags()) else {
                                counters.receive_errors += 1;
                                continue;
                            };
                            counters.received_messages += 1;
                            let (local, _) = receive_place(data);
                            match parse(buffers, buffer, len as usize, layout) {
                                Ok(joined) => ready.push_back(Ready { buffer, begin: 0, joined, local, taken_at: now }),
                                Err(reason) => {
                                    counters.count_unusable(reason);
                                    buffers.provide(buffer);
                                    buffers.publish();
                                }
                            }
                        }
                    }
                }
                SEND => {
                    results[index] = completion.result();
                    *sends_under_way -= 1;
                }
                WAKE => (*wake_armed, *woken) = (false, true),
                _ => {}
            }
        }
    }
}

/// What is in a buffer, of which the kernel has filled `len` bytes.
fn parse(buffers: &Buffers, buffer: u16, len: usize, layout: &libc::msghdr) -> Result<Joined, Unusable> {
    // SAFETY: the kernel gave this buffer back with its completion, and nobody has it yet.
    let bytes = unsafe { buffers.received(buffer, len) };
    let message = RecvMsgOut::parse(bytes, layout).map_err(|()| Unusable::Malformed)?;
    let (payload, truncated) = (message.payload_data(), message.is_payload_truncated());
    Joined::new(message.name_data(), message.control_data(), payload.len(), truncated)
}

impl Drop for Uring {
    fn drop(&mut self) {
        // Everything that the kernel still writes to or reads from belongs to `self`: it must let go first.
        let cancelled = self.ring.submitter().register_sync_cancel(None, CancelBuilder::any());
        let nothing_left = cancelled.is_ok() || cancelled.is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        if !nothing_left {
            // Better to lose some megabytes than to have the kernel write into memory of others.
            self.buffers.leak();
            std::mem::forget(std::mem::replace(&mut self.wakeups, Box::new(0)));
        }
    }
}

/// The best set-up that the kernel allows.
fn build_ring() -> io::Result<IoUring> {
    let with_all = IoUring::builder()
        .setup_cqsize(COMPLETIONS)
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all()
        .build(SUBMISSIONS);
    with_all
        .or_else(|_| IoUring::builder().setup_cqsize(COMPLETIONS).setup_coop_taskrun().build(SUBMISSIONS))
        .or_else(|_| IoUring::builder().setup_cqsize(COMPLETIONS).build(SUBMISSIONS))
}

/// Registers the sockets, and room for relay ports; answers below which number that is so.
fn register(ring: &IoUring, sockets: &Sockets) -> u32 {
    let fds: Vec<RawFd> = sockets.iter().map(AsRawFd::as_raw_fd).collect();
    let submitter = ring.submitter();
    let done = submitter.register_files_sparse(REGISTERED).and_then(|()| submitter.register_files_update(0, &fds));
    if done.is_ok() { REGISTERED } else { 0 }
}

/// A wait that ended for its time, a signal or a full queue is no failure: the caller reaps and comes again.
fn submitted(result: io::Result<usize>) -> io::Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)) => {
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// The receive buffers and the ring through which they are lent to the kernel. Raw memory, because the kernel
/// writes to parts of it while we read others.
struct Buffers {
    entries: NonNull<BufRingEntry>,
    data: NonNull<u8>,
    tail: u16,
    leaked: bool,
}

impl Buffers {
    const ENTRIES: Layout = match Layout::from_size_align(RECEIVE_BUFFERS as usize * size_of::<BufRingEntry>(), 4096) {
        Ok(layout) => layout,
        Err(_) => panic!("the size is a constant"),
    };
    /// Aligned as any memory: of more the allocator would touch all of it to make it zero.
    const DATA: Layout = match Layout::from_size_align(RECEIVE_BUFFERS as usize * BUFFER_BYTES, 16) {
        Ok(layout) => layout,
        Err(_) => panic!("the size is a constant"),
    };

    fn new() -> Self {
        // SAFETY: neither layout is empty.
        let (entries, data) = unsafe { (alloc_zeroed(Self::ENTRIES), alloc_zeroed(Self::DATA)) };
        let entries = NonNull::new(entries.cast()).unwrap_or_else(|| handle_alloc_error(Self::ENTRIES));
        let data = NonNull::new(data).unwrap_or_else(|| handle_alloc_error(Self::DATA));
        let buffers = Self { entries, data, tail: 0, leaked: false };
        // What single datagrams need is brought in now: a flood of them later takes no more memory, and no time for it.
        for buffer in 0..RECEIVE_BUFFERS {
            for place in [0, PAYLOAD_OFFSET + DATAGRAM_BYTES - 1] {
                // SAFETY: inside the buffer, which nobody else has yet. Volatile, for it would change nothing otherwise.
                unsafe { buffers.address(buffer).add(place).write_volatile(0) };
            }
        }
        buffers
    }

    fn ring_address(&self) -> u64 {
        self.entries.as_ptr() as u64
    }

    fn address(&self, buffer: u16) -> *mut u8 {
        debug_assert!(buffer < RECEIVE_BUFFERS);
        // SAFETY: ids are below RECEIVE_BUFFERS (we gave them to the kernel), so this stays inside the allocation.
        unsafe { self.data.as_ptr().add(usize::from(buffer % RECEIVE_BUFFERS) * BUFFER_BYTES) }
    }

    /// Lends a buffer to the kernel once [`Self::publish`] is called.
    fn provide(&mut self, buffer: u16) {
        let address = self.address(buffer) as u64;
        // SAFETY: the index is inside the allocation by the mask, and the kernel does not look at entries at or
        // behind the published tail. Fields are written one by one, because the tail lies inside the first entry.
        let entry = unsafe { &mut *self.entries.as_ptr().add(usize::from(self.tail & (RECEIVE_BUFFERS - 1))) };
        entry.set_addr(address);
        entry.set_len(BUFFER_BYTES as u32);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&mut self) {
        // SAFETY: the pointer is to the first entry of the ring, whose reserved field is the tail; it is aligned and
        // the kernel reads it atomically.
        unsafe {
            let tail = BufRingEntry::tail(self.entries.as_ptr()).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }

    /// # Safety
    /// The buffer must have come back from the kernel, and there must be no other reference into this range of it.
    unsafe fn payload<'d>(&self, buffer: u16, range: Range<usize>) -> &'d mut [u8] {
        debug_assert!(range.start <= range.end && range.end <= JOINED_BYTES);
        let (start, end) = (range.start.min(JOINED_BYTES), range.end.min(JOINED_BYTES));
        // SAFETY: inside the buffer, as `PAYLOAD_OFFSET + JOINED_BYTES <= BUFFER_BYTES`; exclusive by contract.
        unsafe {
            let first = self.address(buffer).add(PAYLOAD_OFFSET + start);
            std::slice::from_raw_parts_mut(first, end.saturating_sub(start))
        }
    }

    /// # Safety
    /// The buffer must have come back from the kernel, and there must be no exclusive reference into it.
    unsafe fn received(&self, buffer: u16, len: usize) -> &[u8] {
        // SAFETY: initialised (zeroed at first), inside the buffer by the minimum, shared by contract.
        unsafe { std::slice::from_raw_parts(self.address(buffer), len.min(BUFFER_BYTES)) }
    }

    fn leak(&mut self) {
        self.leaked = true;
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        if !self.leaked {
            // SAFETY: allocated in `new` with the same layouts; the kernel has let go, or `leaked` would be set.
            unsafe {
                dealloc(self.entries.as_ptr().cast(), Self::ENTRIES);
                dealloc(self.data.as_ptr(), Self::DATA);
            }
        }
    }
}
