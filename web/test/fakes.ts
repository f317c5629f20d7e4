/** Stand-ins for the browser in the tests of the call logic: they record what is done to them. */

import { computed, signal } from '@preact/signals-core';
import type { ClientMessage, IceServers, MediaState, ServerMessage } from '../src/protocol/messages';
import { parseClientMessage } from '../src/protocol/parse';
import type { LocalTracks } from '../src/call/local';

/** The n-th answer to `ice-servers`. */
export function fakeIce(n: number): IceServers {
  const server = { urls: ['turn:test:3478?transport=udp'], username: `user ${n}`, credential: 'secret' };
  return { servers: [server], lifetimeSeconds: 43_200 };
}

export class FakeSocket {
  static all: FakeSocket[] = [];
  /** Questions for TURN servers on all sockets; each is answered at once, and is not among what was `sent`. */
  static iceAsked = 0;
  static answersIce = true;
  readyState = 0;
  closedWith: number | undefined;
  readonly sent: ClientMessage[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: (() => void) | null = null;

  constructor(readonly url: string) {
    FakeSocket.all.push(this);
  }

  static get last(): FakeSocket {
    const socket = FakeSocket.all.at(-1);
    if (socket === undefined) throw new Error('no socket was opened');
    return socket;
  }

  send(json: string): void {
    const message = parseClientMessage(json);
    if (message === undefined) throw new Error(`the client sent what its own parser refuses: ${json}`);
    if (message.type !== 'ice-servers') {
      this.sent.push(message);
      return;
    }
    FakeSocket.iceAsked += 1;
    const ice = fakeIce(FakeSocket.iceAsked);
    if (FakeSocket.answersIce) queueMicrotask(() => this.deliver({ type: 'ice-servers', ice }));
  }

  close(code: number): void {
    this.readyState = 3;
    this.closedWith = code;
  }

  // --- What the server or the network does ---

  accept(): void {
    this.readyState = 1;
    this.onopen?.();
  }

  deliver(message: ServerMessage): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }

  /** As when the server was killed. */
  break(): void {
    this.readyState = 3;
    this.onclose?.();
  }

  of<T extends ClientMessage['type']>(type: T): Extract<ClientMessage, { type: T }>[] {
    return this.sent.filter((message): message is Extract<ClientMessage, { type: T }> => message.type === type);
  }
}

class FakeTransceiver {
  mid: string | null = null;
  readonly sender = {
    track: null as unknown,
    replaceTrack: async (track: unknown): Promise<void> => {
      this.sender.track = track;
    },
  };
  readonly receiver: { track: { kind: string } };

  constructor(
    readonly kind: string,
    readonly direction: string,
  ) {
    this.receiver = { track: { kind } };
  }
}

export class FakePeerConnection {
  static all: FakePeerConnection[] = [];
  connectionState = 'new';
  localDescription: { sdp: string } | null = null;
  readonly transceivers: FakeTransceiver[] = [];
  readonly answers: string[] = [];
  readonly restarts: boolean[] = [];
  failAnswers = false;
  closed = false;
  onconnectionstatechange: (() => void) | null = null;

  constructor(private configuration: RTCConfiguration) {
    FakePeerConnection.all.push(this);
  }

  /** User names of the servers in use. */
  get users(): (string | undefined)[] {
    return (this.configuration.iceServers ?? []).map(({ username }) => username);
  }

  getConfiguration(): RTCConfiguration {
    return this.configuration;
  }

  /** As a browser, which refuses to change what is fixed for a connection's life. */
  setConfiguration(configuration: RTCConfiguration): void {
    if (configuration.bundlePolicy !== this.configuration.bundlePolicy) throw new Error('the bundle policy is fixed');
    this.configuration = configuration;
  }

  static get last(): FakePeerConnection {
    const connection = FakePeerConnection.all.at(-1);
    if (connection === undefined) throw new Error('no connection was made');
    return connection;
  }

  addTransceiver(kind: string, { direction }: { direction: string }): FakeTransceiver {
    const transceiver = new FakeTransceiver(kind, direction);
    this.transceivers.push(transceiver);
    return transceiver;
  }

  async createOffer({ iceRestart }: { iceRestart: boolean }): Promise<{ type: string; sdp: string }> {
    this.restarts.push(iceRestart);
    return { type: 'offer', sdp: `offer ${this.restarts.length}` };
  }

  async setLocalDescription(description: { sdp: string }): Promise<void> {
    for (const [index, transceiver] of this.transceivers.entries()) transceiver.mid = String(index);
    this.localDescription = description;
  }

  async setRemoteDescription({ sdp }: { sdp: string }): Promise<void> {
    if (this.failAnswers) throw new Error('not an answer');
    this.answers.push(sdp);
  }

  async getStats(): Promise<Map<string, unknown>> {
    return new Map();
  }

  close(): void {
    this.closed = true;
  }

  become(state: string): void {
    this.connectionState = state;
    this.onconnectionstatechange?.();
  }
}

/** A person with devices that only have names. */
export function fakeLocal(): {
  local: LocalTracks;
  set: (kind: keyof LocalTracks['tracks'], name: string | null) => void;
} {
  const tracks = {
    microphone: signal<MediaStreamTrack | null>(null),
    camera: signal<MediaStreamTrack | null>(null),
    screen: signal<MediaStreamTrack | null>(null),
    screenAudio: signal<MediaStreamTrack | null>(null),
  };
  const state = computed<MediaState>(() => ({
    microphone: tracks.microphone.value !== null,
    camera: tracks.camera.value !== null,
    screen: tracks.screen.value !== null,
  }));
  return {
    local: { tracks, state },
    set: (kind, name) => {
      tracks[kind].value = name === null ? null : ({ name } as unknown as MediaStreamTrack);
    },
  };
}
