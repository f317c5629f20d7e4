//! Offers of WHIP and WHEP: SDP alone, from which what its m-lines are for has to be read.

use super::parse::{Media, parse};
use super::{CodecPolicy, RemoteOffer, SdpError, SdpReason};
use plausch_relay_api::SendTrack;
use plausch_signalling::{MediaState, Offer, Sends, SlotMids};

/// What a client without our signalling wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// WHIP.
    Publish,
    /// WHEP.
    Watch,
}

impl Purpose {
    /// Reads the first and only offer of such a client.
    pub fn read(self, sdp: String, policy: &CodecPolicy) -> Result<(Offer, RemoteOffer), SdpError> {
        let (sends, slots) = match self {
            Self::Publish => (publisher(&parse(&sdp)?.media)?, Vec::new()),
            Self::Watch => (Sends::default(), vec![viewer(&parse(&sdp)?.media)?]),
        };
        let offer = Offer { id: 1, connection: 1, sdp, sends, slots };
        let remote = RemoteOffer::read(&offer, policy)?;
        // A camera without a common codec is left out of an answer; who came to publish it shall be told.
        let offered = usize::from(offer.sends.microphone.is_some()) + usize::from(offer.sends.camera.is_some());
        if remote.sends.len() < offered {
            return Err(SdpReason::Codec.into());
        }
        Ok((offer, remote))
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

fn publisher(media: &[Media<'_>]) -> Result<Sends, SdpError> {
    let mut sends = Sends::default();
    // GStreamer's webrtcbin says sendrecv of what it only sends, unless it is told otherwise.
    for line in media.iter().filter(|line| is_used(line) && line.direction.sends()) {
        let mid = line.mid.ok_or_else(|| SdpReason::NoMid.at_place(line.place))?.to_owned();
        let place = if line.kind == "audio" { &mut sends.microphone } else { &mut sends.camera };
        if place.replace(mid).is_some() {
            return Err(SdpReason::Published.at_place(line.place));
        }
    }
    if sends == Sends::default() { Err(SdpReason::Published.into()) } else { Ok(sends) }
}

fn viewer(media: &[Media<'_>]) -> Result<SlotMids, SdpError> {
    let (mut audio, mut video) = (None, None);
    for line in media.iter().filter(|line| is_used(line) && line.direction.receives()) {
        let mid = line.mid.ok_or_else(|| SdpReason::NoMid.at_place(line.place))?.to_owned();
        let place = if line.kind == "audio" { &mut audio } else { &mut video };
        if place.replace(mid).is_some() {
            return Err(SdpReason::Watched.at_place(line.place));
        }
    }
    match (audio, video) {
        (Some(audio), Some(video)) => Ok(SlotMids { audio, video }),
        _ => Err(SdpReason::Watched.into()),
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
        assert_eq!(remote.slots, [SlotMids { audio: "0".into(), video: "1".into() }]);
        assert!(remote.sends.is_empty());
        let mids = offer.slots[0].clone();
        let slot = SlotSpec::both(SlotId(0), SlotStream::new(mids.audio, 1000), SlotStream::new(mids.video, 1001));
        let answer = answer(&remote, &[slot]);
        assert_eq!(answer.matches("a=sendonly\r\n").count(), 2, "{answer}");
        assert!(answer.contains("a=ssrc:1001 "));
    }

    #[test]
    fn sound_alone_can_be_published_but_not_watched() {
        let sdp = fixture("obs-publish");
        let sound = sdp.split("m=video").next().unwrap().replace("BUNDLE 0 1", "BUNDLE 0");
        let (_, remote) = read(Purpose::Publish, &sound).unwrap();
        assert_eq!(remote.media_state(), MediaState { microphone: true, ..MediaState::default() });
        assert_eq!(read(Purpose::Watch, &sound.replace("sendonly", "recvonly")).err(), Some(SdpReason::Watched));
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
