import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { LocalMedia, troubleOf } from './media';

class FakeTrack extends EventTarget {
  enabled = true;
  contentHint = '';
  muted = false;
  stopped = false;
  constructor(
    readonly kind: 'audio' | 'video',
    readonly deviceId: string,
  ) {
    super();
  }
  stop(): void {
    this.stopped = true;
  }
  getSettings(): { deviceId: string } {
    return { deviceId: this.deviceId };
  }
  unplug(): void {
    this.dispatchEvent(new Event('ended'));
  }
  /** As the system does in a telephone call. */
  mute(muted: boolean): void {
    this.muted = muted;
    this.dispatchEvent(new Event(muted ? 'mute' : 'unmute'));
  }
}

interface Wanted {
  audio: false | { deviceId?: { exact: string } };
  video: false | { deviceId?: { exact: string }; width: { ideal: number } };
}

/** What is plugged in, and what is in the way. */
let plugged: { audio: string[]; video: string[] };
let refusal: { audio?: string; video?: string };
let given: FakeTrack[];
let asked: Wanted[];
let stored: Map<string, string>;

function failure(name: string): Error {
  return Object.assign(new Error(name), { name });
}

function stream(tracks: FakeTrack[]): unknown {
  return {
    getTracks: () => tracks,
    getAudioTracks: () => tracks.filter(({ kind }) => kind === 'audio'),
    getVideoTracks: () => tracks.filter(({ kind }) => kind === 'video'),
  };
}

const mediaDevices = {
  async getUserMedia(wanted: Wanted) {
    asked.push(wanted);
    const kinds = (['audio', 'video'] as const).filter((kind) => wanted[kind] !== false);
    for (const kind of kinds) {
      const refused = refusal[kind];
      if (refused !== undefined) throw failure(refused);
      if (plugged[kind].length === 0) throw failure('NotFoundError');
    }
    const tracks = kinds.map((kind) => {
      const options = wanted[kind];
      const exact = options === false ? undefined : options.deviceId?.exact;
      if (exact !== undefined && !plugged[kind].includes(exact)) throw failure('OverconstrainedError');
      return new FakeTrack(kind, exact ?? plugged[kind][0] ?? '');
    });
    given.push(...tracks);
    return stream(tracks);
  },
  async getDisplayMedia() {
    const tracks = [new FakeTrack('video', 'screen'), new FakeTrack('audio', 'tab')];
    given.push(...tracks);
    return stream(tracks);
  },
  async enumerateDevices() {
    return [
      ...plugged.audio.map((deviceId) => ({ kind: 'audioinput', deviceId, label: deviceId })),
      ...plugged.video.map((deviceId) => ({ kind: 'videoinput', deviceId, label: deviceId })),
      { kind: 'audiooutput', deviceId: '', label: '' },
    ];
  },
  addEventListener: () => undefined,
  removeEventListener: () => undefined,
};

beforeEach(() => {
  plugged = { audio: ['mic'], video: ['cam'] };
  refusal = {};
  given = [];
  asked = [];
  stored = new Map();
  vi.stubGlobal('localStorage', {
    getItem: (key: string) => stored.get(key) ?? null,
    setItem: (key: string, value: string) => stored.set(key, value),
    removeItem: (key: string) => stored.delete(key),
  });
  vi.stubGlobal('matchMedia', () => ({ matches: false }));
  vi.stubGlobal('screen', { width: 1920, height: 1080 });
  vi.stubGlobal('navigator', { mediaDevices, permissions: { query: async () => ({ state: 'prompt' }) } });
});

afterEach(() => vi.unstubAllGlobals());

async function opened(): Promise<LocalMedia> {
  const media = new LocalMedia();
  await media.open();
  return media;
}

