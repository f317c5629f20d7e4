//! Every limit of Plausch, with the arithmetic behind it. Relay, engine, control and bench read them here;
//! what an operator may lower is a key of the configuration files, with these as the upper bounds.

// --- Packets -----------------------------------------------------------------------------------------------

/// Largest datagram that is looked at: an Ethernet MTU of 1500 and some slack. Larger ones are counted drops.
pub const DATAGRAM_BYTES: usize = 1536;
/// Largest RTP packet that is sent on: 1280 (the least IPv6 MTU) would be safest, browsers send up to 1200 bytes
/// of RTP; we may add a MID extension (up to 24 bytes) and the SRTP tag (16).
pub const RTP_BYTES: usize = 1400;
/// Packets in one batch: as many as a multishot receive of io_uring brings at once, enough for a video frame to
/// become one UDP_SEGMENT run per destination, and few enough that the first of them does not wait long for the last.
pub const BATCH_PACKETS: usize = 32;

/// Batches whose packets may wait to go out together: 4 × 32 × 1.5 KB = 197 KB, a key frame of 190 KB.
pub const GATHER_BATCHES: usize = 4;
/// Rooms from this size on gather the packets of a frame. What a message costs, and the longest wait: a frame waits no
/// longer than it takes to send one message to each member, for it is sent so much sooner then.
pub const GATHER_FROM_MEMBERS: usize = 32;
pub const MESSAGE_COST_US: u64 = 2;
pub const GATHER_MOST_US: u64 = 1_000;

/// Outgoing bytes and runs of one batch: all waiting packets for one member with the overhead asked for
/// (128 × (1.4 + 0.6) KB = 256 KB) and as much again, so that a core's cache holds a batch from sealing to sending.
/// What does not fit goes out with the next batch.
pub const TX_BYTES: usize = 512 * 1024;
pub const TX_RUNS: usize = 1024;
/// What the kernel may hand over at once: datagrams of one sender that came together, joined (UDP_GRO). It joins up to 64
/// of them and 64 KiB, cannot be told to stop sooner, and what did not fit would be lost.
pub const JOINED_BYTES: usize = 65_535;
/// Receive buffers that a shard lends to the kernel: 256 × 64 KiB = 16 MiB, of which single datagrams touch a page or two
/// of each, 2 MiB at the most; the rest is taken only where frames of many packets come joined. Eight batches: what comes
/// while all are in use waits in the sockets' own buffers.
pub const RECEIVE_BUFFERS: u16 = 256;
/// Messages handed to the kernel in one system call.
pub const SEND_MESSAGES: usize = 256;
/// How long the sound in one batch may wait together for room in the socket's send buffer, milliseconds: the shard does
/// nothing else meanwhile, and 20 ms are one packet's sound.
pub const SOUND_PATIENCE_MS: u64 = 20;
/// Frames of 2 KiB that an AF_XDP socket has for each direction: 8 and 16 MiB. Receiving, 4096 small packets are 20 ms at
/// 200 000 packets/s; sending, 8192 are one sound packet to each of 500 people from each of 16 who speak at once.
pub const XDP_RECEIVE_FRAMES: u32 = 4096;
pub const XDP_SEND_FRAMES: u32 = 8192;
/// Of those, kept for sound where a device does not take frames as fast as they come: two of its packets for each of 500.
pub const XDP_SOUND_FRAMES: usize = 1024;
/// Kernel buffer from which a socket is read. The kernel grants twice as much and counts 2.3 KiB for a packet of 1.1: 14 500
/// packets. A shard full of rooms of eight reads 130 000 a second, so this is a tenth of a second in which it does not get to
/// that; and 32 people who begin at once with key frames of 170 KiB fit in. What does not is lost for everybody, sound too.
pub const RECEIVE_BUFFER_BYTES: usize = 16 << 20;
/// Kernel buffer to which a socket is written: 20 ms at 1.6 Gbit/s.
pub const SEND_BUFFER_BYTES: usize = 4 << 20;
/// The same for a port of a TURN allocation, which has one person's media: 20 ms at 100 Mbit/s.
pub const RELAY_PORT_BUFFER_BYTES: usize = 256 * 1024;

