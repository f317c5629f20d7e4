//! Lines of SDP (RFC 8866) to borrowed, typed sections. One pass, linear in the length, bounded by `limits`;
//! what we do not use is skipped.

use super::SdpError;
use plausch_relay_api::Fingerprint;
use plausch_relay_api::limits::{MID_BYTES, SDP_LINE_BYTES, SDP_LINES, SDP_MEDIA_LINES};

/// SSRCs remembered of one m-line: three layers and their RTX, with slack.
const SSRCS_PER_LINE: usize = 16;
/// RTP payload types of one m-line.
const PAYLOAD_TYPES: usize = 128;
/// Header extensions of one m-line; Chromium offers 13.
const EXTENSIONS_PER_LINE: usize = 32;
/// RIDs and simulcast alternatives remembered of one m-line.
const RIDS_PER_LINE: usize = 8;

/// A whole description.
#[derive(Debug, Default)]
pub(super) struct Description<'a> {
    /// MIDs of the BUNDLE group (RFC 9143).
    pub(super) bundle: Vec<&'a str>,
    pub(super) transport: Transport<'a>,
    pub(super) media: Vec<Media<'a>>,
}

/// ICE and DTLS attributes, of the session or of an m-line.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Transport<'a> {
    pub(super) ufrag: Option<&'a str>,
    pub(super) pwd: Option<&'a str>,
    pub(super) fingerprint: Option<Fingerprint>,
    pub(super) setup: Option<Setup>,
}

/// RFC 4145, section 4.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Setup {
    Active,
    Passive,
    ActPass,
    HoldConn,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Direction {
    #[default]
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

impl Direction {
    pub(super) fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    pub(super) fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    fn read(text: &str) -> Option<Self> {
        match text {
            "sendrecv" => Some(Self::SendRecv),
            "sendonly" => Some(Self::SendOnly),
            "recvonly" => Some(Self::RecvOnly),
            "inactive" => Some(Self::Inactive),
            _ => None,
        }
    }
}

/// One m-line with its attributes.
#[derive(Debug)]
pub(super) struct Media<'a> {
    pub(super) kind: &'a str,
    pub(super) port: u16,
    pub(super) protocol: &'a str,
    /// The first format: a rejected line repeats it.
    pub(super) first_format: &'a str,
    pub(super) mid: Option<&'a str>,
    pub(super) direction: Direction,
    pub(super) rtcp_mux: bool,
    pub(super) rtcp_rsize: bool,
    pub(super) bundle_only: bool,
    pub(super) transport: Transport<'a>,
    pub(super) payloads: Payloads<'a>,
    pub(super) extensions: Vec<ExtMap<'a>>,
    /// RIDs with direction send (RFC 8851).
    pub(super) send_rids: Vec<&'a str>,
    /// `a=simulcast:send` (RFC 8853), the first alternative of each stream.
    pub(super) simulcast_send: Vec<&'a str>,
    /// RFC 5576, in order.
    pub(super) ssrcs: Vec<u32>,
    /// The second ones of FID groups: retransmissions.
    pub(super) repair_ssrcs: Vec<u32>,
}

/// `a=extmap` (RFC 8285, section 8).
#[derive(Clone, Copy, Debug)]
pub(super) struct ExtMap<'a> {
    pub(super) id: u16,
    pub(super) direction: Option<Direction>,
    pub(super) uri: &'a str,
}

/// The payload types of an m-line, in the order of the m-line.
#[derive(Debug)]
pub(super) struct Payloads<'a> {
    list: Vec<Payload<'a>>,
    /// Place in `list` by payload type; 255 is none.
    places: [u8; PAYLOAD_TYPES],
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Payload<'a> {
    pub(super) number: u8,
    /// Encoding name, clock rate and what follows, of `a=rtpmap`.
    pub(super) rtpmap: &'a str,
    pub(super) fmtp: &'a str,
    pub(super) feedback: Feedback,
}

/// `a=rtcp-fb` (RFC 4585, section 4.2), as far as we use it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Feedback {
    pub(super) nack: bool,
    pub(super) nack_pli: bool,
    pub(super) ccm_fir: bool,
    pub(super) transport_cc: bool,
}

impl<'a> Payloads<'a> {
    fn new() -> Self {
        Self { list: Vec::new(), places: [u8::MAX; PAYLOAD_TYPES] }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Payload<'a>> {
        self.list.iter()
    }