describe('opening', () => {
  test('asks once for both', async () => {
    const media = await opened();
    expect(asked).toHaveLength(1);
    expect(media.state.value).toEqual({ microphone: true, camera: true, screen: false });
    expect(media.devices.value.microphone.map(({ deviceId }) => deviceId)).toEqual(['mic']);
    expect(media.devices.value.speaker).toEqual([]);
    expect(media.chosen.camera.value).toBe('cam');
  });

  test('phones send smaller pictures', async () => {
    vi.stubGlobal('matchMedia', () => ({ matches: true }));
    vi.stubGlobal('screen', { width: 390, height: 844 });
    await opened();
    expect(asked[0]?.video).toMatchObject({ width: { ideal: 640 } });
  });

  test('without a camera the microphone is used, and the person told', async () => {
    plugged.video = [];
    const media = await opened();
    expect(media.state.value).toEqual({ microphone: true, camera: false, screen: false });
    expect(media.trouble.camera.value).toBe('missing');
    expect(media.trouble.microphone.value).toBeUndefined();
  });

  test('a camera that another program holds keeps nobody from speaking', async () => {
    refusal.video = 'NotReadableError';
    const media = await opened();
    expect(media.state.value.microphone).toBe(true);
    expect(media.trouble.camera.value).toBe('busy');
  });

  test('a refusal is not followed by another question', async () => {
    refusal = { audio: 'NotAllowedError', video: 'NotAllowedError' };
    const media = await opened();
    expect(asked).toHaveLength(1);
    expect(media.trouble.camera.value).toBe('denied');
    expect(media.trouble.microphone.value).toBe('denied');
    expect(media.state.value).toEqual({ microphone: false, camera: false, screen: false });
  });

  test('where only the camera is refused, the microphone is used', async () => {
    refusal.video = 'NotAllowedError';
    vi.stubGlobal('navigator', {
      mediaDevices,
      permissions: { query: async ({ name }: { name: string }) => ({ state: name === 'camera' ? 'denied' : 'granted' }) },
    });
    const media = await opened();
    expect(media.state.value.microphone).toBe(true);
    expect(media.trouble.camera.value).toBe('denied');
  });

  test('on a page without https there is a sentence', async () => {
    vi.stubGlobal('navigator', {});
    const media = await opened();
    expect(media.trouble.camera.value).toBe('unsupported');
    media.toggleMicrophone();
    await media.toggleCamera();
    expect(media.canShareScreen).toBe(false);
    media.close();
  });

  test('a remembered device that is gone is replaced by any other', async () => {
    stored.set('plausch.preferences', JSON.stringify({ camera: 'old cam', microphone: 'mic' }));
    const media = await opened();
    expect(asked.map(({ video }) => video !== false && video.deviceId?.exact)).toEqual(['old cam', undefined]);
    expect(media.chosen.camera.value).toBe('cam');
  });

  test('rubbish in the browser store is ignored', async () => {
    stored.set('plausch.preferences', '{"cameraOn":"yes","microphone":7');
    const media = await opened();
    expect(media.state.value.camera).toBe(true);
  });
});

describe('switching', () => {
  test('a muted microphone stays open', async () => {
    const media = await opened();
    media.toggleMicrophone();
    const [microphone] = given;
    expect(microphone?.enabled).toBe(false);
    expect(microphone?.stopped).toBe(false);
    expect(media.state.value.microphone).toBe(false);
    media.toggleMicrophone();
    expect(microphone?.enabled).toBe(true);
  });

  test('a camera that is off is closed, and opened anew', async () => {
    const media = await opened();
    const first = given.find(({ kind }) => kind === 'video');
    await media.toggleCamera();
    expect(first?.stopped).toBe(true);
    expect(media.tracks.camera.value).toBeNull();
    await media.toggleCamera();
    expect(media.tracks.camera.value).not.toBe(first);
    expect(media.state.value.camera).toBe(true);
  });

  test('both states are remembered for the next time', async () => {
    const before = await opened();
    before.toggleMicrophone();
    await before.toggleCamera();
    given = [];
    const media = await opened();
    expect(given.map(({ kind, enabled }) => [kind, enabled])).toEqual([['audio', false]]);
    expect(media.state.value).toEqual({ microphone: false, camera: false, screen: false });
  });

  test('another microphone is as muted as the one before', async () => {
    plugged.audio = ['mic', 'headset'];
    const media = await opened();
    media.toggleMicrophone();
    await media.choose('microphone', 'headset');
    expect(media.tracks.microphone.value?.getSettings().deviceId).toBe('headset');
    expect(media.tracks.microphone.value?.enabled).toBe(false);
    expect(given[0]?.stopped).toBe(true);
  });

  test('a choice made while the camera is off does not turn it on', async () => {
    plugged.video = ['cam', 'other'];
    const media = await opened();
    await media.toggleCamera();
    await media.choose('camera', 'other');
    expect(media.state.value.camera).toBe(false);
  });

  test('a microphone that is pulled out is replaced by another one', async () => {
    plugged.audio = ['headset', 'mic'];
    const media = await opened();
    plugged.audio = ['mic'];
    given[0]?.unplug();
    await vi.waitFor(() => expect(media.tracks.microphone.value?.getSettings().deviceId).toBe('mic'));
  });

  test('turning the camera off while it opens leaves it off', async () => {
    const media = new LocalMedia();
    const opening = media.open();
    await media.toggleCamera().then(() => media.toggleCamera());
    await opening;
    expect(given.filter(({ kind, stopped }) => kind === 'video' && !stopped).length).toBeLessThanOrEqual(1);
  });

  test('closing turns every lamp off, also of what is still opening', async () => {
    const media = await opened();
    await media.shareScreen();
    const late = media.choose('camera', 'cam');
    media.close();
    await late;
    expect(given.every(({ stopped }) => stopped)).toBe(true);
  });
});

