import type { ComponentChildren, JSX } from 'preact';

/** All icons are drawn on 24 × 24 with strokes of 2. Without `label` they are decoration beside a text. */
interface IconProps {
  label?: string;
}

function icon(children: ComponentChildren): (props: IconProps) => JSX.Element {
  return ({ label }) => (
    <svg
      class="icon"
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      stroke-width="2"
      stroke-linecap="round"
      stroke-linejoin="round"
      focusable="false"
      {...(label === undefined ? { 'aria-hidden': true } : { role: 'img', 'aria-label': label })}
    >
      {children}
    </svg>
  );
}

export const MicrophoneIcon = icon(
  <>
    <rect x="9" y="3" width="6" height="11" rx="3" />
    <path d="M5 11a7 7 0 0 0 14 0M12 18v3" />
  </>,
);

export const MicrophoneOffIcon = icon(
  <>
    <path d="M9 9v2a3 3 0 0 0 4.6 2.5M15 11V6a3 3 0 0 0-5.8-1M5 11a7 7 0 0 0 10.8 5.9M19 11a7 7 0 0 1-.8 3.2M12 18v3M4 4l16 16" />
  </>,
);

export const CameraIcon = icon(
  <>
    <rect x="3" y="6" width="12" height="12" rx="3" />
    <path d="m15 11 6-3.5v9L15 13" />
  </>,
);

export const CameraOffIcon = icon(
  <path d="M10 6h2a3 3 0 0 1 3 3v2l6-3.5v9l-3-1.8M15 15a3 3 0 0 1-3 3H6a3 3 0 0 1-3-3V9a3 3 0 0 1 2-2.8M4 4l16 16" />,
);

export const ScreenIcon = icon(
  <>
    <rect x="3" y="4" width="18" height="13" rx="2" />
    <path d="M8 21h8M12 13V8m-2.5 2.2L12 7.7l2.5 2.5" />
  </>,
);

export const ScreenStopIcon = icon(
  <>
    <rect x="3" y="4" width="18" height="13" rx="2" />
    <path d="M8 21h8m-6-13 4 5m0-5-4 5" />
  </>,
);

export const PeopleIcon = icon(
  <>
    <circle cx="9" cy="8" r="3.5" />
    <path d="M2.5 20a6.5 6.5 0 0 1 13 0M16 4.9a3.5 3.5 0 0 1 0 6.2M18 14.2a6.5 6.5 0 0 1 3.5 5.8" />
  </>,
);

export const InviteIcon = icon(
  <>
    <circle cx="10" cy="8" r="3.5" />
    <path d="M3.5 20a6.5 6.5 0 0 1 11.6-4M19 14v6m-3-3h6" />
  </>,
);

export const SettingsIcon = icon(
  <>
    <path d="M4 7h9m5 0h2M4 17h2m5 0h9" />
    <circle cx="15.5" cy="7" r="2.5" />
    <circle cx="8.5" cy="17" r="2.5" />
  </>,
);

export const LeaveIcon = icon(
  <path d="M12 9c3.5 0 6.6 1 8.6 2.7.7.6.8 1.7.3 2.5l-1 1.5c-.5.7-1.4.9-2.1.5l-2.2-1.1c-.6-.3-1-.9-.9-1.6v-1a11 11 0 0 0-5.4 0v1c.1.7-.3 1.3-.9 1.6l-2.2 1.1c-.7.4-1.6.2-2.1-.5l-1-1.5c-.5-.8-.4-1.9.3-2.5C5.4 10 8.500 9 12 9z" />,
);