    pub(super) fn get(&self, number: u8) -> Option<&Payload<'a>> {
        let place = *self.places.get(usize::from(number))?;
        self.list.get(usize::from(place))
    }

    fn add(&mut self, number: u8) {
        let Some(place) = self.places.get_mut(usize::from(number)) else { return };
        if *place == u8::MAX {
            *place = self.list.len() as u8;
            self.list.push(Payload { number, rtpmap: "", fmtp: "", feedback: Feedback::default() });
        }
    }

    /// The payload that an attribute value begins with, and the rest of the value.
    fn attribute(&mut self, value: &'a str) -> Option<(&mut Payload<'a>, &'a str)> {
        let (number, rest) = value.split_once(' ')?;
        let place = *self.places.get(number.parse::<usize>().ok()?)?;
        Some((self.list.get_mut(usize::from(place))?, rest.trim_start()))
    }
}

/// Takes a description apart.
pub(super) fn parse(sdp: &str) -> Result<Description<'_>, SdpError> {
    let mut description = Description::default();
    let mut count = 0;
    for line in sdp.lines() {
        count += 1;
        if count > SDP_LINES {
            return Err(SdpError::Lines);
        }
        if line.len() > SDP_LINE_BYTES {
            return Err(SdpError::LineLength);
        }
        let (kind, value) = split_line(line)?;
        if count == 1 && (kind, value) != ('v', "0") {
            return Err(SdpError::Version);
        }
        match kind {
            'm' => {
                if description.media.len() == SDP_MEDIA_LINES {
                    return Err(SdpError::MediaLines);
                }
                description.media.push(Media::parse(value)?);
            }
            'a' => description.attribute(value)?,
            _ => {}
        }
    }
    if count == 0 {
        return Err(SdpError::Version);
    }
    Ok(description)
}

/// `x=value`, without control characters.
pub(super) fn split_line(line: &str) -> Result<(char, &str), SdpError> {
    let Some((kind, value)) = line.split_once('=') else { return Err(SdpError::Malformed) };
    let &[kind] = kind.as_bytes() else { return Err(SdpError::Malformed) };
    if !kind.is_ascii_lowercase() || value.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(SdpError::Malformed);
    }
    Ok((char::from(kind), value))
}

impl<'a> Description<'a> {
    fn attribute(&mut self, text: &'a str) -> Result<(), SdpError> {
        let (name, value) = text.split_once(':').unwrap_or((text, ""));
        let transport = match self.media.last_mut() {
            Some(media) => {
                media.attribute(name, value)?;
                &mut media.transport
            }
            None => {
                if name == "group"
                    && let Some(mids) = value.strip_prefix("BUNDLE ")
                    && self.bundle.is_empty()
                {
                    self.bundle = mids.split_ascii_whitespace().take(SDP_MEDIA_LINES).collect();
                }
                &mut self.transport
            }
        };
        transport.attribute(name, value)
    }
}

impl<'a> Transport<'a> {
    pub(super) fn attribute(&mut self, name: &str, value: &'a str) -> Result<(), SdpError> {
        match name {
            // RFC 8839, section 5.4.
            "ice-ufrag" if is_ice(value, 4) => self.ufrag = Some(value),
            "ice-pwd" if is_ice(value, 22) => self.pwd = Some(value),
            "ice-ufrag" | "ice-pwd" => return Err(SdpError::Ice),
            "fingerprint" => {
                if let Some(hash) = value.get(..8)
                    && hash.eq_ignore_ascii_case("sha-256 ")
                {
                    self.fingerprint = Some(parse_fingerprint(&value[8..]).ok_or(SdpError::Fingerprint)?);
                }
            }
            "setup" => {
                self.setup = Some(match value {
                    "active" => Setup::Active,
                    "passive" => Setup::Passive,
                    "actpass" => Setup::ActPass,
                    "holdconn" => Setup::HoldConn,
                    _ => return Err(SdpError::Setup),
                });
            }
            _ => {}
        }
        Ok(())
    }
}

impl<'a> Media<'a> {
    /// `<kind> <port> <protocol> <format> …`
    fn parse(value: &'a str) -> Result<Self, SdpError> {
        let mut words = value.split_ascii_whitespace();
        let mut word = || words.next().filter(|word| is_token(word)).ok_or(SdpError::Malformed);
        let kind = word()?;
        let port = word()?.parse().map_err(|_| SdpError::Malformed)?;
        let protocol = word()?;
        let first_format = word()?;
        let mut payloads = Payloads::new();
        if kind == "audio" || kind == "video" {
            for format in [first_format].into_iter().chain(words) {
                payloads.add(format.parse().map_err(|_| SdpError::Malformed)?);
            }
        }
        Ok(Self {
            kind,
            port,
            protocol,
            first_format,
            mid: None,
            direction: Direction::SendRecv,
            rtcp_mux: false,
            rtcp_rsize: false,
            bundle_only: false,
            transport: Transport::default(),
            payloads,
            extensions: Vec::new(),
            send_rids: Vec::new(),
            simulcast_send: Vec::new(),
            ssrcs: Vec::new(),
            repair_ssrcs: Vec::new(),
        })
    }

