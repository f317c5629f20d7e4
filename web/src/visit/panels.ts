import { signal } from '@preact/signals';
import { onBack } from './back';

export type PanelName = 'people';
export type DialogName = 'invite' | 'settings' | 'shortcuts' | 'leave';

/** Where a panel covers the page, "Back" closes it. */
const COVERS = '(max-width: 48rem), (max-height: 30rem)';

/** The one panel and the one dialog that may be open. */
export class Panels {
  readonly panel = signal<PanelName | undefined>(undefined);
  readonly dialog = signal<DialogName | undefined>(undefined);
  private takeLayer: (() => void) | undefined;

  open(panel: PanelName): void {
    this.panel.value = panel;
    if (this.takeLayer === undefined && matchMedia(COVERS).matches) {
      this.takeLayer = onBack(() => {
        this.takeLayer = undefined;
        this.panel.value = undefined;
      });
    }
  }

  close(): void {
    this.panel.value = undefined;
    this.takeLayer?.();
    this.takeLayer = undefined;
  }

  toggle(panel: PanelName): void {
    if (this.panel.value === panel) this.close();
    else this.open(panel);
  }

  show(dialog: DialogName): void {
    this.dialog.value = dialog;
  }

  closeDialog(): void {
    this.dialog.value = undefined;
  }
}
