//! As much SDP as the client needs: it writes its own offers and reads answers.

use super::JoinOptions;
use super::dtls::Identity;
use super::ice::Credentials;
use super::random;
use plausch_signalling::{Offer, Sends, SlotMids};
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

/// `urn:ietf:params:rtp-hdrext:sdes:mid` and so on, with the ids that the client offers on every m-line.
pub(crate) const EXTENSION_MID: u8 = 1;
pub(crate) const EXTENSION_AUDIO_LEVEL: u8 = 2;
pub(crate) const EXTENSION_TRANSPORT_CC: u8 = 3;
pub(crate) const EXTENSION_RID: u8 = 4;
const EXTENSION_URIS: [(u8, &str); 4] = [
    (EXTENSION_MID, "urn:ietf:params:rtp-hdrext:sdes:mid"),
    (EXTENSION_AUDIO_LEVEL, "urn:ietf:params:rtp-hdrext:ssrc-audio-level"),
    (EXTENSION_TRANSPORT_CC, "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"),
    (EXTENSION_RID, "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"),
];

/// Payload types that the client offers.
pub(crate) const PAYLOAD_OPUS: u8 = 111;
pub(crate) const PAYLOAD_VP8: u8 = 96;
/// Received and counted, not sent: (payload type, rtpmap, fmtp).
const OTHER_VIDEO: [(u8, &str, &str); 3] = [
    (98, "VP9/90000", "profile-id=0"),
    (102, "H264/90000", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"),
    (45, "AV1/90000", "level-idx=5;profile=0;tier=0"),
];

const VIDEO_FEEDBACK: [&str; 4] = ["transport-cc", "ccm fir", "nack", "nack pli"];

/// RIDs of simulcast layers, smallest picture first.
pub(crate) const RIDS: [&str; 3] = ["l", "m", "h"];

/// MIDs of the sending m-lines.
pub(crate) const MID_MICROPHONE: &str = "0";
pub(crate) const MID_CAMERA: &str = "1";
/// Before the slots: microphone and camera.
const SENDING_LINES: usize = 2;

/// What an offer says.
#[derive(Clone, Debug)]
pub(crate) struct LocalDescription {
    pub(crate) session: u64,
    pub(crate) ice: Credentials,
    /// SHA-256 of the DTLS certificate.
    pub(crate) fingerprint: [u8; 32],
    pub(crate) cname: String,
    pub(crate) microphone: Option<u32>,
    /// One SSRC for each layer, smallest picture first.
    pub(crate) camera: Vec<u32>,
    pub(crate) slots: u16,
}

impl LocalDescription {
    /// A new PeerConnection as the options want it.
    pub(crate) fn of(options: &JoinOptions, identity: &Identity, slots: u16) -> Self {
        Self {
            microphone: options.microphone.then(random::ssrc),
            camera: (0..options.camera_layers).map(|_| random::ssrc()).collect(),
            ..Self::watching(identity, slots)
        }
    }

    /// A new PeerConnection that only receives.
    pub(crate) fn watching(identity: &Identity, slots: u16) -> Self {
        Self {
            session: random::u64(),
            ice: Credentials::random(),
            fingerprint: identity.fingerprint,
            cname: random::ice_string::<16>(),
            microphone: None,
            camera: Vec::new(),
            slots,
        }
    }

    /// The offer number `id` of PeerConnection number `connection`.
    pub(crate) fn offer(&self, id: u32, connection: u32) -> Offer {
        Offer {
            id,
            connection,
            sdp: self.sdp(id),
            sends: Sends {
                microphone: self.microphone.map(|_| MID_MICROPHONE.to_owned()),
                camera: (!self.camera.is_empty()).then(|| MID_CAMERA.to_owned()),
                ..Sends::default()
            },
            slots: (0..self.slots).map(slot_mids).collect(),
        }
    }

    /// The offer's text.
    pub(crate) fn sdp(&self, version: u32) -> String {
        let mut mids: Vec<String> = Vec::new();
        mids.extend(self.microphone.map(|_| MID_MICROPHONE.to_owned()));
        mids.extend((!self.camera.is_empty()).then(|| MID_CAMERA.to_owned()));
        mids.extend((0..self.slots).map(slot_mids).flat_map(|mids| [mids.audio, mids.video]));
        let mut out = self.head(version, &mids);
        out.line("a=msid-semantic: WMS *");
        if let Some(ssrc) = self.microphone {
            self.media(&mut out, "audio", MID_MICROPHONE);
            out.line("a=sendonly");
            out.line("a=msid:own microphone");
            out.line(format_args!("a=ssrc:{ssrc} cname:{}", self.cname));
        }
        if let Some(ssrc) = self.camera.first() {
            self.media(&mut out, "video", MID_CAMERA);
            out.line("a=sendonly");
            out.line("a=msid:own camera");
            if self.camera.len() == 1 {
                out.line(format_args!("a=ssrc:{ssrc} cname:{}", self.cname));
            } else {
                let rids = &RIDS[..self.camera.len().min(RIDS.len())];
                for rid in rids {
                    out.line(format_args!("a=rid:{rid} send"));
                }
                out.line(format_args!("a=simulcast:send {}", rids.join(";")));
            }
        }
        for mids in (0..self.slots).map(slot_mids) {
            for (kind, mid) in [("audio", &mids.audio), ("video", &mids.video)] {
                self.media(&mut out, kind, mid);
                out.line("a=recvonly");
            }
        }
        out.0
    }

    /// The answer to an offer that only sends: takes its Opus and its video, and becomes the DTLS client.
    pub(crate) fn answer(&self, offer: &RemoteDescription) -> String {
        let mids: Vec<String> =
            offer.media.iter().filter(|media| !media.rejected).map(|media| media.mid.clone()).collect();
        let mut out = self.head(1, &mids);
        for media in &offer.media {
            let (kind, codecs) = (&media.kind, media.known_codecs());
            let payloads: Vec<String> = codecs.iter().map(|(payload, _)| payload.to_string()).collect();
            if media.rejected || payloads.is_empty() {
                out.line(format_args!("m={kind} 0 UDP/TLS/RTP/SAVPF 0"));
                out.line(format_args!("a=mid:{}", media.mid));
                out.line("a=inactive");
                continue;
            }
            out.line(format_args!("m={kind} 9 UDP/TLS/RTP/SAVPF {}", payloads.join(" ")));
            self.transport(&mut out, "active", &media.mid);
            for (id, uri) in &media.extensions {
                if EXTENSION_URIS.iter().any(|(_, known)| known == uri) {
                    out.line(format_args!("a=extmap:{id} {uri}"));
                }
            }
            out.line("a=recvonly");
            out.line("a=rtcp-mux");
            for (payload, map) in codecs {
                out.line(format_args!("a=rtpmap:{payload} {map}"));
                if kind == "video" {
                    for feedback in VIDEO_FEEDBACK {
                        out.line(format_args!("a=rtcp-fb:{payload} {feedback}"));
                    }
                }
            }
        }
        out.0
    }

    fn head(&self, version: u32, mids: &[String]) -> SdpText {
        let mut out = SdpText::default();
        out.line("v=0");
        out.line(format_args!("o=- {} {version} IN IP4 127.0.0.1", self.session >> 1));
        out.line("s=-");
        out.line("t=0 0");
        out.line(format_args!("a=group:BUNDLE {}", mids.join(" ")));
        out
    }

    fn transport(&self, out: &mut SdpText, setup: &str, mid: &str) {
        out.line("c=IN IP4 0.0.0.0");
        out.line("a=rtcp:9 IN IP4 0.0.0.0");
        out.line(format_args!("a=ice-ufrag:{}", self.ice.ufrag));
        out.line(format_args!("a=ice-pwd:{}", self.ice.pwd));
        out.line("a=ice-options:trickle");
        let hex: Vec<String> = self.fingerprint.iter().map(|byte| format!("{byte:02X}")).collect();
        out.line(format_args!("a=fingerprint:sha-256 {}", hex.join(":")));
        out.line(format_args!("a=setup:{setup}"));
        out.line(format_args!("a=mid:{mid}"));
    }

    fn media(&self, out: &mut SdpText, kind: &str, mid: &str) {
        let audio = kind == "audio";
        let payloads = match audio {
            true => PAYLOAD_OPUS.to_string(),
            false => OTHER_VIDEO.iter().fold(PAYLOAD_VP8.to_string(), |list, (pt, ..)| format!("{list} {pt}")),
        };
        out.line(format_args!("m={kind} 9 UDP/TLS/RTP/SAVPF {payloads}"));
        self.transport(out, "actpass", mid);
        for (id, uri) in EXTENSION_URIS {
            let used = match id {
                EXTENSION_AUDIO_LEVEL => audio,
                EXTENSION_RID => !audio,
                _ => true,
            };
            if used {
                out.line(format_args!("a=extmap:{id} {uri}"));
            }
        }
        out.line("a=rtcp-mux");
        out.line("a=rtcp-rsize");
        if audio {
            out.line(format_args!("a=rtpmap:{PAYLOAD_OPUS} opus/48000/2"));
            out.line(format_args!("a=rtcp-fb:{PAYLOAD_OPUS} transport-cc"));
            out.line(format_args!("a=fmtp:{PAYLOAD_OPUS} minptime=10;useinbandfec=1"));
            return;
        }
        for (payload, map, parameters) in std::iter::once((PAYLOAD_VP8, "VP8/90000", "")).chain(OTHER_VIDEO) {
            out.line(format_args!("a=rtpmap:{payload} {map}"));
            for feedback in VIDEO_FEEDBACK {
                out.line(format_args!("a=rtcp-fb:{payload} {feedback}"));
            }
            if !parameters.is_empty() {
                out.line(format_args!("a=fmtp:{payload} {parameters}"));
            }
        }
    }
}

/// MIDs of receiving slot `slot`.
pub(crate) fn slot_mids(slot: u16) -> SlotMids {
    let audio = SENDING_LINES + 2 * usize::from(slot);
    SlotMids { audio: audio.to_string(), video: (audio + 1).to_string() }
}

#[derive(Default)]
struct SdpText(String);

impl SdpText {
    fn line(&mut self, line: impl std::fmt::Display) {
        // Writing to a String cannot fail.
        let _ = write!(self.0, "{line}\r\n");
    }
}

/// Whose description it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// It made us the DTLS client.
    Answer,
    /// It must let us be the DTLS client.
    Offer,
}