// --- Process ------------------------------------------------------------------------------------------------

/// Shards of one relay, one per CPU.
pub const SHARDS: usize = 256;
/// Local addresses that a shard binds, each a socket.
pub const LOCAL_ADDRESSES: usize = 32;
/// Threads for DTLS handshakes: 1 ms each makes 1000 joins a second and thread.
pub const HANDSHAKE_THREADS: usize = 16;

/// Between two looks at which addresses this host has: an interface that comes up is protected from TURN soon.
pub const HOST_ADDRESSES_INTERVAL_MS: u64 = 5_000;

/// How long a relay may wait for the end of what runs: a day, the longest conference.
pub const DRAIN_S: u64 = 86_400;
/// Bytes of a relay's name: the longest label of a host name (RFC 1035, section 2.3.4), and its port.
pub const RELAY_NAME_BYTES: usize = 72;

// --- Participants and rooms ---------------------------------------------------------------------------------

/// Participants on one shard: 2048 × 64 KiB = 128 MiB.
pub const PARTICIPANTS_PER_SHARD: usize = 2048;
/// Participants in one room: half a shard's. What one packet for all of them needs of `TX_BYTES` is sent in parts, and
/// looking after a member costs the same in any room, so nothing else grows with it.
pub const PARTICIPANTS_PER_ROOM: usize = 1024;
/// Tracks that one participant publishes: microphone, camera, screen, screen audio.
pub const TRACKS_PER_PARTICIPANT: usize = 4;
/// Simulcast layers of one track.
pub const LAYERS_PER_TRACK: usize = 3;
/// Slots of one participant: 25 tiles and a screen, doubled for a large monitor.
pub const SLOTS_PER_PARTICIPANT: usize = 50;
/// Codec mappings of one participant: Opus, three video codecs and five profiles of a fourth are nine, with slack.
pub const CODECS_PER_PARTICIPANT: usize = 12;
/// Bytes of control's note: a name of 64 characters, a room name of 120, tokens and mids; 4 KiB is ten times that.
pub const NOTE_BYTES: usize = 4096;
/// Bytes of a MID or RID: what a one-byte header extension carries (RFC 8285, section 4.2).
pub const MID_BYTES: usize = 16;

// --- ICE, DTLS ----------------------------------------------------------------------------------------------

/// Address pairs remembered for one participant; the oldest unselected one is evicted.
pub const TUPLES_PER_PARTICIPANT: usize = 8;
/// RFC 7675, section 5.1: consent expires 30 s after the last answer to a check of ours, and such checks are 5 s apart,
/// 4 to 6 at random.
pub const CONSENT_TIMEOUT_MS: u64 = 30_000;
pub const CONSENT_INTERVAL_MS: u64 = 5_000;
/// A check of a path that has not answered yet is repeated after this time, then after twice as long, and so on: 100 ms
/// are a slow round trip, and six of them reach over six seconds. What went before counts against three times the bytes
/// that came from there.
pub const ICE_RETRANSMIT_MS: u64 = 100;
pub const ICE_TRANSMISSIONS: u32 = 6;
/// A keyed participant of which nothing authentic comes for so long is gone: its process sends RTCP every 5 s at the
/// least, and whoever gets its port next must not get its media.
pub const KEYED_SILENCE_MS: u64 = 30_000;
/// From `PutParticipant` to a finished DTLS handshake. A browser that cannot reach us gives up after 30 s itself.
pub const CONNECT_TIMEOUT_MS: u64 = 30_000;
/// DTLS datagrams of one participant before its handshake is finished: flights of about 10, repeated 6 times.
pub const HANDSHAKE_DATAGRAMS: u32 = 100;
/// Handshakes under way on one shard: 1024 × about 60 KiB of TLS state = 60 MiB.
pub const HANDSHAKES_PER_SHARD: usize = 1024;