describe('the screen', () => {
  test('is sent sharp, with sound, until either side ends it', async () => {
    const media = await opened();
    expect(await media.shareScreen()).toBe(true);
    expect(media.tracks.screen.value?.contentHint).toBe('detail');
    expect(media.tracks.screenAudio.value).not.toBeNull();
    given.find(({ deviceId }) => deviceId === 'screen')?.unplug();
    expect(media.state.value.screen).toBe(false);
    expect(media.tracks.screenAudio.value).toBeNull();
    expect(given.find(({ deviceId }) => deviceId === 'tab')?.stopped).toBe(true);
  });
});

test.each([
  ['NotAllowedError', 'denied'],
  ['NotFoundError', 'missing'],
  ['NotReadableError', 'busy'],
  ['AbortError', 'busy'],
  ['TypeError', 'unsupported'],
  ['Whatever', 'failed'],
])('%s means %s', (name, trouble) => {
  expect(troubleOf(failure(name))).toBe(trouble);
});

describe('what the system takes away', () => {
  const settle = (): Promise<void> => new Promise((done) => setTimeout(done));

  test('an interrupted microphone is said to be silent until it is given back', async () => {
    const media = await opened();
    const [microphone] = given;
    microphone?.mute(true);
    expect(media.interrupted.microphone.value).toBe(true);
    expect(media.state.value).toEqual({ microphone: false, camera: true, screen: false });
    microphone?.mute(false);
    expect(media.interrupted.microphone.value).toBe(false);
    expect(media.state.value.microphone).toBe(true);
    media.close();
  });

  test('a device that stays away is taken again, and the old track ends only then', async () => {
    vi.useFakeTimers();
    try {
      const media = await opened();
      const [microphone] = given;
      refusal = { audio: 'NotReadableError' };
      microphone?.mute(true);
      await vi.advanceTimersByTimeAsync(10_000);
      expect(media.interrupted.microphone.value).toBe(true);
      expect(microphone?.stopped).toBe(false);
      refusal = {};
      await media.devicesChanged();
      expect(media.interrupted.microphone.value).toBe(false);
      expect(microphone?.stopped).toBe(true);
      expect(media.state.value.microphone).toBe(true);
      media.close();
    } finally {
      vi.useRealTimers();
    }
  });

  test('the chosen device is taken again when it comes back', async () => {
    plugged.audio = ['mic', 'headset'];
    const media = await opened();
    await media.choose('microphone', 'headset');
    plugged.audio = ['mic'];
    given.at(-1)?.unplug();
    await settle();
    expect(media.chosen.microphone.value).toBe('mic');
    plugged.audio = ['mic', 'headset'];
    await media.devicesChanged();
    expect(media.chosen.microphone.value).toBe('headset');
    media.close();
  });

  test('a microphone that is plugged in only now is used', async () => {
    plugged.audio = [];
    const media = await opened();
    expect(media.trouble.microphone.value).toBe('missing');
    plugged.audio = ['mic'];
    await media.devicesChanged();
    expect(media.trouble.microphone.value).toBeUndefined();
    expect(media.state.value.microphone).toBe(true);
    media.close();
  });

  test('a camera that was turned off stays off when devices change', async () => {
    const media = await opened();
    await media.toggleCamera();
    plugged.video = ['cam', 'other'];
    await media.devicesChanged();
    expect(media.state.value.camera).toBe(false);
    media.close();
  });
});
