//! What an offer means: which m-line is which track or slot, and which codecs and extensions both sides know.

use super::extension::Extension;
use super::parse::{Description, Direction, Feedback, Media, Payload, Setup, parse};
use super::{CodecPolicy, SdpError};
use plausch_relay_api::limits::{LAYERS_PER_TRACK, SLOTS_PER_PARTICIPANT};
use plausch_relay_api::{Codec, CodecMapping, ExtensionIds, Fingerprint, MediaKind, SendTrack, TrackKind};
use plausch_signalling::{Offer, SlotMids};
use std::collections::HashMap;

/// A browser's offer, checked, and all that is needed to answer it.
#[derive(Clone, Debug)]
pub struct RemoteOffer {
    pub ufrag: String,
    pub pwd: String,
    pub fingerprint: Fingerprint,
    pub codecs: Vec<CodecMapping>,
    pub extensions: ExtensionIds,
    pub sends: Vec<SendTrack>,
    pub slots: Vec<SlotMids>,
    /// Every m-line in order: an answer has as many.
    pub(super) lines: Vec<Line>,
    pub(super) opus_dtx: bool,
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
    pub(super) role: Role,
    pub(super) codecs: Vec<LineCodec>,
    pub(super) extensions: Vec<LineExtension>,
    pub(super) rids: Vec<String>,
    pub(super) rtcp_rsize: bool,
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
    /// Of H.264, as offered.
    pub(super) profile_level_id: Option<String>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct LineExtension {
    pub(super) id: u8,
    pub(super) extension: Extension,
    /// The offer restricted the extension to one direction, so the answer does as well.
    pub(super) one_way: bool,
}

/// The only profile that browsers use (RFC 8829, section 5.1.2).
const PROTOCOL: &str = "UDP/TLS/RTP/SAVPF";

impl RemoteOffer {
    /// Reads an offer and decides how each m-line is answered.
    pub fn read(offer: &Offer, policy: &CodecPolicy) -> Result<Self, SdpError> {
        if offer.slots.len() > SLOTS_PER_PARTICIPANT {
            return Err(SdpError::Slots);
        }
        let description = parse(&offer.sdp)?;
        let roles = roles(offer)?;
        let media = used_media(&description, &roles)?;

        let mut chosen = Vec::new();
        for (media, role) in &media {
            if let Some(role) = role {
                choose_codecs(media, role.kind, policy, &mut chosen);
            }
        }
        let mut extensions = ExtensionIds::default();
        let mut sends = Vec::new();
        let mut lines = Vec::new();
        for (media, role) in &media {
            let line = match role {
                Some(role) => accept(media, *role, &chosen, policy, &mut extensions, &mut sends)?,
                None => None,
            };
            lines.push(line.map_or_else(|| reject(media), Line::Accepted));
        }

        let first = media.iter().zip(&lines).find(|(_, line)| matches!(line, Line::Accepted(_)));
        let Some(((first, _), _)) = first else { return Err(SdpError::Codec) };
        let session = &description.transport;
        let transport = &first.transport;
        let (Some(ufrag), Some(pwd)) = (transport.ufrag.or(session.ufrag), transport.pwd.or(session.pwd)) else {
            return Err(SdpError::Ice);
        };
        // We are the DTLS server: a lite agent cannot know when the way to the browser is open.
        if !matches!(transport.setup.or(session.setup), Some(Setup::ActPass | Setup::Active)) {
            return Err(SdpError::Setup);
        }
        let fingerprint = transport.fingerprint.or(session.fingerprint).ok_or(SdpError::Fingerprint)?;
        Ok(Self {
            ufrag: ufrag.to_owned(),
            pwd: pwd.to_owned(),
            fingerprint,
            codecs: chosen,
            extensions,
            sends,
            slots: offer.slots.clone(),
            lines,
            opus_dtx: policy.opus_dtx,
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

fn roles(offer: &Offer) -> Result<HashMap<&str, Intent>, SdpError> {
    let mut roles = HashMap::new();
    let mut add = |mid, kind, role| match roles.insert(mid, Intent { kind, role }) {
        Some(_) => Err(SdpError::MidTwice),
        None => Ok(()),
    };
    for (mid, track) in [
        (&offer.sends.microphone, TrackKind::Microphone),
        (&offer.sends.camera, TrackKind::Camera),
        (&offer.sends.screen, TrackKind::Screen),
        (&offer.sends.screen_audio, TrackKind::ScreenAudio),
    ] {
        if let Some(mid) = mid {
            add(mid.as_str(), track.media(), Role::Send(track))?;
        }
    }
    for (n, slot) in offer.slots.iter().enumerate() {
        add(slot.audio.as_str(), MediaKind::Audio, Role::Slot(n))?;
        add(slot.video.as_str(), MediaKind::Video, Role::Slot(n))?;
    }
    Ok(roles)
}

type UsedMedia<'d, 'a> = Vec<(&'d Media<'a>, Option<Intent>)>;

/// Every m-line with what it is for; `None` is rejected. All MIDs that the offer names must be there.
fn used_media<'d, 'a>(
    description: &'d Description<'a>,
    roles: &HashMap<&str, Intent>,
) -> Result<UsedMedia<'d, 'a>, SdpError> {
    let bundle: std::collections::HashSet<_> = description.bundle.iter().copied().collect();
    let mut seen = std::collections::HashSet::new();
    let mut found = 0;
    let mut used = Vec::new();
    for media in &description.media {
        if let Some(mid) = media.mid
            && !seen.insert(mid)
        {
            return Err(SdpError::DuplicateMid);
        }
        let Some((mid, intent)) = media.mid.and_then(|mid| Some((mid, *roles.get(mid)?))) else {
            used.push((media, None));
            continue;
        };
        found += 1;
        // Port 0 is a stopped transceiver, unless the line is only waiting to be bundled (RFC 9143, section 6).
        if media.port == 0 && !media.bundle_only {
            match intent.role {
                Role::Slot(_) => return Err(SdpError::Direction),
                Role::Send(_) | Role::Idle => used.push((media, None)),
            }
            continue;
        }
        let kind = match intent.kind {
            MediaKind::Audio => "audio",
            MediaKind::Video => "video",
        };
        match () {
            _ if media.kind != kind => return Err(SdpError::Kind),
            _ if media.protocol != PROTOCOL => return Err(SdpError::Protocol),
            _ if !bundle.contains(mid) => return Err(SdpError::Bundle),
            _ if !media.rtcp_mux => return Err(SdpError::RtcpMux),
            _ => {}
        }
        let role = match intent.role {
            Role::Slot(_) if !media.direction.receives() => return Err(SdpError::Direction),
            Role::Send(_) if !media.direction.sends() => Role::Idle,
            role => role,
        };
        used.push((media, Some(Intent { role, ..intent })));
    }
    if found < roles.len() {
        return Err(SdpError::UnknownMid);
    }
    Ok(used)
}

/// Gives each codec that the m-line knows, and that has none yet, its payload type in this connection.
fn choose_codecs(media: &Media<'_>, kind: MediaKind, policy: &CodecPolicy, chosen: &mut Vec<CodecMapping>) {
    let wanted: &[Codec] = match kind {
        MediaKind::Audio => &[Codec::Opus],
        MediaKind::Video => &policy.video,
    };
    for &codec in wanted {
        if chosen.iter().any(|mapping| mapping.codec == codec) {
            continue;
        }
        let best = media
            .payloads
            .iter()
            .filter(|payload| identify(payload) == Some(codec) && usable(payload.number))
            .filter(|payload| chosen.iter().all(|mapping| mapping.payload_type != payload.number))
            .min_by_key(|payload| codec == Codec::H264 && !is_constrained_baseline(payload));
        if let Some(payload) = best {
            chosen.push(CodecMapping { codec, payload_type: payload.number, rtx_payload_type: None });
        }
    }
}

/// RFC 5761, section 4: 64–95 are RTCP's on a shared port.
fn usable(payload_type: u8) -> bool {
    payload_type <= 127 && !(64..=95).contains(&payload_type)
}

/// The codec of a payload type, if it is the one profile that we forward.
fn identify(payload: &Payload<'_>) -> Option<Codec> {
    let rtpmap = payload.rtpmap;
    let is = |name: &str| rtpmap.eq_ignore_ascii_case(name);
    match () {
        _ if is("opus/48000/2") => Some(Codec::Opus),
        _ if is("VP8/90000") => Some(Codec::Vp8),
        _ if is("VP9/90000") && parameter(payload.fmtp, "profile-id").unwrap_or("0") == "0" => Some(Codec::Vp9),
        _ if is("H264/90000")
            && parameter(payload.fmtp, "packetization-mode") == Some("1")
            && profile_level_id(payload).is_some_and(is_baseline) =>
        {
            Some(Codec::H264)
        }
        _ if is("AV1/90000") && parameter(payload.fmtp, "profile").unwrap_or("0") == "0" => Some(Codec::Av1),
        _ => None,
    }
}

/// The value of one parameter of an `a=fmtp`.
fn parameter<'a>(fmtp: &'a str, name: &str) -> Option<&'a str> {
    fmtp.split(';').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn profile_level_id<'a>(payload: &Payload<'a>) -> Option<&'a str> {
    parameter(payload.fmtp, "profile-level-id")
        .filter(|id| id.len() == 6 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// RFC 6184, section 8.1: profile_idc 42 with or without the constraint flags; both decode constrained baseline.
fn is_baseline(profile_level_id: &str) -> bool {
    profile_level_id.starts_with("42")
}

fn is_constrained_baseline(payload: &Payload<'_>) -> bool {
    profile_level_id(payload).is_some_and(|id| id.get(..4).is_some_and(|profile| profile.eq_ignore_ascii_case("42e0")))
}

/// An accepted m-line; `None` if both sides have no codec in common on a line that is not needed.
fn accept(
    media: &Media<'_>,
    intent: Intent,
    chosen: &[CodecMapping],
    policy: &CodecPolicy,
    ids: &mut ExtensionIds,
    sends: &mut Vec<SendTrack>,
) -> Result<Option<AcceptedLine>, SdpError> {
    let mid = media.mid.ok_or(SdpError::UnknownMid)?.to_owned();
    let order: &[Codec] = if intent.kind == MediaKind::Audio { &[Codec::Opus] } else { &policy.video };
    let codecs: Vec<_> = order
        .iter()
        .filter_map(|&codec| {
            let mapping = chosen.iter().find(|mapping| mapping.codec == codec)?;
            let payload = media.payloads.get(mapping.payload_type)?;
            (identify(payload) == Some(codec)).then(|| LineCodec {
                codec,
                payload_type: payload.number,
                feedback: payload.feedback,
                profile_level_id: profile_level_id(payload).filter(|_| codec == Codec::H264).map(str::to_owned),
            })
        })
        .collect();
    if codecs.is_empty() {
        // Nobody hears or sees anything without the codecs that every browser has; a screen may be missed.
        return match intent.role {
            Role::Send(TrackKind::Camera | TrackKind::Screen) | Role::Idle => Ok(None),
            Role::Send(_) | Role::Slot(_) => Err(SdpError::Codec),
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
    let extensions = accept_extensions(media, intent, ids);
    Ok(Some(AcceptedLine {
        mid,
        kind: intent.kind,
        role: intent.role,
        codecs,
        extensions,
        rids,
        rtcp_rsize: media.rtcp_rsize,
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
fn accept_extensions(media: &Media<'_>, intent: Intent, ids: &mut ExtensionIds) -> Vec<LineExtension> {
    let mut accepted: Vec<LineExtension> = Vec::new();
    for offered in &media.extensions {
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