/// Largest DTLS datagram that we send: as RTP, well below any path.
pub const DTLS_MTU_BYTES: u32 = 1200;
/// Datagrams that one call of a DTLS session may produce: a post-quantum flight is 3 or 4.
pub const DTLS_OUTGOING_DATAGRAMS: usize = 16;
/// First time-out of a DTLS flight, doubled each time (RFC 9147, section 5.8.2, allows less than its 1 s where the
/// round trip is known to be short; a needless repetition costs 2 KB).
pub const DTLS_RETRANSMIT_MS: u32 = 150;

// --- TURN ---------------------------------------------------------------------------------------------------

/// Secrets of time-limited credentials in force at once: the new one and the one before.
pub const TURN_SECRETS: usize = 2;
/// Between two secrets: a day.
pub const TURN_SECRET_S: u64 = 86_400;
/// How long a time-limited credential may be used: longer than any conference of a day. Clients ask for the next one
/// after half of it. One made in the last moment of its secret's day still lives half the next day, so two secrets do:
/// TURN_CREDENTIAL_S <= (TURN_SECRETS - 1) * TURN_SECRET_S.
pub const TURN_CREDENTIAL_S: u64 = 43_200;
/// Bytes of a PROXY protocol header that control reads. Its specification promises senders that fit into the least
/// TCP segment (536 bytes) that they arrive whole; addresses need 52, and TLVs may follow.
pub const PROXY_HEADER_BYTES: usize = 536;
/// Bytes of a realm: it is in every challenge, which must stay small (see `relay/engine/src/turn/credentials.rs`).
pub const TURN_REALM_BYTES: usize = 32;
/// Bytes of a user name (RFC 8489, section 14.3) and of a static user's password.
pub const TURN_USER_BYTES: usize = 508;
/// Static users, and secrets of other programs: each secret is one more hash for a user that does not exist.
pub const TURN_STATIC_USERS: usize = 1024;
pub const TURN_SHARED_SECRETS: usize = 8;
/// Allocations on one shard: 131 072 × 1 KiB = 128 MiB.
pub const TURN_ALLOCATIONS_PER_SHARD: usize = 131_072;
/// Allocations of one user name at once. A browser makes one for each of its network interfaces, URL and address family.
pub const TURN_ALLOCATIONS_PER_USER: usize = 32;
/// Allocations on one shard of all clients with one address (/32, /64), of one network (/24, /56) and of one site (/48):
/// a school of 1000 behind one address with two network interfaces and two URLs each, twice and four times that.
pub const TURN_ALLOCATIONS_PER_ADDRESS: usize = 4_096;
pub const TURN_ALLOCATIONS_PER_NETWORK: usize = 8_192;
pub const TURN_ALLOCATIONS_PER_SITE: usize = 16_384;
/// One in so many of a shard's relayed addresses is what users of other programs have at most, and
/// TURN_ALLOCATIONS_PER_USER in any case: with 4536 ports on 3 addresses and 2 shards 850 of 6804 go to one address, 1701 to one network.
pub const TURN_SHARE_OF_ADDRESS: usize = 8;
pub const TURN_SHARE_OF_NETWORK: usize = 4;
pub const TURN_SHARE_OF_SITE: usize = 2;
/// How long an allocation lives without a permission: a browser asks for one as soon as it knows of its peer, which may
/// be as long as a telephone rings.
pub const TURN_UNUSED_MS: u64 = 120_000;
/// Relay ports of one shard that are open sockets, each a descriptor: with 64 shards 131 072, a quarter of the hard limit
/// that systemd gives a process.
pub const TURN_OPEN_PORTS_PER_SHARD: usize = 2048;
/// Addresses that one allocation may have permissions for: ICE with a peer of 16 candidates, four times; × 40 B.
pub const TURN_PERMISSIONS_PER_ALLOCATION: usize = 64;
/// Channels of one allocation; × 48 B.
pub const TURN_CHANNELS_PER_ALLOCATION: usize = 64;
/// Bytes that one allocation may relay in a second, both directions together: 100 Mbit/s, 40 videos of 2.5 Mbit/s.
pub const TURN_BYTES_PER_SECOND: u64 = 12_500_000;
/// New permissions of one allocation in a second, and as many at once as it may have: no port scan goes fast.
pub const TURN_NEW_PEERS_PER_SECOND: u32 = 16;
/// RFC 8656, section 3.2: the usual lifetime of an allocation, and the longest that we grant.
pub const TURN_LIFETIME_S: u32 = 600;
pub const TURN_LIFETIME_MAX_S: u32 = 3_600;
/// RFC 8656, section 9: lifetime of a permission; section 12: of a channel.
pub const TURN_PERMISSION_LIFETIME_MS: u64 = 300_000;
pub const TURN_CHANNEL_LIFETIME_MS: u64 = 600_000;
/// RFC 8656, section 7.2: how long a reserved port waits for its owner, and how many may wait on one shard.
pub const TURN_RESERVATION_MS: u64 = 30_000;
pub const TURN_RESERVATIONS_PER_SHARD: usize = 256;
/// RFC 6062, sections 5.2 to 5.4: how long a peer's answer to a Connect is waited for, and how long a connection of a peer
/// waits for the client's.
pub const TURN_CONNECT_MS: u64 = 30_000;
pub const TURN_CONNECTION_BIND_MS: u64 = 30_000;
/// Connections to and from peers of one relay, of one allocation, and of one user on a shard. Each that is bound has two
/// buffers of `EDGE_SPLICE_BYTES` here and, in the kernel, at most four times `EDGE_PEER_BUFFER_BYTES` (Linux doubles what
/// is asked for): 1024 × (32 + 512) KiB = 544 MiB when neither side of any of them reads.
pub const TURN_PEER_CONNECTIONS: usize = 1024;
pub const TURN_PEER_CONNECTIONS_PER_ALLOCATION: usize = 16;
pub const TURN_PEER_CONNECTIONS_PER_USER: usize = 64;
/// How long a nonce is good: RFC 8656, section 5, recommends an hour at most.
pub const TURN_NONCE_LIFETIME_S: u64 = 3_600;
/// What strangers of one prefix (/24, /56) by UDP may be answered in bytes beyond those that they sent: challenges,
/// refusals and addresses told. A bare Allocate of 28 bytes costs 52 of them, and whoever answers the challenge gives them
/// back. Two thousand requests at once are 104 KB: a thousand people behind one address who all reload. A victim of forged
/// addresses gets, after that burst, 4096 / 52 × (80 + 28) B = 68 kbit/s with all headers, for 35 kbit/s that somebody sent.
pub const TURN_STRANGER_BYTES_PER_SECOND: u32 = 4_096;
pub const TURN_STRANGER_BYTES_BURST: u32 = 128 * 1024;
/// What an answer costs that is not longer than its request: 256 in a second, so that nobody hides behind us either.
pub const TURN_STRANGER_BYTES_LEAST: usize = 16;
/// Wrong user names and passwords of one address (/32, /64), of those who have shown by a nonce of ours that they are there: a person
/// who mistypes is not held up, and 64 random bits would be guessed in ten thousand million years.
pub const TURN_GUESSES_PER_SECOND: u32 = 50;
pub const TURN_GUESSES_BURST: u32 = 1_000;
/// The same of one network (/24, /56): eight addresses that guess do not yet hold up the ninth. Each guess costs some ten
/// hashes of a microsecond, so one network takes 4 ms of a shard's second.
pub const TURN_NETWORK_GUESSES_PER_SECOND: u32 = 400;
pub const TURN_NETWORK_GUESSES_BURST: u32 = 8_000;
/// Prefixes told apart for each of the three, by hash: 3 × 16 384 × 8 B = 384 KiB a shard.
pub const TURN_STRANGER_PREFIXES: usize = 16_384;

