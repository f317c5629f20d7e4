import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useMemo, useRef } from 'preact/hooks';
import { words } from '../../i18n/language';
import { hasKeyboard } from '../parts/focus';
import { Mark, SparkIcon } from '../parts/icons';
import { LanguageSwitch } from '../parts/language-switch';
import { addressOf, drawSeeds, extendName, isGuessable, isUsable, ROOM_NAME_CHARS, secureRandom, suggestName } from '../../visit/room-names';
import { goToRoom } from '../../visit/routing';
import { clearVisited, visitedRooms } from '../../visit/visited';

export function StartPage(): JSX.Element {
  const t = words.value;
  const field = useRef<HTMLInputElement>(null);
  const name = useSignal('');
  const complaint = useSignal<'roomMissing' | 'roomUnusable' | undefined>(undefined);

  useEffect(() => {
    document.title = 'Plausch';
    if (hasKeyboard()) field.current?.focus();
  }, []);

  // The same all the time: a proposal that changes with each letter cannot be read.
  const seeds = useMemo(drawSeeds, []);

  const go = (event: Event): void => {
    event.preventDefault();
    if (isUsable(name.value)) {
      goToRoom(name.value);
    } else {
      complaint.value = name.value.trim() === '' ? 'roomMissing' : 'roomUnusable';
      field.current?.focus();
    }
  };
  const suggest = (): void => {
    name.value = suggestName(t.start.roomWords, secureRandom);
    complaint.value = undefined;
    field.current?.focus();
  };
  // A known room needs no advice.
  const typed = name.value.trim();
  const proposal = extendName(typed, t.start.roomPlaces, seeds);
  const guessable = typed.length > 2 && isGuessable(typed) && !visitedRooms.value.includes(typed);

  return (
    <div class="page start">
      <header class="page-head">
        <LanguageSwitch />
      </header>
      <main class="start-main">
        <h1 class="brand">
          <Mark />
          Plausch
        </h1>
        <p class="tagline">{t.start.tagline}</p>
        <form class="start-form" onSubmit={go} noValidate>
          <label class="start-label" for="room">
            {t.start.roomName}
          </label>
          <div class="start-row">
            <input
              ref={field}
              id="room"
              type="text"
              class="start-field"
              value={name.value}
              maxLength={ROOM_NAME_CHARS}
              autocomplete="off"
              autocapitalize="words"
              spellcheck={false}
              enterkeyhint="go"
              aria-describedby="room-advice"
              aria-invalid={complaint.value !== undefined}
              onInput={(event) => {
                name.value = event.currentTarget.value;
                complaint.value = undefined;
              }}
            />
            <button type="submit" class="primary start-go">
              {t.start.go}
            </button>
          </div>
          <p id="room-advice" class={complaint.value ? 'advice complaint' : 'advice'} aria-live="polite">
            {complaint.value ? t.start[complaint.value] : guessable ? t.start.roomGuessable(proposal) : t.start.roomHint}
          </p>
          <button type="button" class="plain suggest" onClick={suggest}>
            <SparkIcon />
            {t.start.roomSuggest}
          </button>
        </form>
        {visitedRooms.value.length > 0 && (
          <section class="visited" aria-labelledby="visited">
            <div class="visited-head">
              <h2 id="visited">{t.start.recentRooms}</h2>
              <button type="button" class="plain" onClick={clearVisited}>
                {t.start.recentClear}
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
                    {room}
                  </a>
                </li>
              ))}
            </ul>
            <p class="note">{t.start.recentNote}</p>
          </section>
        )}
      </main>
      <footer class="page-foot">
        <p>{t.start.promise}</p>
      </footer>
    </div>
  );
}
