import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { words } from '../../i18n/language';
import type { Refusal } from '../../protocol/messages';
import { useFocusOnEntry } from '../parts/focus';
import { BrandMark } from '../parts/brand-mark';
import { pageTitle } from '../../visit/brand';
import { PageFoot } from '../parts/page-foot';
import { goToStart } from '../../visit/routing';

interface FarewellProps {
  room: string;
  /** Why the call ended; `undefined`: the person left. */
  failure: Refusal | undefined;
  onRejoin: () => void;
}

/** Nobody was in the room yet, and the same attempt may succeed in a moment. */
const PASSING: ReadonlySet<Refusal> = new Set(['room-full', 'server-full', 'rate-limited', 'no-relay']);

export function FarewellPage({ room, failure, onRejoin }: FarewellProps): JSX.Element {
  const t = words.value;
  const title = useFocusOnEntry<HTMLHeadingElement>();
  useEffect(() => {
    document.title = pageTitle(room);
  }, []);
  const reload = failure === 'version' || failure === 'bad-message';
  return (
    <div class="page farewell">
      <main class="farewell-main">
        <BrandMark />
        <h1 ref={title} tabIndex={-1}>
          {failure === undefined ? t.farewell.leftTitle : t.farewell.failedTitle}
        </h1>
        <p>{failure === undefined ? t.farewell.leftText : t.errors[failure]}</p>
        <div class="farewell-actions">
          {reload ? (
            <button type="button" class="primary" onClick={() => location.reload()}>
              {t.farewell.reload}
            </button>
          ) : (
            failure !== 'bad-room-name' && (
            <button type="button" class="primary" onClick={onRejoin}>
              {failure !== undefined && PASSING.has(failure) ? t.common.tryAgain : t.farewell.rejoin}
            </button>
            )
          )}
          <button type="button" class="secondary" onClick={() => goToStart()}>
            {t.farewell.startPage}
          </button>
        </div>
      </main>
      <PageFoot />
    </div>
  );
}