/// Bytes that may wait for a shard of what others hand it: 20 ms at 100 Mbit/s.
pub const NEIGHBOUR_BYTES: usize = 256 * 1024;

// --- Edge: TCP and TLS --------------------------------------------------------------------------------------

/// Edge threads of a process: each serves some 50 000 packets/s over TLS.
pub const EDGE_THREADS: usize = 8;
/// TLS ports, each on every local address; with the plain one and all threads they fit into `LocalSocket`'s range.
pub const EDGE_TLS_PORTS: usize = 4;
/// Connections of all threads, and of one prefix (/24, /56): a school behind one address, thrice. 8192 × (16 KiB TLS
/// state + queue) are 140 MiB idle, and with `EDGE_QUEUE_BYTES` 1.2 GiB when none of them reads.
pub const EDGE_CONNECTIONS: usize = 8192;
pub const EDGE_CONNECTIONS_PER_PREFIX: usize = 1024;
/// From the connection to its first bytes after TLS.
pub const EDGE_FIRST_BYTES_MS: u64 = 10_000;
/// A connection without an allocation is closed after this time: a client asks for one at once.
pub const EDGE_UNALLOCATED_MS: u64 = 60_000;
/// A connection that says nothing is closed after this time: allocations are refreshed every TURN_LIFETIME_MAX_S at
/// the least, and end a little later by themselves.
pub const EDGE_SILENCE_MS: u64 = 3_660_000;
/// Bytes that wait for a client that reads slowly. From the first mark on, messages larger than
/// `EDGE_SMALL_BYTES` are dropped, for sound goes before pictures; at the second, all are. 64 KiB are 200 ms at
/// 2.5 Mbit/s: what is older helps nobody.
pub const EDGE_QUEUE_LARGE_BYTES: usize = 64 * 1024;
pub const EDGE_QUEUE_BYTES: usize = 128 * 1024;
/// Opus of 20 ms has 40 to 340 bytes, with headers of RTP, SRTP and TURN below this.
pub const EDGE_SMALL_BYTES: usize = 448;
/// Unsent bytes that the kernel takes of one connection, so that the queue is here, where it knows what to drop.
pub const EDGE_UNSENT_BYTES: u32 = 32 * 1024;
/// Bytes read from one connection before another has its turn.
pub const EDGE_READ_BYTES: usize = 32 * 1024;
/// Bytes copied at once between a client's connection and its peer's, for each direction; and of the kernel's buffers of
/// the peer's, for each direction: 128 KiB carry 2.5 MB/s over a round trip of 50 ms.
pub const EDGE_SPLICE_BYTES: usize = 16 * 1024;
pub const EDGE_PEER_BUFFER_BYTES: usize = 128 * 1024;
/// A spliced connection that carries nothing is closed after this time: three lifetimes of an allocation.
pub const EDGE_SPLICE_IDLE_MS: u64 = 1_800_000;
/// How long one direction goes on when the other has ended: RFC 6062, section 5.5, has both closed, but an answer to
/// what came last may be under way.
pub const EDGE_SPLICE_REST_MS: u64 = 10_000;
/// Connections of peers of one thread that the shard has not judged yet.
pub const EDGE_UNJUDGED_PEERS: usize = 64;
/// Messages about such connections in each ring between an edge thread and a shard; more wait beside it.
pub const EDGE_RING_MESSAGES: usize = 256;
/// Bytes of each ring between an edge thread and a shard: 10 ms at 1.6 Gbit/s.
pub const EDGE_RING_BYTES: usize = 2 << 20;
/// How long a web page waits for control, which may be starting again, before the answer is 503.
pub const EDGE_CONTROL_WAIT_MS: u64 = 3_000;

