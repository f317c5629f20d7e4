import { expect, test } from 'vitest';
import { VoiceJudge, type Verdict } from './voice';

function judge(looks: number, level: number, rms: number, on: boolean, by = new VoiceJudge()): Verdict {
  let verdict: Verdict = 'fine';
  for (let n = 0; n < looks; n += 1) verdict = by.look(level, rms, on);
  return verdict;
}

test('who speaks while muted is told so; a cough or room noise is no speech', () => {
  expect(judge(10, 0.7, 0.1, false)).toBe('muted-speech');
  expect(judge(3, 0.7, 0.1, false)).toBe('fine');
  expect(judge(600, 0.2, 0.001, false)).toBe('fine');
});

test('it is taken back when the microphone is on', () => {
  const same = new VoiceJudge();
  expect(judge(10, 0.7, 0.1, false, same)).toBe('muted-speech');
  expect(judge(1, 0.7, 0.1, true, same)).toBe('fine');
});

test('a microphone that gives nothing at all is said to be dead, one in a quiet room is not', () => {
  const same = new VoiceJudge();
  expect(judge(100, 0, 0, true, same)).toBe('dead');
  expect(judge(1, 0, 0.0001, true, same)).toBe('fine');
  expect(judge(600, 0, 0.0001, true)).toBe('fine');
  expect(judge(600, 0, 0, false)).toBe('fine');
});
