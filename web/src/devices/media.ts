import { computed, signal, type ReadonlySignal, type Signal } from '@preact/signals-core';
import type { LocalTracks, SendKind } from '../call/local';
import type { MediaState } from '../protocol/messages';
import { loadPreferences, savePreferences } from './preferences';

/** Why a device cannot be used; the person gets a sentence for each. */
export type DeviceTrouble = 'denied' | 'missing' | 'busy' | 'unsupported' | 'failed';
export type DeviceKind = 'microphone' | 'camera';

export interface DeviceLists {
  microphone: MediaDeviceInfo[];
  camera: MediaDeviceInfo[];
  speaker: MediaDeviceInfo[];
}

const AUDIO: MediaTrackConstraints = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

/** What browsers offer beyond TypeScript's list; the others ignore it. */
interface ScreenOptions extends DisplayMediaStreamOptions {
  selfBrowserSurface: 'exclude';
  surfaceSwitching: 'include';
  systemAudio: 'exclude';
}

const SCREEN: ScreenOptions = {
  video: { frameRate: { ideal: 15, max: 30 } },
  audio: true,
  // Not this very page: it would show itself in itself.
  selfBrowserSurface: 'exclude',
  surfaceSwitching: 'include',
  // The sound of a tab, yes; that of the whole machine holds the others' voices, and would be their echo.
  systemAudio: 'exclude',
};

/** A headset that is connecting is back by itself within this time. */
const RETAKE_AFTER_MS = 3_000;

const NO_DEVICES: DeviceLists = { microphone: [], camera: [], speaker: [] };

/**
 * The person's microphone, camera and screen: opens, switches and closes them. A muted microphone stays open
 * (quick to unmute); a camera that is off is closed, so that its lamp goes out.
 */
export class LocalMedia implements LocalTracks {
  readonly tracks: Record<SendKind, Signal<MediaStreamTrack | null>> = {
    microphone: signal<MediaStreamTrack | null>(null),
    camera: signal<MediaStreamTrack | null>(null),
    screen: signal<MediaStreamTrack | null>(null),
    screenAudio: signal<MediaStreamTrack | null>(null),
  };
  readonly microphoneOn = signal(true);
  readonly trouble = {
    microphone: signal<DeviceTrouble | undefined>(undefined),
    camera: signal<DeviceTrouble | undefined>(undefined),
  };
  readonly devices = signal<DeviceLists>(NO_DEVICES);
  readonly chosen = {
    microphone: signal(''),
    camera: signal(''),
    speaker: signal(''),
  };
  /** The person wants the camera on, though it may still be opening or have failed. */
  readonly cameraWanted = signal(true);
  /** The system gives nothing at the moment: a telephone call, a headset that is connecting, a closed lid. */
  readonly interrupted = { microphone: signal(false), camera: signal(false) };
  /** What the person chose themselves; it is taken again when it comes back. */
  private readonly preferred: Record<DeviceKind, string>;
  private readonly retakes: Partial<Record<DeviceKind, ReturnType<typeof setTimeout>>> = {};
  readonly state: ReadonlySignal<MediaState>;
  private closed = false;

  constructor() {
    const known = loadPreferences();
    this.microphoneOn.value = known.microphoneOn;
    this.cameraWanted.value = known.cameraOn;
    this.chosen.microphone.value = known.microphone;
    this.chosen.camera.value = known.camera;
    this.chosen.speaker.value = known.speaker;
    this.preferred = { microphone: known.microphone, camera: known.camera };
    const gives = (kind: DeviceKind): boolean => this.tracks[kind].value !== null && !this.interrupted[kind].value;
    const microphone = computed(() => gives('microphone') && this.microphoneOn.value);
    const camera = computed(() => gives('camera'));
    const screen = computed(() => this.tracks.screen.value !== null);
    this.state = computed(() => ({
      microphone: microphone.value,
      camera: camera.value,
      screen: screen.value,
    }));
    navigator.mediaDevices?.addEventListener('devicechange', this.devicesChanged);
  }

  /** Asks for microphone and camera at once, so that the browser asks the person only once. */
  async open(): Promise<void> {
    if (navigator.mediaDevices === undefined) {
      this.trouble.microphone.value = this.trouble.camera.value = 'unsupported';
      return;
    }
    if (this.cameraWanted.value) {
      try {
        this.adopt(await this.capture(['microphone', 'camera']));
        await this.refresh();
        return;
      } catch (error) {
        if (troubleOf(error) === 'denied' && !(await this.deniedOnlyInPart())) {
          this.trouble.microphone.value = this.trouble.camera.value = 'denied';
          return;
        }
        // One of the two is missing, busy or refused: take what there is.
      }
      await this.openOne('camera');
    }
    await this.openOne('microphone');
    await this.refresh();
  }