// --- RTP, RTCP ----------------------------------------------------------------------------------------------

/// SSRCs remembered for one participant, those that gave way to others among them: tracks × layers × 2 (RTX),
/// doubled. Others are counted drops.
pub const SSRCS_PER_PARTICIPANT: usize = 48;
/// Senders of RTCP remembered for one participant: those SSRCs, and one for each stream that it receives, for some
/// browsers give each receiver an SSRC of its own to report with. × 24 B are 4 KiB at the most.
pub const RTCP_SENDERS_PER_PARTICIPANT: usize = SSRCS_PER_PARTICIPANT + 2 * SLOTS_PER_PARTICIPANT;
/// SRTP replay window in packets. RFC 3711 asks for 64 at least; 1024 packets are half a second of video.
pub const REPLAY_WINDOW_PACKETS: u64 = 1024;
/// Packets between two transport-wide feedbacks of one participant: 10 Mbit/s are 1000 packets/s, a feedback every
/// 100 ms speaks of 100; the window holds 2.5 of them, so that late packets are reported still.
pub const FEEDBACK_WINDOW_PACKETS: usize = 256;
/// Packets of one layer that may be missing at once; a larger gap is left to a key frame. Half a second of
/// 5 Mbit/s video are 260 packets.
pub const MISSING_PACKETS: usize = 256;
/// Packets of one video layer kept for retransmission: two seconds of 2.5 Mbit/s, × 160 B of description = 80 KiB.
pub const CACHE_PACKETS: usize = 512;
/// Bytes of them: begins small (2 s of a 250 kbit/s layer) and doubles while that is less than a second of video,
/// up to a second of 4 Mbit/s. A layer that falls silent gives all of it back.
pub const CACHE_BYTES_FIRST: usize = 64 * 1024;
pub const CACHE_BYTES: usize = 512 * 1024;
/// Stretches of a source's sequence numbers remembered for one outgoing stream. Each switch and each run of
/// padding begins a new one. Chromium without RTX pads after each frame while it probes: 32 are a second of that;
/// × 80 B are 2.5 KiB.
pub const STRETCHES_PER_STREAM: usize = 32;
/// Packets that one subscriber may ask for again: a second's worth of 5 Mbit/s, and as much at once.
pub const RETRANSMISSIONS_PER_SECOND: u32 = 512;
/// Bytes of one RTCP compound, before encryption.
pub const RTCP_BYTES: usize = 1_200;
/// Between two transport-wide feedbacks to one publisher.
pub const FEEDBACK_INTERVAL_MS: u64 = 100;
/// Least time between two key-frame requests to one layer.
pub const KEYFRAME_REQUEST_INTERVAL_MS: u64 = 500;
/// Between sender reports, and between receiver reports (RFC 3550 allows 5 s / bandwidth; browsers use 1 s).
pub const RTCP_INTERVAL_MS: u64 = 1_000;
/// Speakers in one event.
pub const SPEAKERS_PER_EVENT: usize = 8;
/// Least time between two `Speakers` events of a room.
pub const SPEAKERS_INTERVAL_MS: u64 = 300;