/// What the client needs of the other side's description.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RemoteDescription {
    pub(crate) ice: Credentials,
    pub(crate) fingerprint: [u8; 32],
    /// UDP host candidates, best first.
    pub(crate) candidates: Vec<SocketAddr>,
    pub(crate) media: Vec<RemoteMedia>,
}

/// One m-line of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct RemoteMedia {
    /// `audio` or `video`.
    pub(crate) kind: String,
    pub(crate) mid: String,
    /// Port 0: the m-line is not used.
    pub(crate) rejected: bool,
    pub(crate) payload_types: Vec<u8>,
    /// `VP8/90000` and so on, by payload type.
    pub(crate) codecs: Vec<(u8, String)>,
    /// Ids and URIs of header extensions.
    pub(crate) extensions: Vec<(u8, String)>,
    /// SSRCs with which the relay sends.
    pub(crate) ssrcs: Vec<u32>,
    /// RIDs that the relay wants (`a=rid:… recv`).
    pub(crate) rids: Vec<String>,
}

impl RemoteDescription {
    /// Reads a description; the error says what is missing.
    pub(crate) fn parse(sdp: &str, role: Role) -> Result<Self, String> {
        let mut ufrag = None;
        let mut pwd = None;
        let mut fingerprint = None;
        let mut passive = false;
        let mut candidates: Vec<(u32, SocketAddr)> = Vec::new();
        let mut media: Vec<RemoteMedia> = Vec::new();
        for line in sdp.lines() {
            if let Some(line) = line.strip_prefix("m=") {
                media.push(media_line(line).ok_or_else(|| format!("m-line {line:?}"))?);
                continue;
            }
            let Some(attribute) = line.strip_prefix("a=") else { continue };
            let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
            // Everything is bundled: transport attributes of the first m-line hold for all.
            match name {
                "ice-ufrag" if ufrag.is_none() => ufrag = Some(value.to_owned()),
                "ice-pwd" if pwd.is_none() => pwd = Some(value.to_owned()),
                "fingerprint" if fingerprint.is_none() => fingerprint = sha256(value),
                "setup" => passive |= value == "passive" || (role == Role::Offer && value == "actpass"),
                "candidate" => candidates.extend(candidate(value)),
                _ => {}
            }
            let Some(media) = media.last_mut() else { continue };
            match name {
                "mid" => media.mid = value.to_owned(),
                "extmap" => {
                    // `id uri`, or `id/direction uri attributes`.
                    let (id, rest) = value.split_once(' ').unwrap_or((value, ""));
                    let id = id.split('/').next().and_then(|id| id.parse::<u8>().ok());
                    let uri = rest.split(' ').next().unwrap_or_default();
                    media.extensions.extend(id.map(|id| (id, uri.to_owned())));
                }
                "rtpmap" => {
                    let codec = value.split_once(' ').and_then(|(id, map)| Some((id.parse().ok()?, map.to_owned())));
                    media.codecs.extend(codec);
                }
                "ssrc" => {
                    let ssrc = value.split(' ').next().and_then(|ssrc| ssrc.parse::<u32>().ok());
                    media.ssrcs.extend(ssrc.filter(|ssrc| !media.ssrcs.contains(ssrc)));
                }
                "rid" => media.rids.extend(value.strip_suffix(" recv").map(str::to_owned)),
                _ => {}
            }
        }
        if !passive {
            return Err("its a=setup does not let us be the DTLS client".to_owned());
        }
        candidates.sort_by_key(|(priority, _)| std::cmp::Reverse(*priority));
        candidates.dedup_by_key(|(_, address)| *address);
        if candidates.is_empty() {
            return Err("it names no UDP candidate".to_owned());
        }
        Ok(Self {
            ice: Credentials { ufrag: ufrag.ok_or("it has no a=ice-ufrag")?, pwd: pwd.ok_or("it has no a=ice-pwd")? },
            fingerprint: fingerprint.ok_or("it has no a=fingerprint:sha-256")?,
            candidates: candidates.into_iter().map(|(_, address)| address).collect(),
            media,
        })
    }

