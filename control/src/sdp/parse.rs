//! Lines of SDP (RFC 8866) to borrowed, typed sections. One pass, linear in the length, bounded by `limits`;
//! what we do not use is skipped.

use super::{Place, SdpError, SdpReason};
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
    /// `a=ice-lite` (RFC 8839, section 5.3).
    pub(super) ice_lite: Option<Place>,
    /// `a=extmap-allow-mixed` of the session (RFC 8285, section 6).
    pub(super) allow_mixed: bool,
    pub(super) transport: Transport<'a>,
    /// Extensions that the session names for all m-lines.
    pub(super) extensions: Vec<ExtMap<'a>>,
    /// What m-lines without a direction of their own have (RFC 8866, section 6.7).
    direction: Direction,
    pub(super) media: Vec<Media<'a>>,
}

/// ICE and DTLS attributes, of the session or of an m-line.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Transport<'a> {
    pub(super) ufrag: Option<&'a str>,
    pub(super) pwd: Option<&'a str>,
    /// That of the strongest hash function, where there are several (RFC 8122, section 5.1).
    pub(super) fingerprint: Option<Fingerprint>,
    pub(super) setup: Option<(Setup, Place)>,
}

/// RFC 4145, section 4, without `holdconn`, which nobody needs for DTLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Setup {
    Active,
    Passive,
    ActPass,
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
    /// Where the m-line stands.
    pub(super) place: Place,
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
    pub(super) allow_mixed: bool,
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
    pub(super) place: Place,
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
    let mut began = false;
    for (number, line) in numbered(sdp) {
        let line = line?;
        let (kind, value) = split_line(line).map_err(|reason| reason.at(number, line))?;
        if !began && (kind, value) != ('v', "0") {
            return Err(SdpReason::Version.at(number, line));
        }
        began = true;
        let place = Place::new(number, line);
        let taken = match kind {
            'm' if description.media.len() == SDP_MEDIA_LINES => Err(SdpReason::MediaLines),
            'm' => Media::parse(value, description.direction, place).map(|media| description.media.push(media)),
            'a' => description.attribute(value, place),
            _ => Ok(()),
        };
        taken.map_err(|reason| reason.at_place(place))?;
    }
    if began { Ok(description) } else { Err(SdpReason::Version.into()) }
}

/// The lines that say something, with their numbers from 1, and without the blanks at their ends. Empty ones are passed
/// over, as mail programs and editors add them. What comes after too many or too long a line is not read.
pub(super) fn numbered(text: &str) -> impl Iterator<Item = (u32, Result<&str, SdpError>)> {
    let lines = text.lines().zip(1u32..).map(|(line, number)| {
        let checked = match () {
            _ if number as usize > SDP_LINES => Err(SdpReason::Lines.at(number, line)),
            _ if line.len() > SDP_LINE_BYTES => Err(SdpReason::LineLength.at(number, line)),
            _ => Ok(line.trim_end()),
        };
        (number, checked)
    });
    lines.filter(|(_, line)| !matches!(line, Ok("")))
}

/// `x=value`. RFC 8866, section 9: a value is anything but NUL and the ends of lines.
pub(super) fn split_line(line: &str) -> Result<(char, &str), SdpReason> {
    let Some((kind, value)) = line.split_once('=') else { return Err(SdpReason::Malformed) };
    let &[kind] = kind.as_bytes() else { return Err(SdpReason::Malformed) };
    if !kind.is_ascii_lowercase() || value.bytes().any(|byte| byte == 0 || byte == b'\r') {
        return Err(SdpReason::Malformed);
    }
    Ok((char::from(kind), value))
}

impl<'a> Description<'a> {
    fn attribute(&mut self, text: &'a str, place: Place) -> Result<(), SdpReason> {
        let (name, value) = text.split_once(':').unwrap_or((text, ""));
        let transport = match self.media.last_mut() {
            Some(media) => {
                media.attribute(name, value, place)?;
                &mut media.transport
            }
            None => {
                match name {
                    "group" => {
                        let mut words = value.split_ascii_whitespace();
                        if words.next() == Some("BUNDLE") && self.bundle.is_empty() {
                            self.bundle = words.take(SDP_MEDIA_LINES).collect();
                        }
                    }
                    "ice-lite" => self.ice_lite = Some(place),
                    "extmap-allow-mixed" => self.allow_mixed = true,
                    "extmap" => add_extmap(&mut self.extensions, value, place)?,
                    _ => {
                        if let Some(direction) = Direction::read(name) {
                            self.direction = direction;
                        }
                    }
                }
                &mut self.transport
            }
        };
        transport.attribute(name, value, place)
    }
}