// --- Queues -------------------------------------------------------------------------------------------------

/// Commands that a shard takes between two batches: a storm of joins does not hold up media.
pub const COMMANDS_PER_TURN: usize = 32;
/// Messages in each ring between main or handshake threads and a shard.
pub const RING_MESSAGES: usize = 4096;
/// Bytes of one link frame: the largest `PutParticipant` (50 slots × 150 B + note) is below 16 KiB; ×64 slack.
pub const LINK_FRAME_BYTES: usize = 1 << 20;
/// Keep-alive of the link, and after how much silence it is given up: a killed control is to be noticed soon, and
/// six lost keep-alives in a row do not happen by chance.
pub const LINK_KEEP_ALIVE_MS: u64 = 500;
pub const LINK_IDLE_MS: u32 = 3_000;
/// A peer on this machine from which nothing has come for this time, a keep-alive and some patience, is looked after:
/// whether its socket is still there shows so often.
pub const LINK_SILENCE_MS: u64 = 700;
pub const LINK_LOOK_MS: u64 = 100;
/// Time for one handshake of the link, and how many run at once: a handful of relays, and room for strangers.
pub const LINK_DIAL_MS: u64 = 3_000;
pub const LINK_HANDSHAKES: usize = 16;
/// Round trip assumed before it is measured: a first packet that was lost, because control was just starting, is
/// repeated after three times this.
pub const LINK_INITIAL_RTT_MS: u64 = 50;
/// Between two attempts to dial control, at first and at most.
pub const LINK_REDIAL_MS: u64 = 200;
pub const LINK_REDIAL_MAX_MS: u64 = 1_000;
/// Between two `Load` events.
pub const LOAD_INTERVAL_MS: u64 = 1_000;

