//! `application/trickle-ice-sdpfrag` (RFC 8840), as WHIP and WHEP send it.

use super::answer::write_candidates;
use super::parse::{Transport, numbered, split_line};
use super::{Place, SdpError, SdpReason};
use plausch_relay_api::MediaKind;
use std::fmt::{self, Write};
use std::net::SocketAddr;

/// A fragment of a client. Its candidates are of no use to a lite agent, which answers where it is asked from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IceFragment {
    pub ufrag: String,
    pub pwd: String,
}

impl IceFragment {
    pub fn read(text: &str) -> Result<Self, SdpError> {
        let mut first = Transport::default();
        for (number, line) in numbered(text) {
            let line = line?;
            let ('a', value) = split_line(line).map_err(|reason| reason.at(number, line))? else { continue };
            let Some((name @ ("ice-ufrag" | "ice-pwd"), value)) = value.split_once(':') else { continue };
            // All m-lines are of one transport, so the first says it all.
            let known = if name == "ice-ufrag" { first.ufrag } else { first.pwd };
            if known.is_none() {
                let place = Place::new(number, line);
                first.attribute(name, value, place).map_err(|reason| reason.at_place(place))?;
            }
        }
        match (first.ufrag, first.pwd) {
            (Some(ufrag), Some(pwd)) => Ok(Self { ufrag: ufrag.to_owned(), pwd: pwd.to_owned() }),
            _ => Err(SdpReason::Ice.into()),
        }
    }
}

/// Our side after an ICE restart.
#[derive(Clone, Copy, Debug)]
pub struct LocalFragment<'a> {
    pub ufrag: &'a str,
    pub pwd: &'a str,
    /// The first m-line of the BUNDLE group.
    pub kind: MediaKind,
    pub mid: &'a str,
    /// Best first.
    pub candidates: &'a [SocketAddr],
}

impl LocalFragment<'_> {
    /// As the client reads it.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a `String` cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        let kind = match self.kind {
            MediaKind::Audio => "audio",
            MediaKind::Video => "video",
        };
        let mid = self.mid;
        // RFC 8840, section 9: the m-line only carries the MID, its format means nothing.
        write!(text, "a=ice-lite\r\na=group:BUNDLE {mid}\r\nm={kind} 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:{mid}\r\n")?;
        write!(text, "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n", self.ufrag, self.pwd)?;
        write_candidates(self.candidates, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plausch_relay_api::limits::SDP_LINES;

    #[test]
    fn fragments() {
        let text = "a=ice-options:trickle ice2\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
                    a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n\
                    a=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\na=end-of-candidates\r\n\
                    m=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:1\r\na=ice-ufrag:other\r\n";
        let fragment = IceFragment::read(text).unwrap();
        assert_eq!((fragment.ufrag.as_str(), fragment.pwd.as_str()), ("abcd", "0123456789012345678901"));
        for (bad, error) in [
            ("", SdpReason::Ice),
            ("a=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\n", SdpReason::Ice),
            ("a=ice-ufrag:abcd\r\n", SdpReason::Ice),
            ("a=ice-ufrag:a\r\na=ice-pwd:0123456789012345678901\r\n", SdpReason::Ice),
            ("nonsense", SdpReason::Malformed),
        ] {
            assert_eq!(IceFragment::read(bad).map_err(SdpError::reason), Err(error), "{bad}");
        }
        let long = "a=x\n".repeat(SDP_LINES + 1);
        assert_eq!(IceFragment::read(&long).map_err(SdpError::reason), Err(SdpReason::Lines));
        let spaced = text.replace("\r\n", "\r\n\r\n");
        assert_eq!(IceFragment::read(&spaced).unwrap(), fragment, "empty lines say nothing");
    }

    #[test]
    fn our_own() {
        let candidates = ["192.0.2.1:7882".parse().unwrap()];
        let local = LocalFragment {
            ufrag: "ufragufrag12",
            pwd: "pwdpwdpwdpwdpwdpwdpwdpwd",
            kind: MediaKind::Video,
            mid: "video1",
            candidates: &candidates,
        };
        let text = local.text();
        let read = IceFragment::read(&text).unwrap();
        assert_eq!((read.ufrag.as_str(), read.pwd.as_str()), (local.ufrag, local.pwd));
        assert!(text.contains("m=video 9 ") && text.contains("a=mid:video1\r\n"));
        assert!(text.contains(" 192.0.2.1 7882 typ host\r\na=end-of-candidates\r\n"), "{text}");
    }
}