impl<'a> Transport<'a> {
    pub(super) fn attribute(&mut self, name: &str, value: &'a str, place: Place) -> Result<(), SdpReason> {
        match name {
            // RFC 8839, section 5.4.
            "ice-ufrag" if is_ice(value, 4) => self.ufrag = Some(value),
            "ice-pwd" if is_ice(value, 22) => self.pwd = Some(value),
            "ice-ufrag" | "ice-pwd" => return Err(SdpReason::Ice),
            "fingerprint" => {
                // Fingerprints by weak or unknown hash functions are ignored.
                if let Some(found) = parse_fingerprint(value)? {
                    let best = self.fingerprint.filter(|known| known.bytes().len() >= found.bytes().len());
                    self.fingerprint = Some(best.unwrap_or(found));
                }
            }
            "setup" => {
                let setup = match value {
                    "active" => Setup::Active,
                    "passive" => Setup::Passive,
                    "actpass" => Setup::ActPass,
                    _ => return Err(SdpReason::Setup),
                };
                self.setup = Some((setup, place));
            }
            _ => {}
        }
        Ok(())
    }
}

impl<'a> Media<'a> {
    /// `<kind> <port>[/<ports>] <protocol> <format> …`
    fn parse(value: &'a str, direction: Direction, place: Place) -> Result<Self, SdpReason> {
        let mut words = value.split_ascii_whitespace();
        let mut word = || words.next().filter(|word| is_token(word)).ok_or(SdpReason::Malformed);
        let kind = word()?;
        let port = word()?;
        let port = port.split_once('/').map_or(port, |(port, _)| port);
        let port = port.parse().map_err(|_| SdpReason::Malformed)?;
        let protocol = word()?;
        let first_format = word()?;
        let mut payloads = Payloads::new();
        if kind == "audio" || kind == "video" {
            for format in [first_format].into_iter().chain(words) {
                payloads.add(format.parse().map_err(|_| SdpReason::Malformed)?);
            }
        }
        Ok(Self {
            place,
            kind,
            port,
            protocol,
            first_format,
            mid: None,
            direction,
            rtcp_mux: false,
            rtcp_rsize: false,
            bundle_only: false,
            allow_mixed: false,
            transport: Transport::default(),
            payloads,
            extensions: Vec::new(),
            send_rids: Vec::new(),
            simulcast_send: Vec::new(),
            ssrcs: Vec::new(),
            repair_ssrcs: Vec::new(),
        })
    }

    fn attribute(&mut self, name: &str, value: &'a str, place: Place) -> Result<(), SdpReason> {
        match name {
            "mid" if is_token(value) && value.len() <= MID_BYTES => self.mid = Some(value),
            "mid" => return Err(SdpReason::Malformed),
            "rtcp-mux" => self.rtcp_mux = true,
            "rtcp-rsize" => self.rtcp_rsize = true,
            "bundle-only" => self.bundle_only = true,
            "extmap-allow-mixed" => self.allow_mixed = true,
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
            "extmap" => add_extmap(&mut self.extensions, value, place)?,
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
                let ssrc = number.parse().map_err(|_| SdpReason::Malformed)?;
                if self.ssrcs.len() < SSRCS_PER_LINE && !self.ssrcs.contains(&ssrc) {
                    self.ssrcs.push(ssrc);
                }
            }
            "ssrc-group" => {
                if let Some(pair) = value.strip_prefix("FID ")
                    && let Some(second) = pair.split_ascii_whitespace().nth(1)
                    && self.repair_ssrcs.len() < SSRCS_PER_LINE
                {
                    self.repair_ssrcs.push(second.parse().map_err(|_| SdpReason::Malformed)?);
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
        if let Some(kind) = value.strip_prefix("* ") {
            self.payloads.list.iter_mut().for_each(|payload| set(&mut payload.feedback, kind.trim_start()));
        } else if let Some((payload, kind)) = self.payloads.attribute(value) {
            set(&mut payload.feedback, kind);
        }
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

/// `<id>[/<direction>] <uri> …`
fn add_extmap<'a>(extensions: &mut Vec<ExtMap<'a>>, value: &'a str, place: Place) -> Result<(), SdpReason> {
    let mut words = value.split_ascii_whitespace();
    let (Some(id), Some(uri)) = (words.next(), words.next()) else { return Err(SdpReason::Malformed) };
    let (id, direction) = match id.split_once('/') {
        Some((id, direction)) => (id, Some(Direction::read(direction).ok_or(SdpReason::Malformed)?)),
        None => (id, None),
    };
    let id = id.parse().map_err(|_| SdpReason::Malformed)?;
    if extensions.len() < EXTENSIONS_PER_LINE {
        extensions.push(ExtMap { id, direction, uri, place });
    }
    Ok(())
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

/// `sha-256 AB:CD:…`; `None` for another hash function.
fn parse_fingerprint(value: &str) -> Result<Option<Fingerprint>, SdpReason> {
    let (function, text) = value.split_once(' ').ok_or(SdpReason::Fingerprint)?;
    let len = match function.to_ascii_lowercase().as_str() {
        "sha-256" => 32,
        "sha-384" => 48,
        "sha-512" => 64,
        _ => return Ok(None),
    };
    let mut bytes = Vec::with_capacity(len);
    for pair in text.trim().split(':') {
        if pair.len() != 2 || bytes.len() == len || !pair.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(SdpReason::Fingerprint);
        }
        bytes.push(u8::from_str_radix(pair, 16).map_err(|_| SdpReason::Fingerprint)?);
    }
    if bytes.len() != len {
        return Err(SdpReason::Fingerprint);
    }
    Fingerprint::try_from(bytes).map(Some).map_err(|_| SdpReason::Fingerprint)
}
