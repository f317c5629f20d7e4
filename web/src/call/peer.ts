import type { Offer, Sends, SlotMids } from '../protocol/messages';
import { sendEncodings } from './encodings';
import { SEND_KINDS, type SendKind } from './local';

export type MakePeerConnection = (iceServers: RTCIceServer[]) => RTCPeerConnection;

/** What one receiving slot plays. The tracks live as long as the connection; only what they show changes. */
export interface Slot {
  readonly audio: MediaStreamTrack;
  readonly video: MediaStreamTrack;
}

/**
 * One PeerConnection: the sending transceivers first, then the receiving slots. Only this side makes offers, so two
 * offers can never meet.
 */
export class Peer {
  readonly slots: Slot[] = [];
  private readonly senders: Record<SendKind, RTCRtpTransceiver>;
  private readonly receivers: { audio: RTCRtpTransceiver; video: RTCRtpTransceiver }[] = [];

  constructor(
    private readonly pc: RTCPeerConnection,
    /** Counts the PeerConnections of this participant, from 1. */
    readonly connection: number,
    slots: number,
    changed: (state: RTCPeerConnectionState) => void,
  ) {
    const sender = (kind: SendKind): RTCRtpTransceiver =>
      pc.addTransceiver(kind === 'microphone' || kind === 'screenAudio' ? 'audio' : 'video', {
        direction: 'sendonly',
        sendEncodings: sendEncodings(kind),
      });
    this.senders = {
      microphone: sender('microphone'),
      camera: sender('camera'),
      screen: sender('screen'),
      screenAudio: sender('screenAudio'),
    };
    this.grow(slots);
    pc.onconnectionstatechange = () => changed(pc.connectionState);
  }

  get state(): RTCPeerConnectionState {
    return this.pc.connectionState;
  }

  /** Adds slots until there are `total`; the next offer announces them. */
  grow(total: number): void {
    while (this.receivers.length < total) {
      const audio = this.pc.addTransceiver('audio', { direction: 'recvonly' });
      const video = this.pc.addTransceiver('video', { direction: 'recvonly' });
      this.receivers.push({ audio, video });
      this.slots.push({ audio: audio.receiver.track, video: video.receiver.track });
    }
  }

  /** Needs no negotiation: the m-line is there from the start. */
  async send(kind: SendKind, track: MediaStreamTrack | null): Promise<void> {
    await this.senders[kind].sender.replaceTrack(track);
  }

  /** `restart`: of ICE, by these servers from now on. */
  async offer(id: number, restart?: { iceServers: RTCIceServer[] }): Promise<Offer> {
    // Only here: at any other time a change of servers makes some browsers restart ICE with the next offer by themselves.
    if (restart !== undefined) this.pc.setConfiguration({ ...this.pc.getConfiguration(), ...restart });
    const description = await this.pc.createOffer({ iceRestart: restart !== undefined });
    await this.pc.setLocalDescription(description);
    const sends: Sends = {};
    for (const kind of SEND_KINDS) sends[kind] = mid(this.senders[kind]);
    const slots = this.receivers.map(({ audio, video }): SlotMids => ({ audio: mid(audio), video: mid(video) }));
    // The server learns our addresses from our checks, so nobody waits for candidates here.
    const sdp = this.pc.localDescription?.sdp ?? description.sdp ?? '';
    return { id, connection: this.connection, sdp, sends, slots };
  }

  async answer(sdp: string): Promise<void> {
    await this.pc.setRemoteDescription({ type: 'answer', sdp });
  }

  async stats(): Promise<RTCStatsReport> {
    return this.pc.getStats();
  }

  /**
   * When the last picture of each receiving track arrived (browser's clock in ms), 0 before the first and after a long
   * silence; by the id of the track. Statistics would say it too, for far more work.
   */
  lastPictures(): Map<string, number> {
    const last = new Map<string, number>();
    for (const { video } of this.receivers) {
      const sources = video.receiver.getSynchronizationSources?.();
      if (sources === undefined) continue;
      last.set(video.receiver.track.id, Math.max(0, ...sources.map(({ timestamp }) => timestamp)));
    }
    return last;
  }

  close(): void {
    this.pc.onconnectionstatechange = null;
    this.pc.close();
  }
}

function mid(transceiver: RTCRtpTransceiver): string {
  if (transceiver.mid === null) throw new Error('a transceiver has no MID after setLocalDescription');
  return transceiver.mid;
}
