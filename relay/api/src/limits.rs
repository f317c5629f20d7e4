//! Every limit of Plausch, with the arithmetic behind it. Relay, engine, control and bench read them here;
//! what an operator may lower is a key of the configuration files, with these as the upper bounds.

// --- Packets -----------------------------------------------------------------------------------------------

/// Largest datagram that is looked at: an Ethernet MTU of 1500 and some slack. Larger ones are counted drops.
pub const DATAGRAM_BYTES: usize = 1536;
/// Largest RTP packet that is sent on: 1280 (the least IPv6 MTU) would be safest, browsers send up to 1200 bytes
/// of RTP; we may add a MID extension (up to 24 bytes) and the SRTP tag (16).
pub const RTP_BYTES: usize = 1400;
/// Packets in one batch: 256 × 1536 B = 384 KiB, inside an L2 cache.
pub const BATCH_PACKETS: usize = 256;

// --- Participants and rooms ---------------------------------------------------------------------------------

/// Participants on one shard: 2048 × 64 KiB = 128 MiB.
pub const PARTICIPANTS_PER_SHARD: usize = 2048;
/// Participants in one room.
pub const PARTICIPANTS_PER_ROOM: usize = 500;
/// Tracks that one participant publishes: microphone, camera, screen, screen audio.
pub const TRACKS_PER_PARTICIPANT: usize = 4;
/// Simulcast layers of one track.
pub const LAYERS_PER_TRACK: usize = 3;
/// Slots of one participant: 25 tiles and a screen, doubled for a large monitor.
pub const SLOTS_PER_PARTICIPANT: usize = 50;
/// Codec mappings of one participant.
pub const CODECS_PER_PARTICIPANT: usize = 8;
/// Bytes of control's note: a name of 64 characters, a room name of 120, tokens and mids; 4 KiB is ten times that.
pub const NOTE_BYTES: usize = 4096;
/// Bytes of a MID or RID: what a one-byte header extension carries (RFC 8285, section 4.2).
pub const MID_BYTES: usize = 16;

// --- ICE, DTLS ----------------------------------------------------------------------------------------------

/// Address pairs remembered for one participant; the oldest unselected one is evicted.
pub const TUPLES_PER_PARTICIPANT: usize = 8;
/// RFC 7675, section 5.1: consent expires 30 s after the last valid check.
pub const CONSENT_TIMEOUT_MS: u64 = 30_000;
/// From `PutParticipant` to a finished DTLS handshake. A browser that cannot reach us gives up after 30 s itself.
pub const CONNECT_TIMEOUT_MS: u64 = 30_000;
/// DTLS datagrams of one participant before its handshake is finished: flights of about 10, repeated 6 times.
pub const HANDSHAKE_DATAGRAMS: u32 = 100;
/// Handshakes under way on one shard: 1024 × about 60 KiB of TLS state = 60 MiB.
pub const HANDSHAKES_PER_SHARD: usize = 1024;

// --- RTP, RTCP ----------------------------------------------------------------------------------------------

/// SSRCs remembered for one participant: tracks × layers × 2 (RTX), doubled. Others are counted drops.
pub const SSRCS_PER_PARTICIPANT: usize = 48;
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
/// padding begins a new one; 16 × 80 B.
pub const STRETCHES_PER_STREAM: usize = 16;
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

/// Messages in each ring between main or handshake threads and a shard.
pub const RING_MESSAGES: usize = 4096;
/// Bytes of one link frame: the largest `PutParticipant` (50 slots × 150 B + note) is below 16 KiB; ×64 slack.
pub const LINK_FRAME_BYTES: usize = 1 << 20;
/// Keep-alive of the link, and after how much silence it is given up: a killed control is to be noticed soon, and
/// six lost keep-alives in a row do not happen by chance.
pub const LINK_KEEP_ALIVE_MS: u64 = 500;
pub const LINK_IDLE_MS: u32 = 3_000;
/// Time for one handshake of the link, and how many run at once: a handful of relays, and room for strangers.
pub const LINK_DIAL_MS: u64 = 3_000;
pub const LINK_HANDSHAKES: usize = 16;
/// Between two attempts to dial control, at first and at most.
pub const LINK_REDIAL_MS: u64 = 200;
pub const LINK_REDIAL_MAX_MS: u64 = 1_000;
/// Between two `Load` events.
pub const LOAD_INTERVAL_MS: u64 = 1_000;

// --- Signalling ---------------------------------------------------------------------------------------------

/// Bytes of one WebSocket message: a browser's offer with 50 slots is about 100 KiB.
pub const SIGNALLING_MESSAGE_BYTES: usize = 256 * 1024;
/// Lines of an SDP.
pub const SDP_LINES: usize = 8_000;
/// Characters of a room name as typed.
pub const ROOM_NAME_CHARS: usize = 120;
/// Characters of a person's name.
pub const PARTICIPANT_NAME_CHARS: usize = 64;
