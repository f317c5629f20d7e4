import type { SendKind } from './local';

/**
 * Send parameters of each kind. One layer for now. Simulcast belongs here: three encodings with rids q, h, f for the
 * camera, once the server asks for them.
 */
export function sendEncodings(kind: SendKind): RTCRtpEncodingParameters[] {
  switch (kind) {
    case 'camera':
      return [{ maxBitrate: 1_700_000, maxFramerate: 30 }];
    case 'screen':
      return [{ maxBitrate: 2_500_000, maxFramerate: 15 }];
    case 'microphone':
      return [{ maxBitrate: 48_000 }];
    case 'screenAudio':
      return [{ maxBitrate: 96_000 }];
  }
}