    /// The m-line with this MID, if it is in use.
    pub(crate) fn media(&self, mid: &str) -> Option<&RemoteMedia> {
        self.media.iter().find(|media| media.mid == mid && !media.rejected)
    }
}

impl RemoteMedia {
    pub(crate) fn accepts(&self, extension: u8) -> bool {
        self.extensions.iter().any(|(id, _)| *id == extension)
    }

    /// Id of the extension with which it sends MIDs.
    pub(crate) fn mid_extension(&self) -> Option<u8> {
        let uri = EXTENSION_URIS.iter().find(|(id, _)| *id == EXTENSION_MID).map(|(_, uri)| *uri);
        self.extensions.iter().find(|(_, of)| Some(of.as_str()) == uri).map(|(id, _)| *id)
    }

    /// What we can receive of it: no retransmission payloads.
    fn known_codecs(&self) -> Vec<&(u8, String)> {
        let known = ["opus/48000/2", "VP8/90000"].into_iter().chain(OTHER_VIDEO.iter().map(|(_, map, _)| *map));
        let known: Vec<&str> = known.collect();
        self.codecs.iter().filter(|(_, map)| known.iter().any(|known| known.eq_ignore_ascii_case(map))).collect()
    }
}

/// `audio 9 UDP/TLS/RTP/SAVPF 111 …`
fn media_line(line: &str) -> Option<RemoteMedia> {
    let mut words = line.split(' ');
    let kind = words.next()?.to_owned();
    let port: u16 = words.next()?.parse().ok()?;
    let _protocol = words.next()?;
    let payload_types = words.filter_map(|word| word.parse().ok()).collect();
    Some(RemoteMedia { kind, rejected: port == 0, payload_types, ..RemoteMedia::default() })
}

