//! Writing the answer.

use super::offer::{AcceptedLine, Line, LineCodec, RemoteOffer, Role};
use plausch_relay_api::{Codec, DtlsRole, Fingerprint, MediaKind, SlotSpec};
use std::fmt::{self, Write};
use std::net::SocketAddr;

/// Our side of the connection.
#[derive(Clone, Copy, Debug)]
pub struct LocalSide<'a> {
    /// The `o=` line: the same for all answers of one connection, and counting.
    pub session: u64,
    pub version: u32,
    pub ufrag: &'a str,
    pub pwd: &'a str,
    /// Of the relay's DTLS certificate.
    pub fingerprint: Fingerprint,
    /// Best first.
    pub candidates: &'a [SocketAddr],
    /// As many as the offer has, in its order.
    pub slots: &'a [SlotSpec],
}

impl RemoteOffer {
    /// The answer to this offer.
    pub fn answer(&self, local: &LocalSide<'_>) -> String {
        let mut sdp = String::with_capacity(512 + 640 * self.lines.len());
        // Writing to a `String` cannot fail.
        let _ = self.write(local, &mut sdp);
        sdp
    }

    fn write(&self, local: &LocalSide<'_>, sdp: &mut String) -> fmt::Result {
        // RFC 9429, section 5.3.1.
        write!(sdp, "v=0\r\no=- {} {} IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n", local.session, local.version)?;
        // RFC 8839, section 5.3: the browser takes the controlling role.
        sdp.write_str("a=ice-lite\r\n")?;
        if self.allow_mixed {
            sdp.write_str("a=extmap-allow-mixed\r\n")?;
        }
        sdp.write_str("a=group:BUNDLE")?;
        for line in &self.lines {
            if let Line::Accepted(line) = line {
                write!(sdp, " {}", line.mid)?;
            }
        }
        write!(
            sdp,
            "\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:{} ",
            local.ufrag,
            local.pwd,
            local.fingerprint.hash_function()
        )?;
        for (n, byte) in local.fingerprint.bytes().iter().enumerate() {
            write!(sdp, "{}{byte:02X}", if n == 0 { "" } else { ":" })?;
        }
        sdp.write_str("\r\n")?;

        let mut candidates = Some(local.candidates);
        for line in &self.lines {
            match line {
                Line::Rejected { kind, protocol, format, mid } => {
                    write!(sdp, "m={kind} 0 {protocol} {format}\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\n")?;
                    if let Some(mid) = mid {
                        write!(sdp, "a=mid:{mid}\r\n")?;
                    }
                }
                Line::Accepted(line) => {
                    self.write_line(line, local, sdp)?;
                    // One transport: the first m-line of the BUNDLE group has its candidates.
                    if let Some(candidates) = candidates.take() {
                        write_candidates(candidates, sdp)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn write_line(&self, line: &AcceptedLine, local: &LocalSide<'_>, sdp: &mut String) -> fmt::Result {
        let kind = match line.kind {
            MediaKind::Audio => "audio",
            MediaKind::Video => "video",
        };
        // 9 is the discard port: the candidates say where we are.
        write!(sdp, "m={kind} 9 {}", line.protocol)?;
        for codec in &line.codecs {
            write!(sdp, " {}", codec.payload_type)?;
        }
        let direction = match line.role {
            Role::Send(_) => "recvonly",
            Role::Idle => "inactive",
            Role::Slot(_) => "sendonly",
        };
        write!(sdp, "\r\nc=IN IP4 0.0.0.0\r\na=mid:{}\r\na={direction}\r\n", line.mid)?;
        // GStreamer looks for the role in each m-line only.
        let setup = match self.dtls_role {
            DtlsRole::Client => "active",
            DtlsRole::Server => "passive",
        };
        write!(sdp, "a=setup:{setup}\r\na=rtcp-mux\r\n")?;
        if line.allow_mixed {
            sdp.write_str("a=extmap-allow-mixed\r\n")?;
        }
        if line.rtcp_rsize {
            sdp.write_str("a=rtcp-rsize\r\n")?;
        }
        for extension in &line.extensions {
            let one_way = if extension.one_way { format!("/{direction}") } else { String::new() };
            write!(sdp, "a=extmap:{}{one_way} {}\r\n", extension.id, extension.extension.uri())?;
        }
        for codec in &line.codecs {
            self.write_codec(codec, sdp)?;
        }
        for rid in &line.rids {
            write!(sdp, "a=rid:{rid} recv\r\n")?;
        }
        if !line.rids.is_empty() {
            write!(sdp, "a=simulcast:recv {}\r\n", line.rids.join(";"))?;
        }
        if let Role::Slot(n) = line.role
            && let Some(stream) = local.slots.get(n).and_then(|slot| slot.stream(line.kind))
        {
            let ssrc = stream.ssrc;
            // Both m-lines of a slot are of one MediaStream: that is what keeps lips in sync.
            write!(sdp, "a=msid:slot-{n} slot-{n}-{kind}\r\na=ssrc:{ssrc} cname:slot-{n}\r\n")?;
        }
        Ok(())
    }

    fn write_codec(&self, line: &LineCodec, sdp: &mut String) -> fmt::Result {
        let number = line.payload_type;
        let rtpmap = match line.codec {
            Codec::Opus => "opus/48000/2",
            Codec::Vp8 => "VP8/90000",
            Codec::Vp9 => "VP9/90000",
            Codec::H264 | Codec::H264Main | Codec::H264Extended | Codec::H264High | Codec::H264High444 => "H264/90000",
            Codec::Av1 => "AV1/90000",
        };
        write!(sdp, "a=rtpmap:{number} {rtpmap}\r\n")?;
        match line.codec {
            Codec::Opus => {
                let dtx = if self.opus_dtx { ";usedtx=1" } else { "" };
                write!(sdp, "a=fmtp:{number} minptime=10;useinbandfec=1{dtx}\r\n")?;
            }
            Codec::Vp8 => {}
            Codec::Vp9 => write!(sdp, "a=fmtp:{number} profile-id=0\r\n")?,
            Codec::H264 | Codec::H264Main | Codec::H264Extended | Codec::H264High | Codec::H264High444 => {
                // Mode and profile as offered, or they would be another format (RFC 6184, section 8.2.2).
                let mode = line.h264.as_ref().map_or(1, |format| format.packetization_mode);
                write!(sdp, "a=fmtp:{number} level-asymmetry-allowed=1;packetization-mode={mode}")?;
                if let Some(profile) = line.h264.as_ref().and_then(|format| format.profile_level_id.as_deref()) {
                    write!(sdp, ";profile-level-id={profile}")?;
                }
                sdp.write_str("\r\n")?;
            }
            Codec::Av1 => write!(sdp, "a=fmtp:{number} level-idx=5;profile=0;tier=0\r\n")?,
        }
        let feedback = line.feedback;
        for (offered, name) in [
            (feedback.transport_cc, "transport-cc"),
            (feedback.ccm_fir, "ccm fir"),
            (feedback.nack, "nack"),
            (feedback.nack_pli, "nack pli"),
        ] {
            if offered {
                write!(sdp, "a=rtcp-fb:{number} {name}\r\n")?;
            }
        }
        Ok(())
    }
}

pub(super) fn write_candidates(candidates: &[SocketAddr], sdp: &mut String) -> fmt::Result {
    for (n, address) in candidates.iter().enumerate() {
        // RFC 8445, section 5.1.2.1: type preference 126 of host candidates, component 1.
        let local_preference = 65_535u32.saturating_sub(n as u32);
        let priority = (126 << 24) + (local_preference << 8) + 255;
        let (ip, port) = (address.ip(), address.port());
        write!(sdp, "a=candidate:{} 1 udp {priority} {ip} {port} typ host\r\n", n + 1)?;
    }
    sdp.write_str("a=end-of-candidates\r\n")
}
