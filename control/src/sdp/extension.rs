//! The RTP header extensions that we negotiate.

use plausch_relay_api::{ExtensionIds, MediaKind};

/// A header extension that the relay reads or writes.
///
/// `urn:3gpp:video-orientation` is left out on purpose: Firefox does not know it, and would show the picture of a
/// phone lying on its side. Without it, phones turn their pictures upright before they send them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Extension {
    Mid,
    Rid,
    AudioLevel,
    TransportCc,
    DependencyDescriptor,
}

impl Extension {
    const ALL: [Self; 5] = [Self::Mid, Self::Rid, Self::AudioLevel, Self::TransportCc, Self::DependencyDescriptor];

    pub(super) fn of_uri(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|extension| extension.uri() == uri)
    }

    pub(super) fn uri(self) -> &'static str {
        match self {
            Self::Mid => "urn:ietf:params:rtp-hdrext:sdes:mid",
            Self::Rid => "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
            Self::AudioLevel => "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
            Self::TransportCc => "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
            Self::DependencyDescriptor => {
                "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
            }
        }
    }

    pub(super) fn serves(self, kind: MediaKind) -> bool {
        match self {
            Self::Mid | Self::TransportCc => true,
            Self::AudioLevel => kind == MediaKind::Audio,
            Self::Rid | Self::DependencyDescriptor => kind == MediaKind::Video,
        }
    }

    /// The id of the extension in the whole connection.
    pub(super) fn slot(self, ids: &mut ExtensionIds) -> &mut Option<u8> {
        match self {
            Self::Mid => &mut ids.mid,
            Self::Rid => &mut ids.rid,
            Self::AudioLevel => &mut ids.audio_level,
            Self::TransportCc => &mut ids.transport_cc,
            Self::DependencyDescriptor => &mut ids.dependency_descriptor,
        }
    }
}
