import { batch, computed, effect, signal, untracked, type ReadonlySignal } from '@preact/signals-core';
import {
  VERSION,
  type Answer,
  type IceServers,
  type MediaState,
  type Offer,
  type Participant,
  type Refusal,
  type ServerMessage,
  type SlotContent,
  type Source,
} from '../protocol/messages';
import {
  ANSWER_TIMEOUT_MS,
  CONNECT_TIMEOUT_MS,
  DISCONNECTED_GRACE_MS,
  NO_RELAY_RETRY_MS,
  RATE_LIMITED_RETRY_MS,
  RESTART_TIMEOUT_MS,
  SLOTS_AT_START,
  SLOTS_MAX,
  SLOTS_STEP,
} from './limits';
import { IceSource } from './ice';
import { SEND_KINDS, type LocalTracks } from './local';
import { Peer, type MakePeerConnection, type Slot } from './peer';
import { Signalling, type MakeSocket } from './signalling';
import { LOOK_EVERY_MS, Stillness } from './stillness';

/** `ready`: before joining; `left` and `failed` are final, a new `Call` follows. */
export type Phase = 'ready' | 'joining' | 'joined' | 'left' | 'failed';

export interface CallOptions {
  /** Of the signalling WebSocket. */
  url: string;
  /** As typed. */
  room: string;
  local: LocalTracks;
  makeSocket: MakeSocket;
  makePeerConnection: MakePeerConnection;
  /** Somebody else came or went, for announcements. */
  presence?: (kind: 'joined' | 'left', participant: Participant) => void;
}

type Timer = ReturnType<typeof setTimeout> | undefined;

/**
 * One person's call: holds the socket and the PeerConnection and repairs both.
 *
 * Socket and media fail apart. A lost socket is opened again and the identity resumed, while media goes on. Lost media
 * is repaired by an ICE restart, then by a new PeerConnection; the server may also ask for a new one (`media-lost`).
 */
export class Call {
  readonly phase = signal<Phase>('ready');
  /** Why the call failed, or what holds up the join at the moment. */
  readonly trouble = signal<Refusal | undefined>(undefined);
  readonly self = signal<string | undefined>(undefined);
  readonly roomTitle = signal<string>('');
  /** The others, in the order in which they came. */
  readonly participants = signal<ReadonlyMap<string, Participant>>(new Map());
  readonly speakers = signal<readonly string[]>([]);
  readonly slots = signal<readonly SlotContent[]>([]);
  /** Participants whose picture stands still though they have it on. */
  readonly still = signal<ReadonlySet<string>>(new Set());
  /** Something that was there is gone and being repaired. */
  readonly lost: ReadonlySignal<boolean>;

  private readonly peer = signal<Peer | undefined>(undefined);
  /** The server knows us on the present socket. */
  private readonly attached = signal(false);
  private readonly mediaDown = signal(false);
  private readonly socket: Signalling;
  /** Where the server is to be found if not directly. */
  readonly ice: IceSource;
  private readonly stopEffects: (() => void)[] = [];

  private name = '';
  private resume: string | undefined;
  private toldMedia: MediaState | undefined;
  private offers = 0;
  private connections = 0;
  /** Made and not yet answered; sent again when the socket comes back. */
  private pending: Offer | undefined;
  private preparing: Promise<void> | undefined;
  private negotiating = false;
  private wanted = { restart: false, renew: false, slots: SLOTS_AT_START };
  private repair: Timer;
  private answerDue: Timer;
  private retry: Timer;

  constructor(private readonly options: CallOptions) {
    this.roomTitle.value = options.room;
    this.lost = computed(() => this.phase.value === 'joined' && (!this.attached.value || this.mediaDown.value));
    this.socket = new Signalling(options.url, options.makeSocket, {
      opened: () => {
        this.ice.opened();
        this.introduce();
      },
      received: (message) => void this.received(message),
      lost: () => {
        this.attached.value = false;
        clearTimeout(this.answerDue);
      },
    });
    this.ice = new IceSource(() => this.socket.send({ type: 'ice-servers', room: options.room }));
    const { local } = options;
    for (const kind of SEND_KINDS) {
      this.stopEffects.push(
        effect(() => {
          const peer = this.peer.value;
          const track = local.tracks[kind].value;
          // A connection that is closed meanwhile rejects; its successor gets the track by this same effect.
          peer?.send(kind, track).catch(() => undefined);
        }),
      );
    }
    this.stopEffects.push(
      effect(() => {
        local.state.value;
        untracked(() => this.tellMedia());
      }),
      effect(() => (this.phase.value === 'joined' ? this.watchPictures() : undefined)),
    );
  }