    fn attribute(&mut self, name: &str, value: &'a str) -> Result<(), SdpError> {
        match name {
            "mid" if is_token(value) && value.len() <= MID_BYTES => self.mid = Some(value),
            "mid" => return Err(SdpError::Malformed),
            "rtcp-mux" => self.rtcp_mux = true,
            "rtcp-rsize" => self.rtcp_rsize = true,
            "bundle-only" => self.bundle_only = true,
            "rtpmap" => {
                if let Some((payload, rtpmap)) = self.payloads.attribute(value) {
                    payload.rtpmap = rtpmap;
                }
            }
            "fmtp" => {
                if let Some((payload, fmtp)) = self.payloads.attribute(value) {
                    payload.fmtp = fmtp;
                }
            }
            "rtcp-fb" => self.feedback(value),
            "extmap" => self.extmap(value)?,
            "rid" => {
                let mut words = value.split_ascii_whitespace();
                if let (Some(rid), Some("send")) = (words.next(), words.next())
                    && is_rid(rid)
                    && self.send_rids.len() < RIDS_PER_LINE
                {
                    self.send_rids.push(rid);
                }
            }
            "simulcast" => self.simulcast(value),
            "ssrc" => {
                let number = value.split_ascii_whitespace().next().unwrap_or_default();
                let ssrc = number.parse().map_err(|_| SdpError::Malformed)?;
                if self.ssrcs.len() < SSRCS_PER_LINE && !self.ssrcs.contains(&ssrc) {
                    self.ssrcs.push(ssrc);
                }
            }
            "ssrc-group" => {
                if let Some(pair) = value.strip_prefix("FID ")
                    && let Some(second) = pair.split_ascii_whitespace().nth(1)
                    && self.repair_ssrcs.len() < SSRCS_PER_LINE
                {
                    self.repair_ssrcs.push(second.parse().map_err(|_| SdpError::Malformed)?);
                }
            }
            _ => {
                if let Some(direction) = Direction::read(name) {
                    self.direction = direction;
                }
            }
        }
        Ok(())
    }

    fn feedback(&mut self, value: &'a str) {
        let set = |feedback: &mut Feedback, kind: &str| match kind {
            "nack" => feedback.nack = true,
            "nack pli" => feedback.nack_pli = true,
            "ccm fir" => feedback.ccm_fir = true,
            "transport-cc" => feedback.transport_cc = true,
            _ => {}
        };
        if let Some((payload, kind)) = self.payloads.attribute(value) {
            set(&mut payload.feedback, kind);
        }
    }

    /// `<id>[/<direction>] <uri> …`
    fn extmap(&mut self, value: &'a str) -> Result<(), SdpError> {
        let mut words = value.split_ascii_whitespace();
        let (Some(id), Some(uri)) = (words.next(), words.next()) else { return Err(SdpError::Malformed) };
        let (id, direction) = match id.split_once('/') {
            Some((id, direction)) => (id, Some(Direction::read(direction).ok_or(SdpError::Malformed)?)),
            None => (id, None),
        };
        let id = id.parse().map_err(|_| SdpError::Malformed)?;
        if self.extensions.len() < EXTENSIONS_PER_LINE {
            self.extensions.push(ExtMap { id, direction, uri });
        }
        Ok(())
    }

    /// `send l;m;h recv …`: streams are separated by `;`, alternatives by `,`, a paused one begins with `~`.
    fn simulcast(&mut self, value: &'a str) {
        let mut words = value.split_ascii_whitespace();
        while let (Some(direction), Some(list)) = (words.next(), words.next()) {
            if direction == "send" {
                self.simulcast_send = list
                    .split(';')
                    .filter_map(|stream| stream.split(',').next())
                    .map(|rid| rid.strip_prefix('~').unwrap_or(rid))
                    .filter(|rid| is_rid(rid))
                    .take(RIDS_PER_LINE)
                    .collect();
            }
        }
    }
}

/// RFC 8866, section 9: visible ASCII without separators; `/` as well, for protocols.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !br#""(),:;<=>?@[\]"#.contains(&byte))
}

/// RFC 8851, section 10, and short enough for a one-byte header extension.
fn is_rid(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= MID_BYTES
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// RFC 8839, section 5.4: `ice-char`s, at most 256.
fn is_ice(text: &str, min: usize) -> bool {
    (min..=256).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
}

/// `AB:CD:…`, 32 of them.
fn parse_fingerprint(text: &str) -> Option<Fingerprint> {
    let mut bytes = [0; 32];
    let mut pairs = text.trim().split(':');
    for byte in &mut bytes {
        let pair = pairs.next().filter(|pair| pair.len() == 2)?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    pairs.next().is_none().then_some(Fingerprint(bytes))
}
