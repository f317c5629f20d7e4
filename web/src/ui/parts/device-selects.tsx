import type { JSX } from 'preact';
import type { LocalMedia } from '../../devices/media';
import { words } from '../../i18n/language';

const KINDS = ['microphone', 'camera', 'speaker'] as const;

/** A choice of each kind of device; kinds the browser offers nothing of are left out. */
export function DeviceSelects({ media }: { media: LocalMedia }): JSX.Element {
  const t = words.value;
  const devices = media.devices.value;
  return (
    <div class="device-selects">
      {KINDS.filter((kind) => devices[kind].length > 0).map((kind) => (
        <label key={kind} class="field">
          <span>{t.devices[kind]}</span>
          <select
            value={media.chosen[kind].value}
            onChange={(event) => void media.choose(kind, event.currentTarget.value)}
          >
            {!devices[kind].some(({ deviceId }) => deviceId === media.chosen[kind].value) && (
              <option value={media.chosen[kind].value}>{t.devices.systemDefault}</option>
            )}
            {devices[kind].map(({ deviceId, label }, index) => (
              <option key={deviceId} value={deviceId}>
                {label === '' ? `${t.devices[kind]} ${index + 1}` : label}
              </option>
            ))}
          </select>
        </label>
      ))}
    </div>
  );
}
