//! What an offer means: which m-line is which track or slot, and which codecs and extensions both sides know.

use super::extension::Extension;
use super::h264::H264Format;
use super::parse::{Description, Direction, ExtMap, Feedback, Media, Payload, Setup, parse};
use super::{CodecPolicy, SdpError, SdpReason};
use plausch_relay_api::limits::{LAYERS_PER_TRACK, SLOTS_PER_PARTICIPANT};
use plausch_relay_api::{Codec, CodecMapping, DtlsRole, ExtensionIds, Fingerprint, MediaKind, SendTrack, TrackKind};
use plausch_signalling::{Offer, Sends};
use std::collections::{HashMap, HashSet};

/// A browser's offer, checked, and all that is needed to answer it.
#[derive(Clone, Debug)]
pub struct RemoteOffer {
    pub ufrag: String,
    pub pwd: String,
    pub fingerprint: Fingerprint,
    /// Ours in the DTLS handshake.
    pub dtls_role: DtlsRole,
    pub codecs: Vec<CodecMapping>,
    pub extensions: ExtensionIds,
    pub sends: Vec<SendTrack>,
    pub slots: Vec<SlotLines>,
    /// Every m-line in order: an answer has as many.
    pub(super) lines: Vec<Line>,
    pub(super) opus_dtx: bool,
    /// The whole session may mix one-byte and two-byte header extensions (RFC 8285, section 6).
    pub(super) allow_mixed: bool,
}

/// The m-lines of a receiving slot, by MID; at least one of them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SlotLines {
    pub audio: Option<String>,
    pub video: Option<String>,
}

/// How an m-line is answered.
#[derive(Clone, Debug)]
pub(super) enum Line {
    /// With port 0.
    Rejected {
        kind: String,
        protocol: String,
        format: String,
        mid: Option<String>,
    },
    Accepted(AcceptedLine),
}

#[derive(Clone, Debug)]
pub(super) struct AcceptedLine {
    pub(super) mid: String,
    pub(super) kind: MediaKind,
    /// As offered: an answer repeats it (RFC 9429, section 5.1.2).
    pub(super) protocol: &'static str,
    pub(super) role: Role,
    pub(super) codecs: Vec<LineCodec>,
    pub(super) extensions: Vec<LineExtension>,
    pub(super) rids: Vec<String>,
    pub(super) rtcp_rsize: bool,
    pub(super) allow_mixed: bool,
}

/// What an accepted m-line is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    Send(TrackKind),
    /// A sending m-line that is not used now.
    Idle,
    /// The n-th slot.
    Slot(usize),
}