export const CloseIcon = icon(<path d="m6 6 12 12M18 6 6 18" />);
export const CheckIcon = icon(<path d="m5 12.500 4.500 4.500L19 7.500" />);
export const SoundIcon = icon(<path d="M4 9.500v5h3.500L13 19V5L7.500 9.500zM16.500 9a4.500 4.500 0 0 1 0 6M19 6.500a8 8 0 0 1 0 11" />);
export const AwayIcon = icon(<path d="M2.500 9a14 14 0 0 1 6-3.200M12.500 5.100A14 14 0 0 1 21.500 9M6 12.800a9 9 0 0 1 3.500-2M15.500 11.300a9 9 0 0 1 2.500 1.500M9.500 16.300a4 4 0 0 1 4-.7M12 20h.01M4 4l16 16" />);
export const SendIcon = icon(<path d="M21 3 10 14M21 3l-6.500 18-4.500-7-7-4.500z" />);
export const SparkIcon = icon(<path d="M12 3v4m0 10v4M3 12h4m10 0h4M6 6l2.500 2.500m7 7L18 18M18 6l-2.500 2.500m-7 7L6 18" />);

export const MoreIcon = icon(<path d="M5.500 12h.01M12 12h.01M18.500 12h.01" stroke-width="3.500" />);
export const UpIcon = icon(<path d="m6 14.500 6-6 6 6" />);
export const NextIcon = icon(<path d="m9.500 6 6 6-6 6" />);
export const PreviousIcon = icon(<path d="m14.500 6-6 6 6 6" />);
export const PinIcon = icon(<path d="M9 3h6l-.700 7 3.200 3.500h-11L9.700 10zM12 13.500V21" />);
export const FlipIcon = icon(<path d="M4 9V7a2 2 0 0 1 2-2h2l1.500-2h5L16 5h2a2 2 0 0 1 2 2v2M4 15v2a2 2 0 0 0 2 2h12a2 2 0 0 0 2-2v-2M1.500 11.500 4 9l2.500 2.500M17.500 12.500 20 15l2.500-2.500" />);
export const SpeakerViewIcon = icon(<path d="M3 4h18v10H3zM3 18h4.500v3H3zM9.700 18h4.600v3H9.700zM16.500 18H21v3h-4.500z" />);
export const TilesIcon = icon(<path d="M3 4h8v7H3zM13 4h8v7h-8zM3 13.500h8v7H3zM13 13.500h8v7h-8z" />);
export const FullScreenIcon = icon(<path d="M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5" />);
export const SmallWindowIcon = icon(
  <>
    <rect x="3" y="4" width="18" height="15" rx="2" />
    <path d="M12 12h6v4h-6z" />
  </>,
);
export const KeyboardIcon = icon(
  <>
    <rect x="2" y="6" width="20" height="12" rx="2" />
    <path d="M6 10h.01M10 10h.01M14 10h.01M18 10h.01M8 14h8" />
  </>,
);
export const SpeakingIcon = icon(<path d="M5 10v4M9 7v10M13 9.500v5M17 5.500v13M21 10v4" />);
export const StillIcon = icon(<path d="M9 6v12M15 6v12" />);

/** The mark of the service: two bubbles. */
export const WarningIcon = icon(
  <>
    <path d="M12 4 2.5 20h19zM12 10v4.5" />
    <circle cx="12" cy="17" r="0.6" fill="currentColor" />
  </>,
);

export const SpeakerIcon = icon(
  <>
    <path d="M4 9.5v5h3.5L12 19V5L7.500 9.500zM15.500 9a4 4 0 0 1 0 6M18 6.500a8 8 0 0 1 0 11" />
  </>,
);

export function Mark(): JSX.Element {
  return (
    <svg class="mark" viewBox="0 0 64 64" aria-hidden="true" focusable="false">
      <path
        class="mark-first"
        d="M10 8h32a8 8 0 0 1 8 8v16a8 8 0 0 1-8 8H24L12 50V40h-2a8 8 0 0 1-8-8V16a8 8 0 0 1 8-8z"
      />
      <path
        class="mark-second"
        d="M54 22a8 8 0 0 1 8 8v12a8 8 0 0 1-8 8h-2v8l-9-8H32a8 8 0 0 1-7-4h17a14 14 0 0 0 12-14z"
      />
    </svg>
  );
}
