/** Where the server is to be found when it cannot be reached directly: TURN servers with credentials that end. */

import type { IceServers } from '../protocol/messages';
import { ICE_SERVERS_TIMEOUT_MS } from './limits';

/** Not known yet, or without TURN. */
const NONE: IceServers = { servers: [], lifetimeSeconds: 0 };

/** What the server said last, renewed before it ends. */
export class IceSource {
  private known: IceServers | undefined;
  private waiting: ((ice: IceServers) => void)[] = [];
  private renewal: ReturnType<typeof setTimeout> | undefined;
  private closed = false;

  /** `ask` sends the question; `false`: there is no socket, and `opened` will come. */
  constructor(private readonly ask: () => boolean) {}

  /** What is known; the first time, what the server says, for as long as that may take. Never fails. */
  get(): Promise<IceServers> {
    return this.known === undefined ? this.fresh() : Promise.resolve(this.known);
  }

  /** New credentials, as for an ICE restart; those at hand if the server does not answer soon. */
  fresh(): Promise<IceServers> {
    if (this.closed) return Promise.resolve(NONE);
    // Without a socket there is nothing to wait for, except the first time, when the socket is just being opened.
    if (!this.ask() && this.known !== undefined) return Promise.resolve(this.known);
    return new Promise((resolve) => {
      const timer = setTimeout(() => done(this.known ?? NONE), ICE_SERVERS_TIMEOUT_MS);
      const done = (ice: IceServers): void => {
        clearTimeout(timer);
        this.waiting = this.waiting.filter((other) => other !== done);
        resolve(ice);
      };
      this.waiting.push(done);
    });
  }

  /** There is a socket: what nobody could be asked before is asked now. */
  opened(): void {
    if (this.waiting.length > 0) this.ask();
  }

  received(ice: IceServers): void {
    this.known = ice;
    for (const done of [...this.waiting]) done(ice);
    clearTimeout(this.renewal);
    // Half of their life is left for a time without a socket.
    this.renewal = setTimeout(() => this.ask(), (ice.lifetimeSeconds * 1000) / 2);
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.renewal);
    for (const done of [...this.waiting]) done(this.known ?? NONE);
  }
}