  /** Opens the socket ahead of the join. Also: the network is back, do not wait. */
  connect(): void {
    this.socket.open();
  }

  /** Makes the PeerConnection and its first offer ahead of the join. */
  async prepare(): Promise<void> {
    this.preparing ??= this.ice.get().then((ice) => this.makePeer(ice));
    await this.preparing;
  }

  async join(name: string): Promise<void> {
    if (this.phase.value !== 'ready') return;
    this.phase.value = 'joining';
    this.name = name;
    this.socket.open();
    try {
      await this.prepare();
    } catch (error) {
      // The browser has WebRTC switched off, or only half of it.
      console.error('No connection can be made in this browser.', error);
      this.trouble.value = 'bad-offer';
      this.end('failed');
      return;
    }
    this.introduce();
  }

  /** The person goes on in another window. */
  moveAway(): void {
    this.socket.send({ type: 'leave' });
    this.trouble.value = 'replaced';
    this.end('failed');
  }

  /** Says goodbye and ends; also for `pagehide`. */
  leave(): void {
    this.socket.send({ type: 'leave' });
    this.end('left');
  }

  /** The slot that shows this source at the moment. */
  slotOf(participant: string, source: Source): (Slot & { index: number }) | undefined {
    const content = this.slots.value.find((slot) => slot.participant === participant && slot.source === source);
    const slot = content && this.peer.value?.slots[content.slot];
    return slot && content && { ...slot, index: content.slot };
  }

  /** Looks again and again which pictures have stopped coming. */
  private watchPictures(): () => void {
    const stillness = new Stillness();
    const look = (): void => {
      const pictures = new Map<string, number>();
      const received = this.lost.value ? undefined : this.peer.value?.lastPictures();
      for (const { id, media, connected } of this.participants.value.values()) {
        const last = received?.get(this.slotOf(id, 'person')?.video.id ?? '');
        if (media.camera && connected && last !== undefined) pictures.set(id, last);
      }
      const still = stillness.look(pictures, performance.now());
      if (still.size !== this.still.value.size || [...still].some((id) => !this.still.value.has(id))) this.still.value = still;
    };
    const timer = setInterval(look, LOOK_EVERY_MS);
    return () => clearInterval(timer);
  }

  async stats(): Promise<RTCStatsReport | undefined> {
    return this.peer.value?.stats();
  }

  get connection(): { number: number; state: RTCPeerConnectionState } | undefined {
    const peer = this.peer.value;
    return peer && { number: peer.connection, state: peer.state };
  }

  private end(phase: 'left' | 'failed'): void {
    for (const timer of [this.repair, this.answerDue, this.retry]) clearTimeout(timer);
    // First, so that devices that are closed now are no news to anybody.
    for (const stop of this.stopEffects.splice(0)) stop();
    this.ice.close();
    this.socket.close();
    this.peer.value?.close();
    this.pending = undefined;
    batch(() => {
      this.phase.value = phase;
      this.attached.value = false;
      this.peer.value = undefined;
      this.participants.value = new Map();
      this.slots.value = [];
      this.speakers.value = [];
    });
  }

  private get ended(): boolean {
    return this.phase.value === 'left' || this.phase.value === 'failed';
  }

  // --- Socket ----------------------------------------------------------------------------------------------

  /** First message on each socket, as soon as there is something to say. */
  private introduce(): void {
    const media = this.options.local.state.value;
    const { room } = this.options;
    this.toldMedia = media;
    const common = { type: 'join', version: VERSION, room, name: this.name, media } as const;
    if (this.phase.value === 'joined' && this.resume !== undefined) {
      if (this.socket.send({ ...common, resume: this.resume })) this.expectAnswer();
    } else if (this.phase.value === 'joining' && this.pending !== undefined) {
      if (this.socket.send({ ...common, offer: this.pending })) this.expectAnswer();
    }
  }

  private async received(message: ServerMessage): Promise<void> {
    if (this.ended) return;
    switch (message.type) {
      case 'welcome':
        return this.welcomed(message);
      case 'ice-servers':
        return this.ice.received(message.ice);
      case 'answer':
        return this.answered(message.answer);
      case 'participant-joined':
      case 'participant-changed': {
        const { participant } = message;
        const known = this.participants.value.has(participant.id);
        this.participants.value = new Map(this.participants.value).set(participant.id, participant);
        if (!known) this.options.presence?.('joined', participant);
        return this.fitSlots();
      }
      case 'participant-left': {
        const participant = this.participants.value.get(message.participant);
        if (participant === undefined) return;
        const rest = new Map(this.participants.value);
        rest.delete(participant.id);
        this.participants.value = rest;
        this.slots.value = this.slots.value.filter((slot) => slot.participant !== participant.id);
        this.options.presence?.('left', participant);
        return;
      }
      case 'slots':
        this.slots.value = message.slots;
        return;
      case 'speakers':
        this.speakers.value = message.participants;
        return;
      case 'media-lost':
        return this.renew();
      case 'error':
        return this.refused(message.code, message.fatal);
    }
  }