  toggleMicrophone(): void {
    if (this.tracks.microphone.value === null) {
      void this.openOne('microphone').then(this.refresh);
      this.setMicrophoneOn(true);
    } else {
      this.setMicrophoneOn(!this.microphoneOn.value);
    }
  }

  /** Push to talk: on while a key is held; not remembered. */
  talk(on: boolean): void {
    const track = this.tracks.microphone.value;
    if (track === null) return;
    this.microphoneOn.value = on;
    track.enabled = on;
  }

  async toggleCamera(): Promise<void> {
    const on = this.tracks.camera.value === null;
    this.cameraWanted.value = on;
    savePreferences({ cameraOn: on });
    if (on) {
      await this.openOne('camera');
      await this.refresh();
    } else {
      this.replace('camera', null);
      this.trouble.camera.value = undefined;
    }
  }

  async choose(kind: DeviceKind | 'speaker', id: string): Promise<void> {
    this.chosen[kind].value = id;
    if (kind !== 'speaker') this.preferred[kind] = id;
    savePreferences({ [kind]: id });
    if (kind === 'microphone' || (kind === 'camera' && this.cameraWanted.value)) await this.openOne(kind);
  }

  /** Front and back of a phone, or the next of several cameras. */
  async nextCamera(): Promise<void> {
    const cameras = this.devices.value.camera;
    const at = cameras.findIndex(({ deviceId }) => deviceId === this.chosen.camera.value);
    const next = cameras[(at + 1) % cameras.length];
    if (next !== undefined) await this.choose('camera', next.deviceId);
  }

  get canShareScreen(): boolean {
    return typeof navigator.mediaDevices?.getDisplayMedia === 'function';
  }

  /** `false`: the person or the browser said no. */
  async shareScreen(): Promise<boolean> {
    try {
      const stream = await navigator.mediaDevices.getDisplayMedia(SCREEN);
      const [video] = stream.getVideoTracks();
      const [audio] = stream.getAudioTracks();
      if (this.closed || video === undefined) {
        for (const track of stream.getTracks()) track.stop();
        return false;
      }
      // Text must stay sharp; smooth motion matters less.
      video.contentHint = 'detail';
      // The browser's own "stop sharing" button.
      video.addEventListener('ended', () => this.stopScreen());
      this.replace('screen', video);
      this.replace('screenAudio', audio ?? null);
      return true;
    } catch {
      return false;
    }
  }

  stopScreen(): void {
    this.replace('screen', null);
    this.replace('screenAudio', null);
  }

  /** The person has read it. */
  acknowledgeTrouble(): void {
    this.trouble.microphone.value = this.trouble.camera.value = undefined;
  }

  /** Closes everything: all lamps go out. */
  close(): void {
    this.closed = true;
    navigator.mediaDevices?.removeEventListener('devicechange', this.devicesChanged);
    for (const timer of Object.values(this.retakes)) clearTimeout(timer);
    for (const kind of Object.keys(this.tracks) as SendKind[]) this.replace(kind, null);
  }

  private setMicrophoneOn(on: boolean): void {
    this.microphoneOn.value = on;
    savePreferences({ microphoneOn: on });
    const track = this.tracks.microphone.value;
    if (track !== null) track.enabled = on;
  }

  private async openOne(kind: DeviceKind): Promise<void> {
    if (navigator.mediaDevices === undefined) {
      this.trouble[kind].value = 'unsupported';
      return;
    }
    try {
      this.adopt(await this.capture([kind]));
    } catch (error) {
      // The old one may be the reason why the new one cannot be opened, and it is not what was asked for.
      this.replace(kind, null);
      this.trouble[kind].value = troubleOf(error);
    }
  }

  /** A remembered device that is gone must not keep anybody out: then any device will do. */
  private async capture(kinds: readonly DeviceKind[]): Promise<MediaStream> {
    const ask = (chosen: boolean): Promise<MediaStream> =>
      navigator.mediaDevices.getUserMedia({
        audio: kinds.includes('microphone') && { ...AUDIO, ...exactly(chosen ? this.chosen.microphone.value : '') },
        video: kinds.includes('camera') && { ...videoSize(), ...exactly(chosen ? this.chosen.camera.value : '') },
      });
    try {
      return await ask(true);
    } catch (error) {
      if (!(error instanceof Error) || error.name !== 'OverconstrainedError') throw error;
      return ask(false);
    }
  }

  private adopt(stream: MediaStream): void {
    for (const track of stream.getTracks()) {
      const kind = track.kind === 'audio' ? 'microphone' : 'camera';
      // The person may have turned the camera off, or left, while it was opening.
      if (this.closed || (kind === 'camera' && !this.cameraWanted.value)) {
        track.stop();
        continue;
      }
      if (kind === 'microphone') track.enabled = this.microphoneOn.value;
      track.addEventListener('ended', () => this.unplugged(kind, track));
      track.addEventListener('mute', () => this.silenced(kind, track));
      track.addEventListener('unmute', () => this.heardAgain(kind, track));
      this.trouble[kind].value = undefined;
      this.replace(kind, track);
      // Opened while the system still holds it back: then its `unmute` is waited for.
      this.interrupted[kind].value = track.muted;
    }
  }

