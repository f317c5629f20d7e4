/**
 * Which ways to this server the person's network leaves open, tried before the call: a relayed address that the server
 * gives over UDP, TCP or TLS proves that packets come through that way in both directions.
 */

import type { IceServers } from '../protocol/messages';
import { PATH_TIMEOUT_MS } from './limits';

/** `direct`: UDP at the port at which media arrives. The others are detours. */
export type Path = 'direct' | 'udp' | 'tcp' | 'tls';

/**
 * What a person is told. `blocked`: the network lets pages through and calls not. `unreachable`: no way was found, and the
 * server has none on the port of pages, so that nobody can say whose fault it is.
 */
export type Verdict = 'open' | 'detour' | 'blocked' | 'unreachable';

export type MakeTestConnection = (configuration: RTCConfiguration) => RTCPeerConnection;

/** What is known so far; a path that is missing was not tried, or its trial goes on. */
export type Paths = Partial<Record<Path, boolean>>;

/**
 * Tries all paths at once, each for `PATH_TIMEOUT_MS` at most. `changed` hears of each result; the last call comes
 * before the promise ends. Stops when `stop` is aborted.
 */
export async function tryPaths(
  ice: IceServers,
  make: MakeTestConnection,
  stop: AbortSignal,
  changed: (paths: Paths) => void,
): Promise<Paths> {
  const paths: Paths = {};
  await Promise.all(
    addresses(ice).map(async ([path, server]) => {
      const works = await gathers(make, server, stop);
      if (stop.aborted) return;
      paths[path] = works;
      changed({ ...paths });
    }),
  );
  return paths;
}

/** `undefined`: nothing can be said, or not yet. */
export function verdict(paths: Paths, complete: boolean, ice: IceServers): Verdict | undefined {
  if (paths.direct === true) return 'open';
  if (!complete && paths.direct === undefined) return undefined;
  if (paths.udp === true || paths.tcp === true || paths.tls === true) return 'detour';
  if (!complete || Object.keys(paths).length === 0) return undefined;
  // A network that lets pages through and nothing on their port is strict. Without that port it may be the server.
  return ice.servers.some(({ urls }) => urls.some(isOnPagePort)) ? 'blocked' : 'unreachable';
}

/** TURN over TLS where HTTPS has its port, which every network leaves open that has pages at all. */
function isOnPagePort(url: string): boolean {
  return /^turns:.*:443(?:\?|$)/u.test(url);
}

function addresses({ servers, direct }: IceServers): [Path, RTCIceServer][] {
  const found = new Map<Path, RTCIceServer>();
  for (const { urls, ...credentials } of servers) {
    if (direct !== undefined) found.set('direct', { urls: direct, ...credentials });
    for (const url of urls) {
      const path = pathOf(url);
      if (!found.has(path)) found.set(path, { urls: url, ...credentials });
    }
  }
  return [...found];
}

/** RFC 7065. */
function pathOf(url: string): Path {
  if (url.startsWith('turns:')) return 'tls';
  return url.endsWith('?transport=tcp') ? 'tcp' : 'udp';
}

/** Whether the browser gets a relayed address of this server. */
async function gathers(make: MakeTestConnection, server: RTCIceServer, stop: AbortSignal): Promise<boolean> {
  let pc: RTCPeerConnection;
  try {
    pc = make({ iceServers: [server], iceTransportPolicy: 'relay' });
  } catch {
    return false;
  }
  let timer: ReturnType<typeof setTimeout> | undefined;
  const result = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), PATH_TIMEOUT_MS);
    stop.addEventListener('abort', () => resolve(false));
    pc.onicecandidate = ({ candidate }) => {
      if (candidate?.candidate.includes(' typ relay') === true) resolve(true);
    };
    pc.onicegatheringstatechange = () => {
      if (pc.iceGatheringState === 'complete') resolve(false);
    };
  });
  try {
    pc.createDataChannel('');
    await pc.setLocalDescription(await pc.createOffer());
    return await result;
  } catch {
    return false;
  } finally {
    clearTimeout(timer);
    pc.onicecandidate = pc.onicegatheringstatechange = null;
    pc.close();
  }
}
