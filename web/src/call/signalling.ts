import { parseServerMessage } from '../protocol/parse';
import type { ClientMessage, ServerMessage } from '../protocol/messages';
import { OPEN_TIMEOUT_MS, RETRY_FIRST_MS, RETRY_JITTER, RETRY_MAX_MS } from './limits';

/** Our own close code: "I come back". 1000 and 1001 mean goodbye to the server. */
const CLOSE_COMING_BACK = 4000;
const CLOSE_GOODBYE = 1000;

export interface SignallingEvents {
  opened(): void;
  received(message: ServerMessage): void;
  /** The socket is gone; another attempt is under way. */
  lost(): void;
}

export type MakeSocket = (url: string) => WebSocket;

/** A WebSocket that comes back by itself until it is closed. */
export class Signalling {
  private socket: WebSocket | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private attempts = 0;
  private closed = false;

  constructor(
    private readonly url: string,
    private readonly makeSocket: MakeSocket,
    private readonly events: SignallingEvents,
  ) {}

  get isOpen(): boolean {
    // 1 is WebSocket.OPEN; tests run without that global.
    return this.socket?.readyState === 1;
  }

  /** Opens the socket now unless one is open or opening. Also cuts a waiting time short, as when the network is back. */
  open(): void {
    if (this.closed || this.socket !== undefined) return;
    clearTimeout(this.timer);
    const socket = this.makeSocket(this.url);
    this.socket = socket;
    this.timer = setTimeout(() => this.drop(), OPEN_TIMEOUT_MS);
    socket.onopen = () => {
      clearTimeout(this.timer);
      this.events.opened();
    };
    socket.onmessage = ({ data }: MessageEvent) => {
      const message = typeof data === 'string' ? parseServerMessage(data) : undefined;
      if (message !== undefined) this.events.received(message);
    };
    socket.onclose = () => this.retryLater();
  }

  /** `false`: not sent; `opened` will come. */
  send(message: ClientMessage): boolean {
    if (!this.isOpen || this.socket === undefined) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  /** The server has answered: the next loss starts with a short wait again. */
  settled(): void {
    this.attempts = 0;
  }

  /** Gives this socket up and opens another one. `comingBack`: as who the server knows on this one. */
  drop(comingBack = true): void {
    const socket = this.detach();
    socket?.close(comingBack ? CLOSE_COMING_BACK : CLOSE_GOODBYE);
    if (socket !== undefined) this.retryLater();
  }

  /** Ends for good. */
  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
    this.detach()?.close(CLOSE_GOODBYE);
  }

  private detach(): WebSocket | undefined {
    const socket = this.socket;
    this.socket = undefined;
    if (socket !== undefined) socket.onopen = socket.onmessage = socket.onclose = null;
    return socket;
  }

  private retryLater(): void {
    this.detach();
    if (this.closed) return;
    const wait = Math.min(RETRY_FIRST_MS * 2 ** this.attempts, RETRY_MAX_MS);
    this.attempts += 1;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.open(), wait * (1 + RETRY_JITTER * (2 * Math.random() - 1)));
    this.events.lost();
  }
}