#[derive(Clone, Debug)]
pub(super) struct LineCodec {
    pub(super) codec: Codec,
    pub(super) payload_type: u8,
    pub(super) feedback: Feedback,
    pub(super) h264: Option<H264Format>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct LineExtension {
    pub(super) id: u8,
    pub(super) extension: Extension,
    /// The offer restricted the extension to one direction, so the answer does as well.
    pub(super) one_way: bool,
}

/// Names of the one way in which media goes here, DTLS-SRTP over UDP with feedback as negotiated: all that RFC 9429, section
/// 5.1.2, has an answerer accept.
const PROTOCOLS: [&str; 6] =
    ["UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "TCP/DTLS/RTP/SAVPF", "TCP/DTLS/RTP/SAVP", "RTP/SAVPF", "RTP/SAVP"];

impl RemoteOffer {
    /// Reads an offer of our signalling and decides how each m-line is answered.
    pub fn read(offer: &Offer, policy: &CodecPolicy) -> Result<Self, SdpError> {
        let slots = offer
            .slots
            .iter()
            .map(|mids| SlotLines { audio: Some(mids.audio.clone()), video: Some(mids.video.clone()) });
        Self::read_lines(&offer.sdp, &offer.sends, slots.collect(), policy)
    }

    /// The same for m-lines whose use is known by MID.
    pub(super) fn read_lines(
        sdp: &str,
        sends_by_mid: &Sends,
        slots: Vec<SlotLines>,
        policy: &CodecPolicy,
    ) -> Result<Self, SdpError> {
        if slots.len() > SLOTS_PER_PARTICIPANT {
            return Err(SdpReason::Slots.into());
        }
        let description = parse(sdp)?;
        if let Some(place) = description.ice_lite {
            return Err(SdpReason::BothLite.at_place(place));
        }
        let roles = roles(sends_by_mid, &slots)?;
        let media = used_media(&description, &roles)?;
        check_extension_numbers(&description, &media)?;

        let order = codec_order(policy);
        let mut chosen = Vec::new();
        for (media, role) in &media {
            if let Some(role) = role {
                choose_codecs(media, role.kind, &order, &mut chosen);
            }
        }
        let mut extensions = ExtensionIds::default();
        let mut sends = Vec::new();
        let mut lines = Vec::new();
        for (media, role) in &media {
            let line = match role {
                Some(role) => {
                    let extmaps = description.extensions.iter().chain(&media.extensions);
                    let extensions = accept_extensions(extmaps, *role, &mut extensions);
                    accept(media, *role, &chosen, &order, extensions, &mut sends)?
                }
                None => None,
            };
            lines.push(line.map_or_else(|| reject(media), Line::Accepted));
        }

        let accepted = || media.iter().zip(&lines).filter(|(_, line)| matches!(line, Line::Accepted(_)));
        let Some(((first, _), _)) = accepted().next() else {
            return Err(media
                .first()
                .map_or(SdpReason::Codec.into(), |(media, _)| SdpReason::Codec.at_place(media.place)));
        };
        // One transport for all: what the first m-line that says something says (RFC 9143, section 7.1.3).
        let transports = || accepted().map(|((media, _), _)| &media.transport).chain([&description.transport]);
        let (Some(ufrag), Some(pwd)) =
            (transports().find_map(|transport| transport.ufrag), transports().find_map(|transport| transport.pwd))
        else {
            return Err(SdpReason::Ice.at_place(first.place));
        };
        let fingerprint = transports().find_map(|transport| transport.fingerprint);
        let fingerprint = fingerprint.ok_or_else(|| SdpReason::Fingerprint.at_place(first.place))?;
        // RFC 4145, section 4: who says nothing is active.
        let dtls_role = match transports().find_map(|transport| transport.setup) {
            None | Some((Setup::ActPass | Setup::Active, _)) => DtlsRole::Server,
            Some((Setup::Passive, _)) => DtlsRole::Client,
        };
        Ok(Self {
            ufrag: ufrag.to_owned(),
            pwd: pwd.to_owned(),
            fingerprint,
            dtls_role,
            codecs: chosen,
            extensions,
            sends,
            slots,
            lines,
            opus_dtx: policy.opus_dtx,
            allow_mixed: description.allow_mixed,
        })
    }

    /// SSRCs that the browser sends with: ours must be others.
    pub fn remote_ssrcs(&self) -> impl Iterator<Item = u32> {
        self.sends.iter().flat_map(|send| send.ssrcs.iter().copied())
    }
}

/// What the offer says of a MID.
#[derive(Clone, Copy, Debug)]
struct Intent {
    kind: MediaKind,
    role: Role,
}

fn roles<'a>(sends: &'a Sends, slots: &'a [SlotLines]) -> Result<HashMap<&'a str, Intent>, SdpReason> {
    let mut roles = HashMap::new();
    let mut add = |mid, kind, role| match roles.insert(mid, Intent { kind, role }) {
        Some(_) => Err(SdpReason::MidTwice),
        None => Ok(()),
    };
    for (mid, track) in [
        (&sends.microphone, TrackKind::Microphone),
        (&sends.camera, TrackKind::Camera),
        (&sends.screen, TrackKind::Screen),
        (&sends.screen_audio, TrackKind::ScreenAudio),
    ] {
        if let Some(mid) = mid {
            add(mid.as_str(), track.media(), Role::Send(track))?;
        }
    }
    for (n, slot) in slots.iter().enumerate() {
        for (mid, kind) in [(&slot.audio, MediaKind::Audio), (&slot.video, MediaKind::Video)] {
            if let Some(mid) = mid {
                add(mid.as_str(), kind, Role::Slot(n))?;
            }
        }
    }
    Ok(roles)
}

type UsedMedia<'d, 'a> = Vec<(&'d Media<'a>, Option<Intent>)>;

/// Every m-line with what it is for; `None` is rejected. All MIDs that the offer names must be there.
fn used_media<'d, 'a>(
    description: &'d Description<'a>,
    roles: &HashMap<&str, Intent>,
) -> Result<UsedMedia<'d, 'a>, SdpError> {
    let bundle: HashSet<_> = description.bundle.iter().copied().collect();
    // A description of one medium needs no group.
    let alone = bundle.is_empty() && description.media.len() == 1;
    let mut seen = HashSet::new();
    let mut found = 0;
    let mut rtcp_mux = None;
    let mut used = Vec::new();
    for media in &description.media {
        let refuse = |reason: SdpReason| Err(reason.at_place(media.place));
        if let Some(mid) = media.mid
            && !seen.insert(mid)
        {
            return refuse(SdpReason::DuplicateMid);
        }
        let Some((mid, intent)) = media.mid.and_then(|mid| Some((mid, *roles.get(mid)?))) else {
            used.push((media, None));
            continue;
        };
        found += 1;
        // Port 0 is a stopped transceiver, unless the line is only waiting to be bundled (RFC 9143, section 6).
        if media.port == 0 && !media.bundle_only {
            match intent.role {
                Role::Slot(_) => return refuse(SdpReason::Direction),
                Role::Send(_) | Role::Idle => used.push((media, None)),
            }
            continue;
        }
        let kind = match intent.kind {
            MediaKind::Audio => "audio",
            MediaKind::Video => "video",
        };
        // What the first line of the group says of RTCP holds for all: the others may leave it out (RFC 9429,
        // section 5.2.1).
        let mux = *rtcp_mux.get_or_insert(media.rtcp_mux) || media.rtcp_mux;
        match () {
            _ if media.kind != kind => return refuse(SdpReason::Kind),
            _ if !PROTOCOLS.contains(&media.protocol) => return refuse(SdpReason::Protocol),
            _ if !alone && !bundle.contains(mid) => return refuse(SdpReason::Bundle),
            _ if !mux => return refuse(SdpReason::RtcpMux),
            _ => {}
        }
        let role = match intent.role {
            Role::Slot(_) if !media.direction.receives() => return refuse(SdpReason::Direction),
            Role::Send(_) if !media.direction.sends() => Role::Idle,
            role => role,
        };
        used.push((media, Some(Intent { role, ..intent })));
    }
    if found < roles.len() {
        return Err(SdpReason::UnknownMid.into());
    }
    Ok(used)
}

/// A number means one extension in all m-lines that share a transport (RFC 9143, section 9.1), or else packets would be
/// read wrongly.
fn check_extension_numbers(description: &Description<'_>, media: &UsedMedia<'_, '_>) -> Result<(), SdpError> {
    let mut known = HashMap::new();
    let used = media.iter().filter(|(_, intent)| intent.is_some());
    for extmap in description.extensions.iter().chain(used.flat_map(|(media, _)| &media.extensions)) {
        if *known.entry(extmap.id).or_insert(extmap.uri) != extmap.uri {
            return Err(SdpReason::ExtensionConflict.at_place(extmap.place));
        }
    }
    Ok(())
}

/// The codecs of a kind, most preferred first. What the policy says of H.264 is said of all its profiles.
struct CodecOrder {
    video: Vec<Codec>,
}

fn codec_order(policy: &CodecPolicy) -> CodecOrder {
    const H264: [Codec; 5] = [Codec::H264, Codec::H264Main, Codec::H264High, Codec::H264High444, Codec::H264Extended];
    let profiles = |codec: &Codec| match codec {
        Codec::H264 => H264.to_vec(),
        other => vec![*other],
    };
    CodecOrder { video: policy.video.iter().flat_map(profiles).collect() }
}

impl CodecOrder {
    fn of(&self, kind: MediaKind) -> &[Codec] {
        match kind {
            MediaKind::Audio => &[Codec::Opus],
            MediaKind::Video => &self.video,
        }
    }
}

/// Gives each codec that the m-line knows, and that has none yet, its payload type in this connection.
fn choose_codecs(media: &Media<'_>, kind: MediaKind, order: &CodecOrder, chosen: &mut Vec<CodecMapping>) {
    for &codec in order.of(kind) {
        if chosen.iter().any(|mapping| mapping.codec == codec) {
            continue;
        }
        let best = media
            .payloads
            .iter()
            .filter(|payload| identify(payload) == Some(codec) && usable(payload.number))
            .filter(|payload| chosen.iter().all(|mapping| mapping.payload_type != payload.number))
            .min_by_key(|payload| h264_preference(payload));
        if let Some(payload) = best {
            chosen.push(CodecMapping { codec, payload_type: payload.number, rtx_payload_type: None });
        }
    }
}

/// RFC 5761, section 4: 64–95 are RTCP's on a shared port.
fn usable(payload_type: u8) -> bool {
    payload_type <= 127 && !(64..=95).contains(&payload_type)
}

/// Ranks payload types that are one codec to us, the best lowest: non-interleaved mode, and Constrained Baseline
/// rather than Baseline.
fn h264_preference(payload: &Payload<'_>) -> (bool, bool) {
    let format = h264(payload);
    let constrained = |id: &str| id.get(..4).is_some_and(|profile| profile.eq_ignore_ascii_case("42e0"));
    let preferred = format.as_ref().and_then(|format| format.profile_level_id.as_deref()).is_some_and(constrained);
    (format.is_some_and(|format| format.packetization_mode == 0), !preferred)
}

fn h264(payload: &Payload<'_>) -> Option<H264Format> {
    is_named(payload, "H264", "90000").then(|| H264Format::read(payload.fmtp)).flatten()
}

/// Whether an `a=rtpmap` has this encoding name and clock rate. What follows, the number of channels, is not looked at:
/// Opus always says 2 (RFC 7587, section 7), and some write 1 or leave it out.
fn is_named(payload: &Payload<'_>, name: &str, clock_rate: &str) -> bool {
    let mut parts = payload.rtpmap.split('/').map(str::trim);
    parts.next().is_some_and(|found| found.eq_ignore_ascii_case(name)) && parts.next() == Some(clock_rate)
}

/// The codec of a payload type, if it is one that we forward.
fn identify(payload: &Payload<'_>) -> Option<Codec> {
    let is = |name, clock_rate| is_named(payload, name, clock_rate);
    let profile_is_0 = |name| parameter(payload.fmtp, name).unwrap_or("0") == "0";
    match () {
        _ if is("opus", "48000") => Some(Codec::Opus),
        _ if is("VP8", "90000") => Some(Codec::Vp8),
        _ if is("VP9", "90000") && profile_is_0("profile-id") => Some(Codec::Vp9),
        _ if is("AV1", "90000") && profile_is_0("profile") => Some(Codec::Av1),
        _ => h264(payload).map(|format| format.codec),
    }
}

/// The value of one parameter of an `a=fmtp`.
pub(super) fn parameter<'a>(fmtp: &'a str, name: &str) -> Option<&'a str> {
    fmtp.split(';').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// An accepted m-line; `None` if both sides have no codec in common on a line that is not needed.
fn accept(
    media: &Media<'_>,
    intent: Intent,
    chosen: &[CodecMapping],
    order: &CodecOrder,
    extensions: Vec<LineExtension>,
    sends: &mut Vec<SendTrack>,
) -> Result<Option<AcceptedLine>, SdpError> {
    let mid = media.mid.ok_or(SdpReason::UnknownMid)?.to_owned();
    let codecs: Vec<_> = order
        .of(intent.kind)
        .iter()
        .filter_map(|&codec| {
            let mapping = chosen.iter().find(|mapping| mapping.codec == codec)?;
            let payload = media.payloads.get(mapping.payload_type)?;
            (identify(payload) == Some(codec)).then(|| LineCodec {
                codec,
                payload_type: payload.number,
                feedback: payload.feedback,
                h264: h264(payload),
            })
        })
        .collect();
    if codecs.is_empty() {
        // Nobody hears or sees anything without the codecs that every browser has; a screen may be missed.
        return match intent.role {
            Role::Send(TrackKind::Camera | TrackKind::Screen) | Role::Idle => Ok(None),
            Role::Send(_) | Role::Slot(_) => Err(SdpReason::Codec.at_place(media.place)),
        };
    }
    let mut rids = Vec::new();
    if let Role::Send(kind) = intent.role {
        if media.direction.sends() && kind.media() == MediaKind::Video {
            rids = simulcast_rids(media);
        }
        // With RIDs the packets say which layer they are; SSRCs in SDP would have to be matched by their order.
        let ssrcs = if rids.is_empty() {
            media.ssrcs.iter().copied().filter(|ssrc| !media.repair_ssrcs.contains(ssrc)).collect()
        } else {
            Vec::new()
        };
        sends.push(SendTrack { kind, mid: mid.clone(), ssrcs, rids: rids.clone() });
    }
    // It was found among them before.
    let protocol = PROTOCOLS.into_iter().find(|known| *known == media.protocol).unwrap_or(PROTOCOLS[0]);
    Ok(Some(AcceptedLine {
        mid,
        kind: intent.kind,
        protocol,
        role: intent.role,
        codecs,
        extensions,
        rids,
        rtcp_rsize: media.rtcp_rsize,
        allow_mixed: media.allow_mixed,
    }))
}

/// The layers in the order of the offer, in which clients name the smallest picture first; one is no simulcast.
fn simulcast_rids(media: &Media<'_>) -> Vec<String> {
    let mut rids: Vec<String> = Vec::new();
    for rid in &media.simulcast_send {
        if media.send_rids.contains(rid) && !rids.iter().any(|other| other == rid) && rids.len() < LAYERS_PER_TRACK {
            rids.push((*rid).to_owned());
        }
    }
    if rids.len() > 1 { rids } else { Vec::new() }
}

/// Extensions that serve the m-line and that have the same id on all of them.
fn accept_extensions<'a>(
    offered: impl Iterator<Item = &'a ExtMap<'a>>,
    intent: Intent,
    ids: &mut ExtensionIds,
) -> Vec<LineExtension> {
    let mut accepted: Vec<LineExtension> = Vec::new();
    for offered in offered {
        let Some(extension) = Extension::of_uri(offered.uri).filter(|extension| extension.serves(intent.kind)) else {
            continue;
        };
        let needed = match intent.role {
            Role::Send(_) | Role::Idle => Direction::sends,
            Role::Slot(_) => Direction::receives,
        };
        if offered.direction.is_some_and(|direction| !needed(direction)) {
            continue;
        }
        // 15 is reserved in the one-byte form (RFC 8285, section 4.2).
        let Some(id) = u8::try_from(offered.id).ok().filter(|id| (1..=14).contains(id)) else { continue };
        if accepted.iter().any(|other| other.extension == extension || other.id == id) {
            continue;
        }
        if *extension.slot(ids).get_or_insert(id) == id {
            let one_way = matches!(offered.direction, Some(Direction::SendOnly | Direction::RecvOnly));
            accepted.push(LineExtension { id, extension, one_way });
        }
    }
    accepted
}

fn reject(media: &Media<'_>) -> Line {
    Line::Rejected {
        kind: media.kind.to_owned(),
        protocol: media.protocol.to_owned(),
        format: media.first_format.to_owned(),
        mid: media.mid.map(str::to_owned),
    }
}
