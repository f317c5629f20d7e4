import { readdirSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { parseClientMessage, parseServerMessage } from './parse';

const folder = fileURLToPath(new URL('../../../control/signalling/fixtures/', import.meta.url));
const CLIENT_TYPES = ['join', 'ice-servers', 'offer', 'media', 'admit', 'reject', 'leave'];
const SERVER_TYPES = [
  'welcome',
  'waiting',
  'knocked',
  'knock-ended',
  'ice-servers',
  'answer',
  'participant-joined',
  'participant-changed',
  'participant-left',
  'slots',
  'speakers',
  'media-lost',
  'error',
];

describe('the fixtures that Rust parses too', () => {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.json'));
  const seen = new Set<string>();

  test.each(files)('%s', (file) => {
    const json = readFileSync(folder + file, 'utf8');
    const value = JSON.parse(json) as { type: string };
    // Folders hold what earlier releases said.
    const client = basename(file).startsWith('client-');
    seen.add(`${client ? 'client' : 'server'} ${value.type}`);
    const parsed = client ? parseClientMessage(json) : parseServerMessage(json);
    // Fixtures hold every field in full, so nothing may be lost or added.
    expect(parsed).toEqual(value);
  });

  test('there is one for each message', () => {
    const all = [...CLIENT_TYPES.map((type) => `client ${type}`), ...SERVER_TYPES.map((type) => `server ${type}`)];
    expect([...seen].sort()).toEqual(all.sort());
  });
});

describe('what is refused or ignored', () => {
  test.each([
    '',
    '{',
    'null',
    '[]',
    '"welcome"',
    '{}',
    '{"type":1}',
    '{"type":"unheard-of"}',
    '{"type":"toString"}',
    '{"type":"__proto__"}',
    '{"type":"answer","answer":{"id":-1,"sdp":""}}',
    '{"type":"answer","answer":{"id":1.5,"sdp":""}}',
    '{"type":"answer"}',
    '{"type":"error","code":7,"fatal":true}',
    '{"type":"slots","slots":[{"slot":"1","participant":"a","source":"person"}]}',
    '{"type":"participant-left","participant":{}}',
    '{"type":"ice-servers","ice":{"servers":[{"urls":"turn:a","username":"u","credential":"c"}],"lifetimeSeconds":1}}',
    '{"type":"ice-servers","ice":{"servers":[]}}',
    '{"type":"ice-servers","ice":{"servers":[{"urls":["turn:a"],"username":"u"}],"lifetimeSeconds":1}}',
  ])('%s', (json) => {
    expect(parseServerMessage(json)).toBeUndefined();
  });

  test('unknown fields are ignored, missing media fields are off', () => {
    const parsed = parseServerMessage(
      '{"type":"participant-joined","later":1,"participant":{"id":"a","name":"A","connected":true,"media":{"camera":true}}}',
    );
    expect(parsed).toEqual({
      type: 'participant-joined',
      participant: {
        id: 'a',
        name: 'A',
        connected: true,
        media: { microphone: false, camera: true, screen: false },
      },
    });
  });

  test('a reason that a later release made is a refusal all the same', () => {
    const parsed = parseServerMessage('{"type":"error","code":"made-up","fatal":true}');
    expect(parsed).toEqual({ type: 'error', code: 'unknown', fatal: true });
  });

  test('a slot that shows what a later release made is left out, the others stay', () => {
    const known = { slot: 2, participant: 'a', source: 'person' };
    const parsed = parseServerMessage(JSON.stringify({ type: 'slots', slots: [{ ...known, slot: 1, source: 'window' }, known] }));
    expect(parsed).toEqual({ type: 'slots', slots: [known] });
  });
});
