//! Offers of WHIP and WHEP: SDP alone, from which what its m-lines are for has to be read.

use super::parse::{Direction, Media, parse};
use super::{CodecPolicy, RemoteOffer, SdpError, SdpReason, SlotLines};
use plausch_relay_api::SendTrack;
use plausch_signalling::{MediaState, Offer, Sends};

/// What a client without our signalling wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// WHIP. May watch too, by m-lines that only receive.
    Publish,
    /// WHEP.
    Watch,
}

impl Purpose {
    /// Reads the first and only offer of such a client.
    pub fn read(self, sdp: String, policy: &CodecPolicy) -> Result<(Offer, RemoteOffer), SdpError> {
        let (sends, slots) = self.lines(&parse(&sdp)?.media)?;
        let remote = RemoteOffer::read_lines(&sdp, &sends, slots, policy)?;
        // A camera without a common codec is left out of an answer; who came to publish it shall be told.
        let offered = usize::from(sends.microphone.is_some()) + usize::from(sends.camera.is_some());
        if remote.sends.len() < offered {
            return Err(SdpReason::Codec.into());
        }
        Ok((Offer { id: 1, connection: 1, sdp, sends, slots: Vec::new() }, remote))
    }

    /// What the m-lines are for: tracks, and slots of the n-th sound with the n-th picture. A line that says sendrecv is for
    /// the purpose alone: GStreamer's webrtcbin says so of what it only sends, or only receives, unless told otherwise.
    fn lines(self, media: &[Media<'_>]) -> Result<(Sends, Vec<SlotLines>), SdpError> {
        let (mut sends, mut slots) = (Sends::default(), Vec::<SlotLines>::new());
        for line in media.iter().filter(|line| is_used(line)) {
            let published = match self {
                Self::Publish => line.direction.sends(),
                Self::Watch => line.direction == Direction::SendOnly,
            };
            if !published && !line.direction.receives() {
                continue;
            }
            let mid = line.mid.ok_or_else(|| SdpReason::NoMid.at_place(line.place))?.to_owned();
            let sound = line.kind == "audio";
            if published {
                let place = if sound { &mut sends.microphone } else { &mut sends.camera };
                if self == Self::Watch {
                    return Err(SdpReason::Watched.at_place(line.place));
                }
                if place.replace(mid).is_some() {
                    return Err(SdpReason::Published.at_place(line.place));
                }
                continue;
            }
            let free = |slot: &SlotLines| if sound { slot.audio.is_none() } else { slot.video.is_none() };
            let n = slots.iter().position(free).unwrap_or_else(|| {
                slots.push(SlotLines::default());
                slots.len() - 1
            });
            *(if sound { &mut slots[n].audio } else { &mut slots[n].video }) = Some(mid);
        }
        match self {
            Self::Publish if sends == Sends::default() => Err(SdpReason::Published.into()),
            Self::Watch if slots.is_empty() => Err(SdpReason::Watched.into()),
            Self::Publish | Self::Watch => Ok((sends, slots)),
        }
    }
}

impl RemoteOffer {
    /// What others are told that this participant sends.
    pub fn media_state(&self) -> MediaState {
        let sends = |kind| self.sends.iter().any(|send: &SendTrack| send.kind == kind);
        MediaState {
            microphone: sends(plausch_relay_api::TrackKind::Microphone),
            camera: sends(plausch_relay_api::TrackKind::Camera),
            screen: false,
        }
    }
}

/// A line of sound or pictures that is not stopped (RFC 9143, section 6).
fn is_used(line: &Media<'_>) -> bool {
    matches!(line.kind, "audio" | "video") && (line.port != 0 || line.bundle_only)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::LocalSide;
    use plausch_relay_api::{Codec, Fingerprint, SlotId, SlotSpec, SlotStream};

    fn fixture(name: &str) -> String {
        let path = format!("{}/tests/fixtures/{name}.sdp", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).unwrap()
    }

    fn read(purpose: Purpose, sdp: &str) -> Result<(Offer, RemoteOffer), SdpReason> {
        let policy = CodecPolicy { video: vec![Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1], opus_dtx: true };
        purpose.read(sdp.to_owned(), &policy).map_err(SdpError::reason)
    }

    fn answer(remote: &RemoteOffer, slots: &[SlotSpec]) -> String {
        remote.answer(&LocalSide {
            session: 7,
            version: 1,
            ufrag: "ufragufrag12",
            pwd: "pwdpwdpwdpwdpwdpwdpwdpwd",
            fingerprint: Fingerprint::Sha256([0x0f; 32]),
            candidates: &["192.0.2.1:7882".parse().unwrap()],
            slots,
        })
    }

    #[test]
    fn publishers() {
        for (name, mids, video, payload_type, ssrc) in [
            ("obs-publish", ["0", "1"], Codec::H264, 96, 1_735_412_902),
            ("gstreamer-publish", ["audio0", "video1"], Codec::H264, 96, 725_338_809),
            ("aiortc-publish", ["0", "1"], Codec::Vp8, 97, 0),
        ] {
            let (_, remote) = read(Purpose::Publish, &fixture(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
            let sends: Vec<_> = remote.sends.iter().map(|send| send.mid.as_str()).collect();
            assert_eq!(sends, mids, "{name}");
            assert!(remote.slots.is_empty());
            let mapping = remote.codecs.iter().find(|mapping| mapping.codec == video).unwrap();
            assert_eq!(mapping.payload_type, payload_type, "{name}");
            assert_eq!(remote.sends[1].ssrcs.len(), 1, "{name}: retransmissions are no track");
            assert!(ssrc == 0 || remote.sends[1].ssrcs == [ssrc]);
            assert_eq!(remote.media_state(), MediaState { microphone: true, camera: true, screen: false });
            let answer = answer(&remote, &[]);
            assert!(parse(&answer).is_ok());
            assert_eq!(answer.matches("a=recvonly\r\n").count(), 2, "{answer}");
            assert!(answer.contains("a=setup:passive\r\n") && answer.contains("a=ice-lite\r\n"));
        }
    }

    #[test]
    fn viewers() {
        let (offer, remote) = read(Purpose::Watch, &fixture("aiortc-watch")).unwrap();
        assert_eq!(remote.slots, [SlotLines { audio: Some("0".into()), video: Some("1".into()) }]);
        assert!(remote.sends.is_empty() && offer.slots.is_empty());
        let slot = SlotSpec::both(SlotId(0), SlotStream::new("0", 1000), SlotStream::new("1", 1001));
        let answer = answer(&remote, &[slot]);
        assert_eq!(answer.matches("a=sendonly\r\n").count(), 2, "{answer}");
        assert!(answer.contains("a=ssrc:1001 "));
    }

    #[test]
    fn sound_alone_can_be_published_and_watched() {
        let sdp = fixture("obs-publish");
        let sound = sdp.split("m=video").next().unwrap().replace("BUNDLE 0 1", "BUNDLE 0");
        let (_, remote) = read(Purpose::Publish, &sound).unwrap();
        assert_eq!(remote.media_state(), MediaState { microphone: true, ..MediaState::default() });
        let (_, remote) = read(Purpose::Watch, &sound.replace("sendonly", "recvonly")).unwrap();
        assert_eq!(remote.slots, [SlotLines { audio: Some("0".into()), video: None }]);
    }

    #[test]
    fn a_viewer_gets_what_it_asks_for() {
        let sdp = fixture("aiortc-watch");
        let (head, lines) = sdp.split_at(sdp.find("m=audio").unwrap());
        let (audio, video) = lines.split_at(lines.find("m=video").unwrap());
        let offer = |lines: &[String]| {
            let mids: Vec<_> = (0..lines.len()).map(|n| n.to_string()).collect();
            let group = format!("a=group:BUNDLE {}\r\n", mids.join(" "));
            let head: String =
                head.lines().filter(|line| !line.starts_with("a=group")).map(|l| format!("{l}\r\n")).collect();
            let number = |(n, line): (usize, &String)| {
                line.replace("a=mid:0", "a=mid:X")
                    .replace("a=mid:1", "a=mid:X")
                    .replace("a=mid:X", &format!("a=mid:{n}"))
            };
            head + &group + &lines.iter().enumerate().map(number).collect::<String>()
        };
        let [audio, video] = [audio, video].map(str::to_owned);
        let slot = |audio: Option<&str>, video: Option<&str>| SlotLines {
            audio: audio.map(str::to_owned),
            video: video.map(str::to_owned),
        };
        for (lines, slots) in [
            (vec![audio.clone()], vec![slot(Some("0"), None)]),
            (vec![video.clone()], vec![slot(None, Some("0"))]),
            (
                vec![audio.clone(), video.clone(), video.clone()],
                vec![slot(Some("0"), Some("1")), slot(None, Some("2"))],
            ),
            (
                vec![video.clone(), audio.clone(), audio.clone()],
                vec![slot(Some("1"), Some("0")), slot(Some("2"), None)],
            ),
            (vec![audio.clone(), video.replace("a=recvonly", "a=inactive")], vec![slot(Some("0"), None)]),
            (vec![audio.replace("a=recvonly", "a=sendrecv"), video.clone()], vec![slot(Some("0"), Some("1"))]),
        ] {
            let sdp = offer(&lines);
            let (_, remote) = read(Purpose::Watch, &sdp).unwrap_or_else(|error| panic!("{error}: {sdp}"));
            assert_eq!(remote.slots, slots, "{sdp}");
            let specs: Vec<_> = (0u16..)
                .zip(&slots)
                .map(|(n, slot)| {
                    let stream = |mid: &Option<String>, ssrc| mid.as_ref().map(|mid| SlotStream::new(mid, ssrc));
                    SlotSpec { slot: SlotId(n), audio: stream(&slot.audio, 1000), video: stream(&slot.video, 1001) }
                })
                .collect();
            let answer = answer(&remote, &specs);
            assert_eq!(answer.matches("m=audio").count() + answer.matches("m=video").count(), lines.len(), "{answer}");
            let sent = slots.iter().flat_map(|slot| [&slot.audio, &slot.video]).flatten().count();
            assert_eq!(answer.matches("a=sendonly\r\n").count(), sent, "{answer}");
        }
        // A publisher may watch, too.
        let sdp = offer(&[audio.replace("a=recvonly", "a=sendonly"), audio.clone(), video]);
        let (_, remote) = read(Purpose::Publish, &sdp).unwrap();
        assert_eq!((remote.sends.len(), remote.slots), (1, vec![slot(Some("1"), Some("2"))]));
    }

    #[test]
    fn what_is_not_served_is_said() {
        let sdp = fixture("obs-publish");
        let two = format!("{sdp}{}", sdp[sdp.find("m=video").unwrap()..].replace("a=mid:1", "a=mid:2"));
        for (sdp, error) in [
            (sdp.replace("a=sendonly", "a=recvonly"), SdpReason::Published),
            (sdp.replace("a=sendonly", "a=inactive"), SdpReason::Published),
            (sdp.replace("H264/", "H265/"), SdpReason::Codec),
            (sdp.replace("opus/48000/2", "PCMU/8000"), SdpReason::Codec),
            (sdp.replace("a=group:BUNDLE 0 1\r\n", ""), SdpReason::Bundle),
            (sdp.replace("a=mid:1\r\n", ""), SdpReason::NoMid),
            (two, SdpReason::Published),
            (String::new(), SdpReason::Version),
            ("v=0\r\n".to_owned(), SdpReason::Published),
        ] {
            assert_eq!(read(Purpose::Publish, &sdp).err(), Some(error), "{sdp}");
        }
        assert_eq!(read(Purpose::Watch, &sdp).err(), Some(SdpReason::Watched));
    }
}
