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
    /// Address pairs that passed an ICE check.
    Gauge tuples;
    /// DTLS handshakes under way.
    Gauge handshakes;
    /// Participants with SRTP keys.
    Gauge connected;
    /// How much of the pictures is left out because there is more than this shard can do: 0 nothing, 128 all.
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
    /// A check on a path from which media of another participant comes.
    Counter drop_stun_path_taken;
    /// A TURN channel, which nobody has opened.
    Counter drop_turn_channel;
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
