import { describe, expect, test } from 'vitest';
import { ERROR_CODES } from '../protocol/messages';
import { catalog, isLanguage, LANGUAGES, preferredLanguage } from './language';

test.each([
  [['de-AT', 'en'], 'de'],
  [['en-GB'], 'en'],
  [['fr', 'DE'], 'de'],
  [['fr-FR'], 'en'],
  [[], 'en'],
  [['constructor'], 'en'],
])('%j: %s', (tags, expected) => {
  expect(preferredLanguage(tags)).toBe(expected);
});

test('only what we have is a language', () => {
  expect(isLanguage('de')).toBe(true);
  expect(isLanguage('toString')).toBe(false);
  expect(isLanguage(undefined)).toBe(false);
});

describe.each(LANGUAGES)('%s', (name) => {
  const words = catalog(name);

  test('has a sentence for every refusal', () => {
    expect(Object.keys(words.errors).sort()).toEqual([...ERROR_CODES, 'unknown'].sort());
  });

  // WCAG 2.5.3: who speaks to the computer says what is written on the button.
  test.each([
    [words.room.mute, words.room.muteShort],
    [words.room.unmute, words.room.unmuteShort],
    [words.room.cameraOn, words.room.cameraOnShort],
    [words.room.cameraOff, words.room.cameraOffShort],
    [words.room.share, words.room.shareShort],
    [words.room.stopSharing, words.room.stopSharingShort],
  ])('the name "%s" holds the text "%s"', (full, short) => {
    expect(full.toLowerCase()).toContain(short.toLowerCase());
  });
});

test('the English names that others rely on', () => {
  const en = catalog('en');
  expect([
    en.start.roomName, en.start.go, en.entry.yourName, en.entry.join, en.room.mute, en.room.unmute, en.room.cameraOff, en.room.cameraOn,
    en.room.share, en.room.stopSharing, en.room.leave, en.room.participants, en.room.invite, en.farewell.rejoin, en.farewell.startPage,
  ]).toEqual([
    'Room name', "Let's go", 'Your name', 'Join conference', 'Mute microphone', 'Unmute microphone', 'Turn camera off',
    'Turn camera on', 'Share screen', 'Stop sharing', 'Leave', 'Participants', 'Invite', 'Rejoin', 'Start page',
  ]);
});
