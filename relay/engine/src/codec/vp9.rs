//! VP9 (RFC 9628): payload descriptor, key frames, layers.

/// What the payload descriptor says (RFC 9628, section 4.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Descriptor {
    /// 7 or 15 bits.
    pub picture_id: Option<u16>,
    /// P: the frame depends on earlier pictures.
    pub inter_picture: bool,
    /// F: flexible mode.
    pub flexible: bool,
    /// B: a frame begins here.
    pub frame_start: bool,
    /// E: a frame ends here.
    pub frame_end: bool,
    /// Z: no higher spatial layer depends on this frame.
    pub not_spatial_reference: bool,
    /// TID; 0 without layer indices.
    pub temporal_layer: u8,
    /// U: from here on a higher temporal layer can be decoded.
    pub switching_up: bool,
    /// SID; 0 without layer indices.
    pub spatial_layer: u8,
    /// D: depends on the lower spatial layer of the same picture.
    pub inter_layer: bool,
    pub tl0_picture_index: Option<u8>,
    /// Spatial layers by the scalability structure, where there is one here.
    pub spatial_layers: Option<u8>,
    /// The VP9 payload begins here.
    pub len: usize,
}

impl Descriptor {
    /// `None`: cut short.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let _ = payload;
        None
    }

    /// Whether this is the first packet of a key picture's base layer.
    pub fn begins_key_frame(&self) -> bool {
        self.frame_start && !self.inter_picture && self.spatial_layer == 0
    }
}

/// Whether a key frame begins in this payload.
pub fn begins_key_frame(payload: &[u8]) -> bool {
    Descriptor::parse(payload).is_some_and(|descriptor| descriptor.begins_key_frame())
}
