import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { browserKind } from '../../devices/browser-kind';
import { watchLevel } from '../../devices/level';
import { loadPreferences } from '../../devices/preferences';
import { words } from '../../i18n/language';
import { colourOf, initials } from '../parts/avatar';
import { DeviceSelects } from '../parts/device-selects';
import { hasKeyboard } from '../parts/focus';
import { CameraIcon, CameraOffIcon, Mark, MicrophoneIcon, MicrophoneOffIcon } from '../parts/icons';
import { LanguageSwitch } from '../parts/language-switch';
import { goToStart } from '../../visit/routing';
import type { Session } from '../../visit/session';
import { isMirrored, Video } from '../parts/video';

/** Mirrors PARTICIPANT_NAME_CHARS of the server. */
const NAME_CHARS = 64;

export function DevicePage({ session, nameRefused }: { session: Session; nameRefused: boolean }): JSX.Element {
  const t = words.value;
  const { media, call } = session;
  const field = useRef<HTMLInputElement>(null);
  const title = useRef<HTMLHeadingElement>(null);
  const name = useSignal(loadPreferences().name);
  const complaint = useSignal<'nameMissing' | 'nameUnusable' | undefined>(nameRefused ? 'nameUnusable' : undefined);
  const joining = call.phase.value === 'joining';
  const trouble = call.trouble.value;
  const network = session.network.value;

  useEffect(() => {
    document.title = `${session.room} – Plausch`;
    if (hasKeyboard()) field.current?.focus();
    else title.current?.focus();
  }, []);

  const join = (event: Event): void => {
    event.preventDefault();
    const typed = name.value.trim();
    if (typed === '') {
      complaint.value = 'nameMissing';
      field.current?.focus();
    } else if (!joining) {
      session.join(typed);
    }
  };

  return (
    <div class="page device">
      <header class="page-head">
        <a
          class="home"
          href="/"
          onClick={(event) => {
            event.preventDefault();
            goToStart();
          }}
        >
          <Mark />
          Plausch
        </a>
        <LanguageSwitch />
      </header>
      <main class="device-main">
        <div class="device-title">
          <p class="overline">{t.entry.joinTitle}</p>
          <h1 ref={title} tabIndex={-1}>
            {session.room}
          </h1>
        </div>
        <Preview session={session} name={name.value} />
        <form class="device-form" onSubmit={join} noValidate>
          <label class="field large">
            <span>{t.entry.yourName}</span>
            <input
              ref={field}
              type="text"
              value={name.value}
              maxLength={NAME_CHARS}
              autocomplete="name"
              enterkeyhint="go"
              aria-describedby="name-advice"
              aria-invalid={complaint.value !== undefined}
              onInput={(event) => {
                name.value = event.currentTarget.value;
                complaint.value = undefined;
              }}
            />
          </label>
          <p id="name-advice" class="advice complaint" aria-live="polite">
            {complaint.value && t.entry[complaint.value]}
          </p>
          <button type="submit" class="primary join" aria-disabled={joining}>
            {joining ? t.entry.joining : t.entry.join}
          </button>
          <p class={network === 'blocked' ? 'advice warned' : 'advice'} role="status">
            {joining && trouble !== undefined ? t.errors[trouble] : network && t.entry.network[network]}
          </p>
          <DeviceTrouble session={session} />
          <DeviceSelects media={media} />
        </form>
      </main>
    </div>
  );
}

function Preview({ session, name }: { session: Session; name: string }): JSX.Element {
  const t = words.value;
  const { media } = session;
  const camera = media.tracks.camera.value;
  const { microphone, camera: cameraOn } = media.state.value;
  return (
    <section class="preview" aria-label={t.entry.preview}>
      <div class="preview-picture">
        {camera === null ? (
          <div class="preview-empty">
            <div class={`avatar colour-${colourOf(name)}`} aria-hidden="true">
              <span>{initials(name)}</span>
            </div>
            <p>{session.asking.value ? t.entry.previewAsking : t.entry.previewOff}</p>
          </div>
        ) : (
          <Video track={camera} mirrored={isMirrored(camera)} label={t.entry.preview} />
        )}
        <div class="preview-buttons">
          <button
            type="button"
            class={microphone ? 'tool round' : 'tool round off'}
            aria-label={microphone ? t.room.mute : t.room.unmute}
            onClick={() => media.toggleMicrophone()}
          >
            {microphone ? <MicrophoneIcon /> : <MicrophoneOffIcon />}
          </button>
          <button
            type="button"
            class={cameraOn ? 'tool round' : 'tool round off'}
            aria-label={cameraOn ? t.room.cameraOff : t.room.cameraOn}
            onClick={() => void media.toggleCamera()}
          >
            {cameraOn ? <CameraIcon /> : <CameraOffIcon />}
          </button>
        </div>
      </div>
      <LevelMeter session={session} />
    </section>
  );
}

function LevelMeter({ session }: { session: Session }): JSX.Element {
  const t = words.value;
  const bar = useRef<HTMLDivElement>(null);
  const track = session.media.tracks.microphone.value;
  useEffect(() => {
    if (track === null) return undefined;
    // Sixty times a second: past the virtual DOM.
    return watchLevel(track, (level) => bar.current?.style.setProperty('--level', level.toFixed(3)));
  }, [track]);
  const muted = !session.media.state.value.microphone;
  return (
    <div class={muted ? 'level muted' : 'level'}>
      {muted ? <MicrophoneOffIcon /> : <MicrophoneIcon />}
      <div class="level-track" role="img" aria-label={t.entry.levelLabel}>
        <div ref={bar} class="level-bar" />
      </div>
      <p>{muted ? t.room.micMuted : t.entry.levelHint}</p>
    </div>
  );
}

/** What is wrong with the devices and what helps; nobody is kept out by it. */
function DeviceTrouble({ session }: { session: Session }): JSX.Element | null {
  const t = words.value;
  const microphone = session.media.trouble.microphone.value;
  const camera = session.media.trouble.camera.value;
  if (microphone === undefined && camera === undefined) return null;
  const sentences =
    microphone !== undefined && microphone === camera
      ? [t.devices.troubleBoth[microphone]]
      : [microphone && t.devices.troubleMicrophone[microphone], camera && t.devices.troubleCamera[camera]].filter(Boolean);
  return (
    <div class="trouble" role="alert">
      {sentences.map((sentence) => (
        <p key={sentence}>{sentence}</p>
      ))}
      {(microphone === 'denied' || camera === 'denied') && (
        <ol>
          {[...t.devices.allowSteps[browserKind(navigator.userAgent, navigator.maxTouchPoints > 0)], t.devices.allowLastStep].map((step) => (
            <li key={step}>{step}</li>
          ))}
        </ol>
      )}
      <p>{t.devices.joinAnyway[microphone === undefined ? 'camera' : camera === undefined ? 'microphone' : 'both']}</p>
      <button type="button" class="secondary" onClick={() => void session.openDevices()}>
        {t.common.tryAgain}
      </button>
    </div>
  );
}