  /** Falls back to another device when the one in use is pulled out. */
  private unplugged(kind: DeviceKind, track: MediaStreamTrack): void {
    if (this.tracks[kind].value !== track || this.closed) return;
    this.replace(kind, null);
    this.chosen[kind].value = '';
    void this.openOne(kind).then(this.refresh);
  }

  /** The system has taken the device from the page and not said for how long. */
  private silenced(kind: DeviceKind, track: MediaStreamTrack): void {
    if (this.tracks[kind].value !== track || this.closed) return;
    this.interrupted[kind].value = true;
    clearTimeout(this.retakes[kind]);
    this.retakes[kind] = setTimeout(() => void this.retake(kind), RETAKE_AFTER_MS);
  }

  private heardAgain(kind: DeviceKind, track: MediaStreamTrack): void {
    if (this.tracks[kind].value !== track) return;
    clearTimeout(this.retakes[kind]);
    this.interrupted[kind].value = false;
  }

  /** Opens an interrupted device anew, for systems that forget to give it back; the old track stays until it works. */
  async retake(kind: DeviceKind): Promise<void> {
    if (!this.interrupted[kind].value || this.closed) return;
    try {
      this.adopt(await this.capture([kind]));
      await this.refresh();
    } catch {
      // Still taken: the system's `unmute`, the next change of devices or the person's return tries again.
    }
  }

  /** Something was plugged in or out, or the person is back. */
  readonly devicesChanged = async (): Promise<void> => {
    await this.refresh();
    if (this.closed) return;
    for (const kind of ['microphone', 'camera'] as const) {
      if (kind === 'camera' && !this.cameraWanted.value) continue;
      const here = this.devices.value[kind].map(({ deviceId }) => deviceId);
      const track = this.tracks[kind].value;
      const preferred = this.preferred[kind];
      if (this.interrupted[kind].value) {
        await this.retake(kind);
      } else if (track !== null && preferred !== '' && here.includes(preferred) && track.getSettings().deviceId !== preferred) {
        this.chosen[kind].value = preferred;
        await this.openOne(kind);
      } else if (track === null && this.trouble[kind].value === 'missing' && here.length > 0) {
        await this.openOne(kind);
      }
    }
  };

  private replace(kind: SendKind, track: MediaStreamTrack | null): void {
    const old = this.tracks[kind].value;
    this.tracks[kind].value = track;
    if (track === null && (kind === 'microphone' || kind === 'camera')) this.interrupted[kind].value = false;
    if (old !== null && old !== track) old?.stop();
  }

  private readonly refresh = async (): Promise<void> => {
    const all = (await navigator.mediaDevices?.enumerateDevices().catch(() => [])) ?? [];
    // Before permission the browser names neither ids nor labels: nothing to choose from.
    const of = (kind: MediaDeviceKind): MediaDeviceInfo[] =>
      all.filter((device) => device.kind === kind && device.deviceId !== '');
    this.devices.value = {
      microphone: of('audioinput'),
      camera: of('videoinput'),
      speaker: of('audiooutput'),
    };
    for (const kind of ['microphone', 'camera'] as const) {
      const used = this.tracks[kind].value?.getSettings().deviceId;
      if (used !== undefined) this.chosen[kind].value = used;
    }
  };

  /** Browsers can refuse the camera and allow the microphone, or the other way round. */
  private async deniedOnlyInPart(): Promise<boolean> {
    try {
      const states = await Promise.all(
        (['microphone', 'camera'] as const).map((name) =>
          // Not in TypeScript's list of names.
          navigator.permissions.query({ name: name as PermissionName }),
        ),
      );
      return states.some(({ state }) => state === 'granted');
    } catch {
      return false;
    }
  }
}

function exactly(id: string): MediaTrackConstraints {
  return id === '' ? {} : { deviceId: { exact: id } };
}

/** Phones have small screens, small batteries and slow uplinks. */
function videoSize(): MediaTrackConstraints {
  const [width, height] = isPhone() ? [640, 360] : [1280, 720];
  return { width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: 30, max: 30 } };
}

function isPhone(): boolean {
  return matchMedia('(pointer: coarse)').matches && Math.min(screen.width, screen.height) < 600;
}

export function troubleOf(error: unknown): DeviceTrouble {
  switch (error instanceof Error ? error.name : '') {
    case 'NotAllowedError':
    case 'SecurityError':
      return 'denied';
    case 'NotFoundError':
    case 'OverconstrainedError':
      return 'missing';
    case 'NotReadableError':
    case 'AbortError':
      return 'busy';
    case 'TypeError':
      return 'unsupported';
    default:
      return 'failed';
  }
}
