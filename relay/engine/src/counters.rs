//! One number for everything that happens and for every reason to drop.

/// Whether a number only grows or is a state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CounterKind {
    /// Only grows.
    Counter,
    /// Goes up and down; back at zero when the engine holds nobody.
    Gauge,
}

/// One number, for the metrics page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CounterEntry {
    /// Snake case, without prefix. Reasons to drop begin with `drop_`.
    pub name: &'static str,
    pub kind: CounterKind,
    pub value: u64,
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $kind:ident $name:ident;)+) => {
        /// All numbers of one engine.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct Counters {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Counters {
            /// Every number with its name, in the order of the source.
            pub fn entries(&self) -> impl Iterator<Item = CounterEntry> {
                [$(CounterEntry { name: stringify!($name), kind: CounterKind::$kind, value: self.$name },)+].into_iter()
            }
        }
    };
}

counters! {
    /// Participants that control has put.
    Gauge participants;
    /// Rooms with at least one participant.
    Gauge rooms;
    /// Published tracks.
    Gauge tracks;
    /// Slots that are assigned to a source.
    Gauge subscriptions;
    /// Incoming SSRCs that are or were bound to a track.
    Gauge ssrcs;
    /// Address pairs that passed an ICE check, or that control named.
    Gauge tuples;
    /// DTLS handshakes under way.
    Gauge handshakes;
    /// Participants with SRTP keys.
    Gauge connected;
    /// TURN allocations.
    Gauge turn_allocations;
    /// Of their relayed addresses, those that are sockets.
    Gauge turn_ports;
    /// Ports that wait for who shows their token.
    Gauge turn_reservations;
    /// TCP connections of TURN clients' peers, and those under way.
    Gauge turn_connections;
    /// How many of a thousand pictures are left out because there is more than this shard can do.
    Gauge overload;

    /// Datagrams received.
    Counter received_packets;
    /// Bytes of them.
    Counter received_bytes;
    /// RTP packets that were opened and belong to a track.
    Counter rtp_received;
    /// RTP packets sent on to subscribers, without retransmissions.
    Counter rtp_forwarded;
    /// Of these, packets of a key frame sent from the cache, because its first packet came after them.
    Counter rtp_caught_up;
    /// RTP packets sent again because a subscriber asked.
    Counter rtp_retransmitted;
    /// RTP packets that got a byte of padding, so that they are as long as others of their frame.
    Counter rtp_padded;
    /// Empty RTP packets that fill a place in a sequence.
    Counter rtp_fillers;
    /// Padding-only packets of publishers, which are not sent on.
    Counter rtp_padding;
    /// RTP packets that came after a larger sequence number.
    Counter rtp_reordered;
    /// RTCP compounds received and opened.
    Counter rtcp_received;
    /// RTCP compounds sent.
    Counter rtcp_sent;
    /// Key-frame requests sent to publishers.
    Counter keyframe_requests_sent;
    /// Key-frame requests of subscribers.
    Counter keyframe_requests_received;
    /// Packets that publishers were asked to send again.
    Counter nacks_sent;
    /// Packets that subscribers asked for again.
    Counter nacks_received;
    /// Packets asked for that were not in the cache any more.
    Counter nacks_missed;
    /// ICE checks that were answered with success.
    Counter stun_checks;
    /// ICE checks answered with 487 Role Conflict.
    Counter stun_role_conflicts;
    /// ICE restarts that the browser has followed.
    Counter ice_restarts;
    /// ICE checks answered with 420 Unknown Attribute.
    Counter stun_unknown_attributes;
    /// Binding requests without credentials that were answered.
    Counter stun_bindings;
    /// Of these, with an error.
    Counter stun_bindings_refused;
    /// TURN requests that were granted.
    Counter turn_requests;
    /// Packets relayed to peers, through a port.
    Counter turn_to_peers;
    /// Packets relayed from peers, through a port.
    Counter turn_from_peers;
    /// Packets of TURN clients for this shard.
    Counter turn_inner_received;
    /// Packets of this shard to its TURN clients.
    Counter turn_inner_sent;
    /// Packets that one TURN client sent to the relayed address of another.
    Counter turn_between_clients;
    /// TURN allocations that ended because nobody may have used them for long.
    Counter turn_unused;
    /// TURN requests refused because their client's network has its share; among those answered with 486.
    Counter turn_refused_network;
    /// TCP connections to peers that TURN clients asked for and got.
    Counter turn_connected;
    /// TCP connections of peers that were announced to TURN clients.
    Counter turn_accepted;
    /// Of both, those that a client has bound.
    Counter turn_bound;
    /// Relay ports that could not be opened.
    Counter turn_ports_failed;
    /// TURN requests without credentials, answered with 401 and what is needed.
    Counter turn_challenges;
    /// TURN requests answered with 400 Bad Request.
    Counter turn_refused_bad_request;
    /// TURN requests answered with 401 Unauthenticated: wrong user, password or expiry.
    Counter turn_refused_unauthenticated;
    /// TURN requests answered with 403 Forbidden: the policy has no such peers.
    Counter turn_refused_forbidden;
    /// TURN requests answered with 420 Unknown Attribute.
    Counter turn_refused_unknown_attribute;
    /// TURN requests answered with 437 Allocation Mismatch.
    Counter turn_refused_mismatch;
    /// TURN requests answered with 438 Stale Nonce.
    Counter turn_refused_stale_nonce;
    /// TURN requests answered with 440 Address Family not Supported.
    Counter turn_refused_family;
    /// TURN requests answered with 441 Wrong Credentials: those of another allocation.
    Counter turn_refused_wrong_user;
    /// TURN requests answered with 442 Unsupported Transport Protocol.
    Counter turn_refused_transport;
    /// TURN requests answered with 443 Peer Address Family Mismatch.
    Counter turn_refused_peer_family;
    /// TURN requests answered with 446 Connection Already Exists.
    Counter turn_refused_connection_exists;
    /// TURN requests answered with 447 Connection Timeout or Failure.
    Counter turn_refused_connection_failed;
    /// TURN requests answered with 486 Allocation Quota Reached.
    Counter turn_refused_quota;
    /// TURN requests answered with 508 Insufficient Capacity.
    Counter turn_refused_capacity;
    /// Checks of ours.
    Counter stun_checks_sent;
    /// Those of them that were answered.
    Counter stun_checks_answered;
    /// The selected path of a participant changed.
    Counter path_changes;
    /// DTLS datagrams handed to the handshake threads.
    Counter dtls_datagrams;

    /// Not one of the protocols of RFC 7983, or empty.
    Counter drop_unknown_protocol;
    /// Longer than `limits::DATAGRAM_BYTES`.
    Counter drop_oversized;
    /// Not well-formed STUN, or not a Binding request.
    Counter drop_stun_malformed;
    /// FINGERPRINT missing or wrong.
    Counter drop_stun_fingerprint;
    /// USERNAME names no participant.
    Counter drop_stun_unknown_user;
    /// MESSAGE-INTEGRITY missing or wrong.
    Counter drop_stun_integrity;
    /// A check on a path from which media of another participant comes, or that control gave to another.
    Counter drop_stun_path_taken;
    /// An answer to no check of ours, or with a wrong MESSAGE-INTEGRITY.
    Counter drop_stun_answer;
    /// DTLS of ours beyond three times what came from a path that has not answered our check.
    Counter drop_dtls_no_consent;
    /// STUN or DTLS from the address of a keyed participant.
    Counter drop_keyed_protocol;
    /// TURN requests from relayed addresses of this relay.
    Counter drop_turn_within_turn;
    /// Data for a TURN channel that its sender has not bound.
    Counter drop_turn_channel;
    /// TURN data that does not hold together.
    Counter drop_turn_malformed;
    /// Data to or from a TURN allocation that there is not.
    Counter drop_turn_no_allocation;
    /// Data to or from a peer without a permission.
    Counter drop_turn_no_permission;
    /// TCP connections of peers without a permission.
    Counter drop_turn_peer_forbidden;
    /// TCP connections of peers beyond what an allocation, its user or the shard may have.
    Counter drop_turn_peer_limit;
    /// TCP connections that no client has bound in time.
    Counter drop_turn_unbound;
    /// Data to an address that the policy has not, though there is a permission for its host.
    Counter drop_turn_forbidden_peer;
    /// Data beyond the allocation's bandwidth.
    Counter drop_turn_bandwidth;
    /// Data to a peer outside before there is a port, or after that could not be opened.
    Counter drop_turn_no_port;
    /// Answers to strangers beyond what their prefix may have.
    Counter drop_turn_stranger_limit;
    /// DTLS from a path without a valid ICE check.
    Counter drop_dtls_unchecked;
    /// More DTLS datagrams than a handshake needs, or too many handshakes at once.
    Counter drop_dtls_limit;
    /// SRTP or SRTCP from a path without a valid ICE check.
    Counter drop_srtp_unchecked;
    /// SRTP or SRTCP before the keys are known.
    Counter drop_srtp_no_keys;
    /// SRTP or SRTCP whose tag is wrong or that is cut short.
    Counter drop_srtp_forged;
    /// SRTP or SRTCP seen before, or older than the replay window.
    Counter drop_srtp_replayed;
    /// RTP whose header does not hold together.
    Counter drop_rtp_malformed;
    /// RTP with an SSRC that belongs to no track.
    Counter drop_rtp_unknown_ssrc;
    /// RTP beyond the number of SSRCs that a participant may use.
    Counter drop_rtp_ssrc_limit;
    /// RTP with a payload type that was not negotiated, or of the wrong kind of media.
    Counter drop_rtp_payload_type;
    /// RTP larger than may be sent on.
    Counter drop_rtp_oversized;
    /// RTP that came while packets of the same room were still due to go out.
    Counter drop_gathered_full;
    /// RTCP that does not hold together.
    Counter drop_rtcp_malformed;
    /// RTCP beyond the number of senders that a participant may have.
    Counter drop_rtcp_sender_limit;
    /// RTCP feedback about an SSRC that is not ours.
    Counter drop_rtcp_unknown_ssrc;
    /// Retransmissions beyond the subscriber's budget.
    Counter drop_nack_limit;
    /// The subscriber has not negotiated the codec.
    Counter drop_egress_codec;
    /// Video held back until a key frame.
    Counter drop_egress_no_keyframe;
    /// Video left out because there is more than this shard can do.
    Counter drop_egress_overload;
    /// A packet from before the point at which the slot began to follow its source.
    Counter drop_egress_late;
    /// The packet with its new header would be too large.
    Counter drop_egress_oversized;
    /// The cipher refused the packet.
    Counter drop_egress_seal;
    /// The outgoing batch was full.
    Counter drop_tx_full;
    /// DTLS datagrams or keys for a participant or generation that is gone.
    Counter drop_dtls_stale;
}
