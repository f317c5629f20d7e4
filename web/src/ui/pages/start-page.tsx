import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { words } from '../../i18n/language';
import { brand, brandText, pageTitle } from '../../visit/brand';
import { isGuessable } from '../../visit/guessable';
import { addressOf, normalise, readTyped, ROOM_NAME_CHARS, secureRandom, suggestName, unusable } from '../../visit/room-names';
import { goToRoom } from '../../visit/routing';
import { clearVisited, visitedRooms } from '../../visit/visited';
import { BrandMark } from '../parts/brand-mark';
import { hasKeyboard } from '../parts/focus';
import { GuessableWarning } from '../parts/guessable-warning';
import { SparkIcon } from '../parts/icons';
import { PageFoot } from '../parts/page-foot';

/** A link of this server and what mail programs put around it is longer than a name. */
const TYPED_CHARS = 4 * ROOM_NAME_CHARS;
/** How long the typing must pause before anything is said about what was typed. */
const PAUSE_MS = 500;

export function StartPage(): JSX.Element {
  const t = words.value.start;
  const field = useRef<HTMLInputElement>(null);
  const name = useSignal('');
  /** What was typed before the last pause. */
  const settled = useSignal('');
  const complaint = useSignal<string | undefined>(undefined);

  useEffect(() => {
    document.title = pageTitle();
    if (hasKeyboard()) field.current?.focus();
  }, []);
  useEffect(() => {
    const timer = setTimeout(() => (settled.value = name.value), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [name.value]);

  const go = (event: Event): void => {
    event.preventDefault();
    const typed = readTyped(name.value, location.host);
    if ('foreign' in typed) {
      complaint.value = t.roomForeign(typed.foreign);
    } else {
      const reason = unusable(typed.name);
      if (reason === undefined) return goToRoom(typed.name);
      complaint.value = t.roomTrouble[reason];
    }
    field.current?.focus();
  };
  const type = (text: string): void => {
    name.value = text;
    complaint.value = undefined;
  };
  const take = (proposal: string): void => {
    type(proposal);
    settled.value = proposal;
    field.current?.focus();
  };
  const typed = readTyped(settled.value, location.host);
  // A room that is known needs no advice; nor does one whose link was pasted: its name was somebody else's choice.
  const advised = 'name' in typed && typed.name === settled.value ? typed.name : '';
  const guessable =
    settled.value === name.value &&
    [...normalise(advised)].length > 2 &&
    unusable(advised) === undefined &&
    isGuessable(advised) &&
    !visitedRooms.value.some((room) => normalise(room) === normalise(advised));

  return (
    <div class="page start">
      <main class="start-main">
        <h1 class={brand.logo === undefined ? 'brand' : 'brand with-logo'}>
          <BrandMark />
          {brand.name}
        </h1>
        <p class="tagline">{brandText('tagline')}</p>
        <form class="start-form" onSubmit={go} noValidate>
          <label class="start-label" for="room">
            {t.roomName}
          </label>
          <input
            ref={field}
            id="room"
            type="text"
            class="start-field"
            value={name.value}
            placeholder={t.roomExample}
            maxLength={TYPED_CHARS}
            autocomplete="off"
            autocapitalize="words"
            spellcheck={false}
            enterkeyhint="go"
            aria-describedby="room-hint room-advice"
            aria-invalid={complaint.value !== undefined}
            onInput={(event) => type(event.currentTarget.value)}
          />
          <div id="room-advice" class="start-advice" aria-live="polite">
            {complaint.value !== undefined ? (
              <p class="advice complaint">{complaint.value}</p>
            ) : (
              guessable && <GuessableWarning room={advised} onTake={take} />
            )}
          </div>
          <button type="submit" class="primary start-go">
            {t.go}
          </button>
          <p id="room-hint" class="advice">
            {brandText('roomHint')}
          </p>
          <button type="button" class="plain suggest" onClick={() => take(suggestName(t.roomWords, secureRandom))}>
            <SparkIcon />
            {t.roomSuggest}
          </button>
        </form>
        {visitedRooms.value.length > 0 && (
          <section class="visited" aria-labelledby="visited">
            <div class="visited-head">
              <h2 id="visited">{t.recentRooms}</h2>
              <button type="button" class="plain" onClick={clearVisited}>
                {t.recentClear}
              </button>
            </div>
            <ul>
              {visitedRooms.value.map((room) => (
                <li key={room}>
                  <a
                    href={addressOf(room)}
                    onClick={(event) => {
                      event.preventDefault();
                      goToRoom(room);
                    }}
                  >
                    <bdi>{room}</bdi>
                  </a>
                </li>
              ))}
            </ul>
            <p class="note">{t.recentNote}</p>
          </section>
        )}
      </main>
      <PageFoot>
        <p>{brandText('promise')}</p>
      </PageFoot>
    </div>
  );
}