  private async welcomed(welcome: Extract<ServerMessage, { type: 'welcome' }>): Promise<void> {
    clearTimeout(this.answerDue);
    this.socket.settled();
    const before = this.participants.value;
    const first = this.phase.value === 'joining';
    this.self.value = welcome.participant;
    this.resume = welcome.resume;
    this.roomTitle.value = welcome.room;
    this.participants.value = inOldOrder(before, welcome.participants);
    this.slots.value = welcome.slots;
    this.speakers.value = [];
    this.trouble.value = undefined;
    this.attached.value = true;
    if (welcome.ice !== undefined) this.ice.received(welcome.ice);
    this.phase.value = 'joined';
    this.tellMedia();
    if (!first) this.announceDifference(before);
    if (welcome.answer !== undefined) {
      this.repairAfter(CONNECT_TIMEOUT_MS, () => void this.renew());
      await this.answered(welcome.answer);
    } else if (this.wanted.renew) {
      await this.renew();
    } else if (this.pending !== undefined) {
      this.offerPending();
    }
    await this.fitSlots();
  }

  private announceDifference(before: ReadonlyMap<string, Participant>): void {
    const after = this.participants.value;
    for (const [id, participant] of before) if (!after.has(id)) this.options.presence?.('left', participant);
    for (const [id, participant] of after) if (!before.has(id)) this.options.presence?.('joined', participant);
  }

  private async refused(code: Refusal, fatal: boolean): Promise<void> {
    clearTimeout(this.answerDue);
    if (code === 'no-relay' || code === 'rate-limited') {
      // Passes by itself. After a fatal one the server closes the socket, and the next socket asks again.
      this.trouble.value = code;
      clearTimeout(this.retry);
      const wait_ms = code === 'no-relay' ? NO_RELAY_RETRY_MS : RATE_LIMITED_RETRY_MS;
      if (!fatal) {
        this.retry = setTimeout(() => (this.attached.value ? this.offerPending() : this.introduce()), wait_ms);
      }
    } else if (code === 'unknown' && !fatal) {
      // A later release has told of something that needs nothing from us; before the join it is the reason to wait.
      if (!this.attached.value) this.trouble.value = code;
    } else if (this.attached.value && !fatal) {
      // A refused offer: start over with a clean connection, but not in a tight loop.
      if (code === 'bad-offer') {
        this.pending = undefined;
        this.repairAfter(RESTART_TIMEOUT_MS, () => void this.renew());
      }
    } else if (this.phase.value === 'joined' && (code === 'bad-message' || code === 'bad-offer')) {
      // The server does not know this identity any more: come in afresh, under the same name.
      this.resume = undefined;
      this.phase.value = 'joining';
      this.pending = undefined;
      this.socket.drop();
      await this.makePeer(await this.ice.get());
      this.introduce();
    } else {
      this.trouble.value = code;
      this.end('failed');
    }
  }

  /** Tells the others what we send, when that is news to the server. */
  private tellMedia(): void {
    const media = this.options.local.state.value;
    if (!this.attached.value || media === this.toldMedia) return;
    if (this.socket.send({ type: 'media', media })) this.toldMedia = media;
  }

  /** A join or offer went out: without any answer the socket is taken for dead. */
  private expectAnswer(): void {
    clearTimeout(this.answerDue);
    this.answerDue = setTimeout(() => {
      // A first join that the server may yet serve would stay in the room as a ghost beside the second one.
      this.socket.drop(this.phase.value === 'joined');
    }, ANSWER_TIMEOUT_MS);
  }

  // --- Media -----------------------------------------------------------------------------------------------

  /** A new PeerConnection in place of the present one, and its first offer, not yet sent. */
  private async makePeer({ servers }: IceServers): Promise<void> {
    if (this.ended) return;
    this.connections += 1;
    this.wanted.renew = false;
    this.wanted.restart = false;
    const old = this.peer.value;
    const peer = new Peer(this.options.makePeerConnection(servers), this.connections, this.wanted.slots, (state) =>
      this.peerChanged(peer, state),
    );
    this.pending = undefined;
    this.peer.value = peer;
    old?.close();
    this.offers += 1;
    const offer = await peer.offer(this.offers);
    if (this.peer.value === peer) this.pending = offer;
  }