// --- Signalling ---------------------------------------------------------------------------------------------

/// Lines of an SDP: Chromium's offer is 320 lines and 196 per slot, so 10 120 with 50 slots; a fifth of slack.
pub const SDP_LINES: usize = 12_000;
/// Bytes of one line of an SDP: the longest is the BUNDLE group, 104 MIDs of up to 16 bytes.
pub const SDP_LINE_BYTES: usize = 4096;
/// M-lines of an offer: 2 a slot, the four that send, and a few that a browser keeps of stopped transceivers.
pub const SDP_MEDIA_LINES: usize = 2 * SLOTS_PER_PARTICIPANT + TRACKS_PER_PARTICIPANT + 24;
/// Bytes of one WebSocket message: the same offer is 318 KB of JSON.
pub const SIGNALLING_MESSAGE_BYTES: usize = 384 * 1024;
/// Messages that wait for a slow client before it is closed. A room of 1024 that all join at once is two messages
/// per joiner.
pub const SIGNALLING_QUEUE_MESSAGES: usize = 4096;
/// News of others that come for a client within this time of the last write, for each message of that, wait for more: who joins
/// alone is told of at once, and when 100 join in a second, each of 1000 others learns of ten at a time.
pub const SIGNALLING_GATHER_MS: u32 = 20;
/// The longest such wait: nobody sees it, where many come and go.
pub const SIGNALLING_GATHER_MAX_MS: u32 = 100;
/// Between two pings of control, and the longest silence after which a socket is dead: two pings lost.
pub const SIGNALLING_PING_MS: u64 = 10_000;
pub const SIGNALLING_SILENCE_MS: u64 = 25_000;
/// A socket may stay open without `join` while a person chooses devices.
pub const SIGNALLING_IDLE_MS: u64 = 3_600_000;
/// Messages of one socket: a burst (an offer, some toggling) and then a rate that no person reaches.
pub const SIGNALLING_BURST_MESSAGES: u32 = 60;
pub const SIGNALLING_MESSAGES_PER_SECOND: u32 = 20;
/// From a command to its `Done`. The relay answers within a millisecond; longer means that the shard is gone.
pub const COMMAND_TIMEOUT_MS: u64 = 3_000;
/// A join waits so long for a relay, which after a restart of control dials again within one second.
pub const RELAY_WAIT_MS: u64 = 3_000;
/// A lost socket that comes back within this time is not shown to others.
pub const DETACH_GRACE_MS: u64 = 2_000;
/// Who has neither a socket nor media is removed after this time, as long as consent would last.
pub const DETACH_TIMEOUT_MS: u64 = CONSENT_TIMEOUT_MS;
/// Commands that wait for the link: a room of 1024 that all get new slots, four times.
pub const LINK_QUEUE_COMMANDS: usize = 4096;
/// Address prefixes whose rates are remembered: 65 536 × 64 B = 4 MiB.
pub const RATE_PREFIXES: usize = 65_536;
/// Characters of a room name as typed.
pub const ROOM_NAME_CHARS: usize = 120;
/// Characters of a person's name.
pub const PARTICIPANT_NAME_CHARS: usize = 64;
