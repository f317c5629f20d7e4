import type { JSX } from 'preact';
import { words } from '../../i18n/language';
import { settings } from '../../visit/settings';
import { Dialog } from '../parts/dialog';

export function ShortcutsDialog({ onClose }: { onClose: () => void }): JSX.Element {
  const t = words.value.shortcuts;
  const rows: readonly (readonly [string, string])[] = [
    [t.space, t.talk],
    ['M', t.microphone],
    ['V', t.camera],
    ['D', t.share],
    ['P', t.participants],
    ['W', t.view],
    ['S', t.fullScreen],
    ['?', t.help],
    ['Esc', t.escape],
  ];
  return (
    <Dialog title={t.title} onClose={onClose}>
      {!settings.shortcuts.value && <p class="advice warned">{t.off}</p>}
      <table class="shortcuts">
        <thead>
          <tr>
            <th scope="col">{t.key}</th>
            <th scope="col">{t.what}</th>
          </tr>
        </thead>
        <tbody>
          {rows.map(([key, what]) => (
            <tr key={key}>
              <td>
                <kbd>{key}</kbd>
              </td>
              <td>{what}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Dialog>
  );
}