  private peerChanged(peer: Peer, state: RTCPeerConnectionState): void {
    if (peer !== this.peer.value || this.phase.value !== 'joined') return;
    if (state === 'connected') {
      clearTimeout(this.repair);
      // It healed before anybody could be asked: the next welcome must not tear it down.
      this.wanted.restart = false;
      this.wanted.renew = false;
      this.mediaDown.value = false;
    } else if (state === 'disconnected' || state === 'failed') {
      this.mediaDown.value = true;
      this.repairAfter(state === 'failed' ? 0 : DISCONNECTED_GRACE_MS, () => this.restartIce());
    }
  }

  private repairAfter(wait_ms: number, action: () => void): void {
    clearTimeout(this.repair);
    this.repair = setTimeout(action, wait_ms);
  }

  private restartIce(): void {
    this.wanted.restart = true;
    void this.negotiate();
    this.repairAfter(RESTART_TIMEOUT_MS, () => void this.renew());
  }

  private async renew(): Promise<void> {
    if (this.ended) return;
    if (!this.attached.value) {
      // Nobody would answer; the next welcome asks again.
      this.wanted.renew = true;
      return;
    }
    this.mediaDown.value = true;
    this.repairAfter(CONNECT_TIMEOUT_MS, () => void this.renew());
    // Nobody waits for an answer to an offer of the connection that is given up.
    this.pending = undefined;
    this.wanted.renew = true;
    const ice = await this.ice.fresh();
    // Another renewal, or the old connection itself, was quicker.
    if (!this.wanted.renew) return;
    await this.makePeer(ice);
    this.offerPending();
  }

  /** More sources than slots: the connection grows, up to its limit. */
  private async fitSlots(): Promise<void> {
    let sources = 0;
    for (const { media } of this.participants.value.values()) sources += media.screen ? 2 : 1;
    const steps = Math.ceil(sources / SLOTS_STEP) * SLOTS_STEP;
    this.wanted.slots = Math.max(this.wanted.slots, Math.min(steps, SLOTS_MAX));
    await this.negotiate();
  }

  /** One offer at a time; what is wanted meanwhile goes into the next one. */
  private async negotiate(): Promise<void> {
    const peer = this.peer.value;
    if (peer === undefined || this.negotiating || this.pending !== undefined || !this.attached.value) return;
    // One that is about to be replaced.
    if (this.wanted.renew) return;
    if (!this.wanted.restart && this.wanted.slots <= peer.slots.length) return;
    const iceRestart = this.wanted.restart;
    this.wanted.restart = false;
    this.negotiating = true;
    try {
      const restart = iceRestart ? { iceServers: (await this.ice.fresh()).servers } : undefined;
      if (this.peer.value !== peer) return;
      peer.grow(this.wanted.slots);
      this.offers += 1;
      const offer = await peer.offer(this.offers, restart);
      if (this.peer.value === peer) this.pending = offer;
    } finally {
      this.negotiating = false;
    }
    this.offerPending();
  }

  private offerPending(): void {
    if (this.pending === undefined || !this.attached.value) return;
    if (this.socket.send({ type: 'offer', offer: this.pending })) this.expectAnswer();
  }

  private async answered(answer: Answer): Promise<void> {
    const peer = this.peer.value;
    if (peer === undefined || this.pending?.id !== answer.id) return;
    clearTimeout(this.answerDue);
    this.trouble.value = undefined;
    this.pending = undefined;
    try {
      await peer.answer(answer.sdp);
    } catch (error) {
      if (this.peer.value !== peer) return;
      console.error('The answer cannot be applied; making a new connection.', error);
      this.repairAfter(NO_RELAY_RETRY_MS, () => void this.renew());
      return;
    }
    await this.negotiate();
  }
}

/** Those who were there keep their place, so that a reconnect does not shuffle the tiles. */
function inOldOrder(before: ReadonlyMap<string, Participant>, now: Participant[]): Map<string, Participant> {
  const present = new Map(now.map((participant) => [participant.id, participant]));
  const ordered = new Map<string, Participant>();
  for (const id of before.keys()) {
    const participant = present.get(id);
    if (participant !== undefined) ordered.set(id, participant);
  }
  for (const [id, participant] of present) ordered.set(id, participant);
  return ordered;
}
