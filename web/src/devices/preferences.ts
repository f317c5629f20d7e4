import { recall, remember } from '../storage';

/** The person's choices, remembered in this browser. */
export interface Preferences {
  name: string;
  microphone: string;
  camera: string;
  speaker: string;
  microphoneOn: boolean;
  cameraOn: boolean;
  /** Tones when somebody comes or goes, and the like. */
  sounds: boolean;
  /** Sentences when somebody comes or goes. */
  notices: boolean;
  /** Single keys do something in the room. */
  shortcuts: boolean;
}

const DEFAULTS: Preferences = {
  name: '',
  microphone: '',
  camera: '',
  speaker: '',
  microphoneOn: true,
  cameraOn: true,
  sounds: true,
  notices: true,
  shortcuts: true,
};

/** Takes over what fits; anything else keeps its default. */
export function parsePreferences(value: unknown): Preferences {
  const result: Preferences = { ...DEFAULTS };
  if (typeof value !== 'object' || value === null) return result;
  const source = value as Record<string, unknown>;
  for (const key of ['name', 'microphone', 'camera', 'speaker'] as const) {
    const found = source[key];
    if (typeof found === 'string') result[key] = found;
  }
  for (const key of ['microphoneOn', 'cameraOn', 'sounds', 'notices', 'shortcuts'] as const) {
    const found = source[key];
    if (typeof found === 'boolean') result[key] = found;
  }
  return result;
}

export function loadPreferences(): Preferences {
  return parsePreferences(recall('preferences'));
}

export function savePreferences(change: Partial<Preferences>): void {
  remember('preferences', { ...loadPreferences(), ...change });
}
