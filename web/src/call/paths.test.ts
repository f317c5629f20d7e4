import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { IceServers } from '../protocol/messages';
import { PATH_TIMEOUT_MS } from './limits';
import { tryPaths, verdict, type MakeTestConnection, type Path, type Paths } from './paths';

const ICE: IceServers = {
  servers: [
    {
      urls: ['turn:a:3478?transport=udp', 'turn:a:3478?transport=tcp', 'turns:a:443?transport=tcp'],
      username: 'u',
      credential: 'c',
    },
  ],
  direct: 'turn:a:7882?transport=udp',
  lifetimeSeconds: 43_200,
};
const URLS: Record<string, Path> = {
  'turn:a:7882?transport=udp': 'direct',
  'turn:a:3478?transport=udp': 'udp',
  'turn:a:3478?transport=tcp': 'tcp',
  'turns:a:443?transport=tcp': 'tls',
};

/** A browser that gathers nothing by itself. */
class FakeConnection {
  iceGatheringState = 'gathering';
  closed = false;
  onicecandidate: ((event: { candidate: { candidate: string } | null }) => void) | null = null;
  onicegatheringstatechange: (() => void) | null = null;
  constructor(readonly configuration: RTCConfiguration) {}
  createDataChannel(): void {}
  async createOffer(): Promise<object> {
    return {};
  }
  async setLocalDescription(): Promise<void> {}
  close(): void {
    this.closed = true;
  }
  relay(): void {
    this.onicecandidate?.({ candidate: { candidate: 'candidate:1 1 udp 1 192.0.2.1 50000 typ relay raddr 0.0.0.0' } });
  }
  end(): void {
    this.iceGatheringState = 'complete';
    this.onicecandidate?.({ candidate: null });
    this.onicegatheringstatechange?.();
  }
}

let made: Map<Path, FakeConnection>;
let stop: AbortController;
let heard: Paths[];

const make: MakeTestConnection = (configuration) => {
  const [server] = configuration.iceServers ?? [];
  expect(configuration.iceTransportPolicy).toBe('relay');
  expect(server).toMatchObject({ username: 'u', credential: 'c' });
  const connection = new FakeConnection(configuration);
  made.set(URLS[String(server?.urls)] as Path, connection);
  return connection as unknown as RTCPeerConnection;
};

const start = (ice = ICE): Promise<Paths> => tryPaths(ice, make, stop.signal, (paths) => heard.push(paths));

beforeEach(() => {
  vi.useFakeTimers();
  made = new Map();
  stop = new AbortController();
  heard = [];
});

afterEach(() => {
  expect([...made.values()].every(({ closed }) => closed)).toBe(true);
  vi.useRealTimers();
});

test('every path is tried by itself, and a relayed address proves it', async () => {
  const trial = start();
  await vi.advanceTimersByTimeAsync(0);
  expect([...made.keys()]).toEqual(['direct', 'udp', 'tcp', 'tls']);
  made.get('tls')?.relay();
  made.get('udp')?.end();
  await vi.advanceTimersByTimeAsync(0);
  expect(heard.at(-1)).toEqual({ tls: true, udp: false });
  made.get('direct')?.onicecandidate?.({ candidate: { candidate: 'candidate:1 1 udp 1 192.0.2.9 9 typ host' } });
  await vi.advanceTimersByTimeAsync(PATH_TIMEOUT_MS);
  expect(await trial).toEqual({ direct: false, udp: false, tcp: false, tls: true });
});

test('it stops when the person joins', async () => {
  const trial = start();
  await vi.advanceTimersByTimeAsync(0);
  stop.abort();
  expect(await trial).toEqual({});
  expect(heard).toEqual([]);
});

test('without servers there is nothing to try', async () => {
  expect(await start({ servers: [], lifetimeSeconds: 1 })).toEqual({});
  expect(made.size).toBe(0);
});

test('a browser that refuses an address lets nobody wait', async () => {
  const refusing: MakeTestConnection = () => {
    throw new SyntaxError('not an address');
  };
  expect(await tryPaths(ICE, refusing, stop.signal, () => undefined)).toEqual({
    direct: false,
    udp: false,
    tcp: false,
    tls: false,
  });
});

/** A server with TURN on the port of its pages. */
const ON_443: IceServers = {
  servers: [{ urls: ['turn:a:3478', 'turns:a:443?transport=tcp'], username: 'u', credential: 'c' }],
  lifetimeSeconds: 1,
};

test('nobody is told that their network is strict when the server may lack a way', () => {
  const nothing: Paths = { direct: false, udp: false, tcp: false, tls: false };
  const elsewhere = { ...ON_443, servers: [{ urls: ['turns:a:5349?transport=tcp'], username: 'u', credential: 'c' }] };
  expect(verdict(nothing, true, ON_443)).toBe('blocked');
  expect(verdict(nothing, true, elsewhere)).toBe('unreachable');
  expect(verdict(nothing, false, elsewhere)).toBeUndefined();
});

describe('the verdict', () => {
  test.each<[Paths, boolean, ReturnType<typeof verdict>]>([
    [{}, false, undefined],
    [{}, true, undefined],
    [{ direct: true }, false, 'open'],
    [{ direct: true, tcp: false, tls: false, udp: false }, true, 'open'],
    // The direct way may yet be found.
    [{ tls: true }, false, undefined],
    [{ tls: true, direct: false }, false, 'detour'],
    [{ direct: false, udp: true, tcp: false, tls: false }, true, 'detour'],
    [{ direct: false, udp: false }, false, undefined],
    [{ direct: false, udp: false, tcp: false, tls: false }, true, 'blocked'],
    // A server without a port for tests.
    [{ udp: true, tcp: false }, true, 'detour'],
  ])('%j, complete %s: %s', (paths, complete, expected) => {
    expect(verdict(paths, complete, ON_443)).toBe(expected);
  });
});
