import type { Call } from '../call/call';

/** Read-only view of the running call for tests and support: numbers, no names, no secrets. */
export interface InspectedCall {
  stats(): Promise<unknown[]>;
  connection(): { number: number; state: string } | undefined;
}

declare global {
  interface Window {
    plauschCall?: Readonly<InspectedCall>;
  }
}

export function exposeCall(call: Call): void {
  window.plauschCall = Object.freeze({
    stats: async () => {
      const found: unknown[] = [];
      (await call.stats())?.forEach((entry: unknown) => found.push(entry));
      return found;
    },
    connection: () => call.connection,
  });
}
