import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { IceSource } from './ice';
import { ICE_SERVERS_TIMEOUT_MS } from './limits';

const HOUR_MS = 3_600_000;

function servers(username: string): Parameters<IceSource['received']>[0] {
  return { servers: [{ urls: ['turn:a:3478?transport=udp'], username, credential: 'c' }], lifetimeSeconds: 43_200 };
}

let online: boolean;
let asked: number;
let source: IceSource;

beforeEach(() => {
  vi.useFakeTimers();
  online = true;
  asked = 0;
  source = new IceSource(() => {
    if (online) asked += 1;
    return online;
  });
});

afterEach(() => {
  source.close();
  vi.useRealTimers();
});

test('the first who asks waits for the answer, later ones do not', async () => {
  const first = source.get();
  const second = source.get();
  source.received(servers('one'));
  expect(await first).toEqual(servers('one'));
  expect(await second).toEqual(servers('one'));
  expect(await source.get()).toEqual(servers('one'));
  expect(asked).toBe(2);
});

test('before there is a socket the question waits for it', async () => {
  online = false;
  const first = source.get();
  online = true;
  source.opened();
  expect(asked).toBe(1);
  source.received(servers('one'));
  expect(await first).toEqual(servers('one'));
  source.opened();
  expect(asked).toBe(1);
});

test('a server that says nothing holds nobody up for long', async () => {
  const first = source.get();
  await vi.advanceTimersByTimeAsync(ICE_SERVERS_TIMEOUT_MS);
  expect((await first).servers).toEqual([]);
  // An answer that is late is good for the next one.
  source.received(servers('late'));
  expect(await source.get()).toEqual(servers('late'));
});

test('fresh ones are waited for, and the old ones serve without an answer or a socket', async () => {
  source.received(servers('old'));
  const fresh = source.fresh();
  source.received(servers('new'));
  expect(await fresh).toEqual(servers('new'));
  const unanswered = source.fresh();
  await vi.advanceTimersByTimeAsync(ICE_SERVERS_TIMEOUT_MS);
  expect(await unanswered).toEqual(servers('new'));
  online = false;
  expect(await source.fresh()).toEqual(servers('new'));
});

test('they are renewed when half of their time is over', async () => {
  source.received(servers('one'));
  await vi.advanceTimersByTimeAsync(6 * HOUR_MS - 1);
  expect(asked).toBe(0);
  await vi.advanceTimersByTimeAsync(1);
  expect(asked).toBe(1);
  source.received(servers('two'));
  await vi.advanceTimersByTimeAsync(6 * HOUR_MS);
  expect(asked).toBe(2);
});

test('at the end nobody is left waiting, and nothing is asked any more', async () => {
  const first = source.get();
  source.close();
  expect((await first).servers).toEqual([]);
  await vi.advanceTimersByTimeAsync(24 * HOUR_MS);
  expect(asked).toBe(1);
});
