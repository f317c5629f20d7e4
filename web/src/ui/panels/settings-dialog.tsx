import type { JSX } from 'preact';
import { words } from '../../i18n/language';
import type { Session } from '../../visit/session';
import { setSwitch, settings, SWITCHES } from '../../visit/settings';
import { DeviceSelects } from '../parts/device-selects';
import { Dialog } from '../parts/dialog';
import { LanguageSwitch } from '../parts/language-switch';
import { Switch } from '../parts/switch';

export function SettingsDialog({ session, onClose }: { session: Session; onClose: () => void }): JSX.Element {
  const t = words.value;
  return (
    <Dialog title={t.room.settings} onClose={onClose}>
      <section class="dialog-section" aria-labelledby="settings-devices">
        <h3 id="settings-devices">{t.settings.devices}</h3>
        <DeviceSelects media={session.media} />
      </section>
      <section class="dialog-section" aria-labelledby="settings-general">
        <h3 id="settings-general">{t.settings.general}</h3>
        {SWITCHES.map((name) => (
          <Switch key={name} label={t.settings[name]} on={settings[name].value} onChange={(on) => setSwitch(name, on)} />
        ))}
        <div class="field">
          <span aria-hidden="true">{t.common.language}</span>
          <LanguageSwitch />
        </div>
      </section>
    </Dialog>
  );
}
