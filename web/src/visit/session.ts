import { computed, effect, signal, untracked } from '@preact/signals';
import { Call } from '../call/call';
import { tryPaths, verdict, type Verdict } from '../call/paths';
import { LocalMedia } from '../devices/media';
import { words } from '../i18n/language';
import { addVisited } from './visited';

const JOIN_CLICK = 'plausch:join-click';
const FIRST_REMOTE_FRAME = 'plausch:first-remote-frame';
/** How long "Back again" stays. */
const BACK_MS = 4_000;

/** One visit to a room, from the device page to the goodbye. */
export class Session {
  readonly media = new LocalMedia();
  readonly call: Call;
  /** The browser may be asking the person for permission. */
  readonly asking = signal(true);
  /** The last thing that happened, for screen readers. */
  readonly news = signal('');
  /** `back`: the connection was lost and has just come back. */
  readonly link = signal<'fine' | 'lost' | 'back'>('fine');
  /** The person's own name, once they have joined. */
  readonly name = signal('');
  /** What the person's network lets through; `undefined` while nothing can be said. */
  readonly network = signal<Verdict | undefined>(undefined);
  /** The browser wants a click before it plays sound. */
  readonly soundBlocked = signal(false);
  readonly stage = computed(() => {
    const phase = this.call.phase.value;
    if (phase === 'joined' || phase === 'left' || phase === 'failed') return phase;
    return 'device';
  });
  private firstFrameSeen = false;
  private networkTest: AbortController | undefined;
  private readonly stops: (() => void)[] = [];

  constructor(readonly room: string) {
    this.call = new Call({
      url: `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/api/signalling`,
      room,
      local: this.media,
      makeSocket: (url) => new WebSocket(url),
      makePeerConnection: (iceServers) => new RTCPeerConnection({ bundlePolicy: 'max-bundle', iceServers }),
      presence: (kind, { name }) => {
        this.news.value = kind === 'joined' ? words.value.room.joined(name) : words.value.room.left(name);
      },
    });
    const hurry = (): void => this.call.connect();
    const goodbye = (): void => {
      if (this.call.phase.value === 'joined' || this.call.phase.value === 'joining') this.leave();
    };
    // A phone that wakes up, a network that is back: no waiting for the next attempt.
    addEventListener('online', hurry);
    document.addEventListener('visibilitychange', hurry);
    addEventListener('pagehide', goodbye);
    this.stops.push(
      () => removeEventListener('online', hurry),
      () => document.removeEventListener('visibilitychange', hurry),
      () => removeEventListener('pagehide', goodbye),
      effect(() => {
        const room = this.call.roomTitle.value;
        if (this.call.phase.value === 'joined') untracked(() => addVisited(room, this.name.value));
      }),
      effect(() => {
        const phase = this.call.phase.value;
        if (phase === 'left' || phase === 'failed') this.media.close();
      }),
      this.watchLink(),
    );
    this.call.connect();
    void this.openDevices();
  }

  /** Opens the devices, then prepares the connection: with permission the browser knows all its addresses. */
  async openDevices(): Promise<void> {
    this.asking.value = true;
    await this.media.open();
    this.asking.value = false;
    // What goes wrong here comes up again, and is dealt with, at the join.
    if (this.stage.value === 'device') await this.call.prepare().catch(() => undefined);
    if (this.stage.value === 'device') void this.testNetwork();
  }

  /** Once for a visit, and only while the person is not joining yet: the call needs the network for itself. */
  private async testNetwork(): Promise<void> {
    if (this.networkTest !== undefined || this.call.phase.value !== 'ready') return;
    this.networkTest = new AbortController();
    const stop = this.networkTest.signal;
    // Its own credentials: it shall not use up what one user may have at once.
    const ice = await this.call.ice.fresh();
    if (stop.aborted) return;
    const paths = await tryPaths(ice, (configuration) => new RTCPeerConnection(configuration), stop, (paths) => {
      this.network.value = verdict(paths, false, ice);
    });
    if (!stop.aborted) this.network.value = verdict(paths, true, ice);
  }

  join(name: string): void {
    performance.mark(JOIN_CLICK);
    this.networkTest?.abort();
    this.name.value = name;
    // The device page has said it; in the room only news are worth a notice.
    this.media.acknowledgeTrouble();
    void this.call.join(name);
  }

  leave(): void {
    this.networkTest?.abort();
    this.call.leave();
    this.media.close();
  }

  /** Left for another page of this client. */
  dispose(): void {
    this.leave();
    for (const stop of this.stops.splice(0)) stop();
  }

  remoteFrameShown(): void {
    if (this.firstFrameSeen) return;
    this.firstFrameSeen = true;
    performance.mark(FIRST_REMOTE_FRAME);
  }

  private watchLink(): () => void {
    let timer: ReturnType<typeof setTimeout> | undefined;
    return effect(() => {
      const lost = this.call.lost.value;
      clearTimeout(timer);
      if (lost) {
        this.link.value = 'lost';
      } else if (this.link.peek() === 'lost') {
        this.link.value = 'back';
        timer = setTimeout(() => {
          this.link.value = 'fine';
        }, BACK_MS);
      }
    });
  }
}
