import { computed, effect, signal, untracked } from '@preact/signals';
import { Call } from '../call/call';
import { tryPaths, verdict, type Verdict } from '../call/paths';
import { LocalMedia } from '../devices/media';
import { play } from '../devices/sounds';
import { VoiceWatch } from '../devices/voice';
import { forgetLayers, onBack } from './back';
import { Notices } from './notices';
import { Panels } from './panels';
import { loadSettings, settings } from './settings';
import { OtherWindows } from './tabs';
import { View } from './view';
import { addVisited } from './visited';
import { keepAwake } from './wake-lock';

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
  readonly view = new View();
  readonly panels = new Panels();
  readonly notices = new Notices();
  /** Whether the others could hear this person. */
  readonly voice = new VoiceWatch();
  readonly windows: OtherWindows;
  /** The space bar is held to talk. */
  readonly talking = signal(false);
  /** The person has not yet read that nobody can hear them for want of a microphone. */
  readonly unheardShown = signal(true);
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
  /** The person wants to go on here instead of in the other window. */
  moving = false;
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
        this.notices.presence(kind, name);
        if (settings.sounds.value) play(kind);
      },
    });
    loadSettings();
    this.windows = new OtherWindows(room, () => this.call.moveAway());
    const hurry = (): void => {
      this.call.connect();
      if (document.visibilityState === 'visible' && !this.asking.value) void this.media.devicesChanged();
    };
    const goodbye = (): void => {
      forgetLayers();
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
      effect(() => (this.call.phase.value === 'joined' ? untracked(() => this.inRoom()) : undefined)),
      effect(() => this.view.heard(this.call.speakers.value, this.call.self.peek())),
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
    if (this.moving) this.windows.moveHere();
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
    this.windows.close();
    this.notices.close();
  }

  /** What is held for as long as the person is in the room; the function that is returned lets go of it. */
  private inRoom(): () => void {
    this.windows.entered();
    let takeBack: () => void;
    // "Back" asks first, each time.
    const guard = (): void => {
      takeBack = onBack(() => {
        guard();
        this.panels.show('leave');
      });
    };
    guard();
    const beforeUnload = (event: BeforeUnloadEvent): void => {
      // Nobody would be missed otherwise.
      if (this.call.participants.value.size > 0) event.preventDefault();
    };
    addEventListener('beforeunload', beforeUnload);
    const stops = [
      keepAwake(),
      () => takeBack(),
      () => removeEventListener('beforeunload', beforeUnload),
      effect(() => {
        const { microphone } = this.media.tracks;
        this.voice.watch(microphone.value, () => this.media.state.peek().microphone);
      }),
    ];
    return () => {
      for (const stop of stops) stop();
      this.voice.stop();
      this.panels.close();
      this.panels.closeDialog();
      this.windows.left();
    };
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
