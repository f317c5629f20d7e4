import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { browserKind } from '../../devices/browser-kind';
import { watchLevel } from '../../devices/level';
import { loadPreferences } from '../../devices/preferences';
import { words } from '../../i18n/language';
import { brand, pageTitle } from '../../visit/brand';
import { isGuessable } from '../../visit/guessable';
import { normalise } from '../../visit/room-names';
import { cameByLink, goToRoom, goToStart } from '../../visit/routing';
import type { Session } from '../../visit/session';
import { remembering, setRemembering, visitedRooms } from '../../visit/visited';
import { colourOf, initials } from '../parts/avatar';
import { BrandMark } from '../parts/brand-mark';
import { Elsewhere } from '../parts/elsewhere';
import { DeviceSelects } from '../parts/device-selects';
import { hasKeyboard } from '../parts/focus';
import { GuessableWarning } from '../parts/guessable-warning';
import { CameraIcon, CameraOffIcon, MicrophoneIcon, MicrophoneOffIcon } from '../parts/icons';
import { PageFoot } from '../parts/page-foot';
import { SpeakerTest } from '../parts/speaker-test';
import { isMirrored, Video } from '../parts/video';

/** Mirrors PARTICIPANT_NAME_CHARS of the server. */
const NAME_CHARS = 64;
/** A join takes well below a second; who waits longer is told what it may be. */
const SLOW_MS = 4_000;

interface DevicePageProps {
  session: Session;
  /** The last attempt was refused for the person's name. */
  nameRefused: boolean;
  /** Kept from an attempt that was cancelled. */
  typedName: string | undefined;
  /** The person does not want to wait for the join any longer. */
  onCancel: (name: string) => void;
}

export function DevicePage({ session, nameRefused, typedName, onCancel }: DevicePageProps): JSX.Element {
  const t = words.value.entry;
  const { media, call } = session;
  const field = useRef<HTMLInputElement>(null);
  const title = useRef<HTMLHeadingElement>(null);
  const name = useSignal(typedName ?? loadPreferences().name);
  const complaint = useSignal<'nameMissing' | 'nameUnusable' | undefined>(nameRefused ? 'nameUnusable' : undefined);
  const joining = call.phase.value === 'joining';

  useEffect(() => {
    document.title = pageTitle(session.room);
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
  const known = visitedRooms.value.some((room) => normalise(room) === normalise(session.room));

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
          <BrandMark />
          {brand.name}
        </a>
      </header>
      <main class="device-main">
        <div class="device-title">
          <p class="overline">{t.joinTitle}</p>
          <h1 ref={title} tabIndex={-1}>
            <bdi>{session.room}</bdi>
          </h1>
          {cameByLink.value && !known && isGuessable(session.room) && (
            <GuessableWarning room={session.room} byLink onTake={goToRoom} />
          )}
        </div>
        <Preview session={session} name={name.value} />
        <form class="device-form" onSubmit={join} noValidate>
          <label class="field large">
            <span>{t.yourName}</span>
            <input
              ref={field}
              type="text"
              value={name.value}
              maxLength={NAME_CHARS}
              autocomplete="name"
              enterkeyhint="go"
              readOnly={joining}
              aria-describedby="name-advice"
              aria-invalid={complaint.value !== undefined}
              onInput={(event) => {
                name.value = event.currentTarget.value;
                complaint.value = undefined;
              }}
            />
          </label>
          <p id="name-advice" class="advice complaint" aria-live="polite">
            {complaint.value && t[complaint.value]}
          </p>
          <label class="tick">
            <input
              type="checkbox"
              checked={remembering.value}
              onChange={(event) => setRemembering(event.currentTarget.checked)}
            />
            <span>{t.remember}</span>
          </label>
          <Elsewhere session={session} />
          <div class="join-bar">
            <button type="submit" class="primary join" aria-disabled={joining}>
              {joining ? t.joining : t.join}
            </button>
            {joining && (
              <button type="button" class="secondary" onClick={() => onCancel(name.value)}>
                {t.cancel}
              </button>
            )}
            <JoinAdvice session={session} />
          </div>
          <DeviceTrouble session={session} />
          <details class="device-settings">
            <summary>{t.deviceSettings}</summary>
            <DeviceSelects media={media} />
            <SpeakerTest media={media} />
          </details>
        </form>
      </main>
      <PageFoot away />
    </div>
  );
}

/** How the join goes, and before it what the network lets through. */
function JoinAdvice({ session }: { session: Session }): JSX.Element {
  const t = words.value;
  const { call, network } = session;
  const joining = call.phase.value === 'joining';
  const slow = useSignal(false);
  useEffect(() => {
    slow.value = false;
    if (!joining) return undefined;
    const timer = setTimeout(() => (slow.value = true), SLOW_MS);
    return () => clearTimeout(timer);
  }, [joining]);
  const trouble = call.trouble.value;
  let text: string | undefined;
  // While the person waits, an older verdict would contradict what they see.
  if (joining) text = trouble !== undefined ? t.errors[trouble] : slow.value ? t.entry.joiningSlow : undefined;
  else text = network.value && t.entry.network[network.value];
  const warned = joining || network.value === 'blocked' || network.value === 'unreachable';
  return (
    <p class={warned ? 'advice warned' : 'advice'} role="status">
      {text}
    </p>
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
            <Asking asking={session.asking.value} />
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

/** What to do while the browser asks; who sees no question finds out where it is. */
function Asking({ asking }: { asking: boolean }): JSX.Element {
  const t = words.value.entry;
  const unanswered = useSignal(false);
  useEffect(() => {
    unanswered.value = false;
    if (!asking) return undefined;
    const timer = setTimeout(() => (unanswered.value = true), SLOW_MS);
    return () => clearTimeout(timer);
  }, [asking]);
  return (
    <div role="status">
      <p>{asking ? t.previewAsking : t.previewOff}</p>
      {unanswered.value && <p>{t.previewUnanswered}</p>}
    </div>
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