/// `foundation 1 udp priority address port typ host …` (RFC 8839, section 5.1)
fn candidate(value: &str) -> Option<(u32, SocketAddr)> {
    let words: Vec<&str> = value.split(' ').collect();
    let [_foundation, "1", transport, priority, address, port, ..] = words.as_slice() else { return None };
    if !transport.eq_ignore_ascii_case("udp") {
        return None;
    }
    let ip: IpAddr = address.parse().ok()?;
    Some((priority.parse().ok()?, SocketAddr::new(ip, port.parse().ok()?)))
}

/// `sha-256 AB:CD:…`
fn sha256(value: &str) -> Option<[u8; 32]> {
    let (hash, hex) = value.split_once(' ')?;
    if !hash.eq_ignore_ascii_case("sha-256") {
        return None;
    }
    let bytes: Option<Vec<u8>> = hex.trim().split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> LocalDescription {
        LocalDescription {
            session: 7,
            ice: Credentials { ufrag: "ufrag123".into(), pwd: "pwd45678901234567890123".into() },
            fingerprint: [0xab; 32],
            cname: "cname".into(),
            microphone: Some(11),
            camera: vec![22],
            slots: 2,
        }
    }

    #[test]
    fn offers_name_every_m_line_once() {
        let offer = local().offer(3, 1);
        let mids: Vec<&str> = offer.sdp.lines().filter_map(|line| line.strip_prefix("a=mid:")).collect();
        assert_eq!(mids, ["0", "1", "2", "3", "4", "5"]);
        assert!(offer.sdp.contains("a=group:BUNDLE 0 1 2 3 4 5\r\n"));
        assert_eq!(offer.sends.microphone.as_deref(), Some("0"));
        assert_eq!(offer.sends.camera.as_deref(), Some("1"));
        assert_eq!(offer.slots[1], SlotMids { audio: "4".into(), video: "5".into() });
        assert_eq!(offer.sdp.matches("a=recvonly").count(), 4);
        assert!(offer.sdp.contains("a=ssrc:22 cname:cname\r\n"));
        assert!(offer.sdp.lines().all(|line| !line.is_empty()));
    }

    #[test]
    fn simulcast_offers_use_rids_and_no_ssrcs() {
        let offer = LocalDescription { camera: vec![1, 2, 3], microphone: None, ..local() }.offer(1, 1);
        assert!(offer.sdp.contains("a=rid:l send\r\na=rid:m send\r\na=rid:h send\r\na=simulcast:send l;m;h\r\n"));
        assert!(!offer.sdp.contains("a=ssrc:"));
        assert_eq!(offer.sends.microphone, None);
    }

    const ANSWER: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=ice-lite\r\na=group:BUNDLE 0 1 2\r\n\
        m=audio 7882 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 127.0.0.1\r\na=mid:0\r\na=recvonly\r\na=ice-ufrag:relayfrag\r\n\
        a=ice-pwd:relaypwdrelaypwdrelaypwd\r\na=fingerprint:sha-256 \
        00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\r\n\
        a=setup:passive\r\na=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
        a=candidate:1 1 udp 100 ::1 7882 typ host\r\na=candidate:2 1 UDP 200 127.0.0.1 7882 typ host\r\n\
        a=candidate:3 1 tcp 300 127.0.0.1 7882 typ host tcptype passive\r\n\
        m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=inactive\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111 0\r\na=mid:2\r\na=sendonly\r\na=ssrc:1234 cname:x\r\na=ssrc:1234 msid:s t\r\n";

    #[test]
    fn answers_are_read() {
        let answer = RemoteDescription::parse(ANSWER, Role::Answer).unwrap();
        assert_eq!(answer.ice.ufrag, "relayfrag");
        assert_eq!(answer.fingerprint[31], 0x1f);
        let addresses: Vec<String> = answer.candidates.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["127.0.0.1:7882", "[::1]:7882"]);
        assert_eq!(answer.media("0").unwrap().mid_extension(), Some(1));
        assert_eq!(answer.media("1"), None);
        assert_eq!(answer.media("2").unwrap().ssrcs, [1234]);
        assert_eq!(answer.media("2").unwrap().payload_types, [111, 0]);
    }

    #[test]
    fn answers_without_the_needed_parts_are_refused_in_words() {
        for (missing, expected) in [
            ("a=setup:passive\r\n", "setup"),
            ("a=ice-pwd:relaypwdrelaypwdrelaypwd\r\n", "ice-pwd"),
            ("a=fingerprint:sha-256", "fingerprint"),
        ] {
            let error = RemoteDescription::parse(&ANSWER.replace(missing, ""), Role::Answer).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        assert!(RemoteDescription::parse("", Role::Offer).is_err());
    }
}
