import type { BrowserKind } from '../devices/browser-kind';

/** Every word of the client. The other languages have the same keys; the compiler checks that. */
export const en = {
  languageName: 'English',

  // Everywhere
  common: {
    language: 'Language',
    close: 'Close',
    tryAgain: 'Try again',
    browserUnsupported: 'Sorry, it does not work with this browser. Please use the latest version of Firefox, Chrome, Edge or Safari.',
  },

  // Foot of the page
  foot: {
    label: 'About this service',
    guide: 'Guide',
    guidePc: 'PC',
    guidePhone: 'phone',
    terms: 'Terms of use',
    privacy: 'Privacy',
    legal: 'Legal notice',
    accessibility: 'Accessibility',
  },

  // Start page
  start: {
    tagline: 'Meet by video. No account, nothing to install.',
    roomName: 'Room name',
    roomHint: 'Everyone who types the same name meets in the same room. For example: KulturvereinMarion',
    go: "Let's go",
    roomExample: 'KulturvereinMarion',
    roomForeign: (host: string) => `This is a link to another server: ${host}. Please open it in a new window.`,
    roomTrouble: {
      empty: 'Please type a name for the room first.',
      characters: 'Sorry, this name does not work. Please leave out the characters / and \\.',
      'too-long': 'This name is too long. Please use 120 characters at most.',
      reserved: 'This name is taken by a page of this server. Please choose another one.',
    },
    roomGuessable: (proposal: string) => `Strangers can easily guess this name. A safer one would be “${proposal}”.`,
    roomGuessableByLink: (proposal: string) =>
      `Strangers can easily guess the name of this room. A safer one would be “${proposal}”.`,
    roomSuggest: 'Suggest a name',
    roomTake: 'Use this name',
    recentRooms: 'Rooms you visited',
    recentNote: 'Kept in this browser only.',
    recentClear: 'Clear list',
    promise: 'Sound and pictures pass only through this server. It records nothing, and nothing is passed on to anyone else.',
    roomWords: [
      [
        'Brave', 'Calm', 'Clever', 'Cheerful', 'Curious', 'Eager', 'Fair', 'Gentle', 'Golden', 'Happy', 'Honest', 'Jolly',
        'Kind', 'Lively', 'Lucky', 'Merry', 'Mighty', 'Neat', 'Nimble', 'Patient', 'Polite', 'Proud', 'Quick', 'Quiet',
        'Silver', 'Sleepy', 'Smart', 'Sunny', 'Swift', 'Tidy', 'Warm', 'Witty',
      ],
      [
        'Badgers', 'Bears', 'Beavers', 'Bees', 'Cranes', 'Crickets', 'Deer', 'Dolphins', 'Eagles', 'Falcons', 'Finches',
        'Foxes', 'Frogs', 'Geese', 'Herons', 'Hedgehogs', 'Larks', 'Lynxes', 'Moles', 'Otters', 'Owls', 'Penguins',
        'Pigeons', 'Rabbits', 'Ravens', 'Robins', 'Seals', 'Sparrows', 'Squirrels', 'Storks', 'Swans', 'Turtles',
      ],
      [
        'Bake', 'Build', 'Climb', 'Count', 'Cook', 'Dance', 'Dream', 'Drum', 'Explore', 'Fly', 'Garden', 'Giggle',
        'Juggle', 'Jump', 'Knit', 'Laugh', 'Listen', 'Paint', 'Plan', 'Play', 'Read', 'Ride', 'Row', 'Sail', 'Sing',
        'Skate', 'Swim', 'Talk', 'Travel', 'Wander', 'Whistle', 'Write',
      ],
      [
        'Again', 'Alone', 'Always', 'Below', 'Bravely', 'Brightly', 'Daily', 'Early', 'Elsewhere', 'Everywhere', 'Fast',
        'Finely', 'Freely', 'Gladly', 'Gracefully', 'Home', 'Inside', 'Later', 'Lightly', 'Longer', 'Often', 'Outdoors',
        'Outside', 'Slowly', 'Softly', 'Sometimes', 'Soon', 'Together', 'Tonight', 'Upstairs', 'Weekly', 'Well',
      ],
    ] as [string[], string[], string[], string[]],
    // Put together, with a number behind, they lengthen a name that is too plain: Bookclub + Sunny + brook + 27.
    roomPlaces: [
      [
        'Sun', 'Birch', 'Willow', 'Rose', 'Moon', 'Star', 'Oak', 'Meadow', 'Eagle', 'Barley', 'Garden', 'Hazel', 'Heather',
        'Elder', 'Honey', 'Chestnut', 'Cherry', 'Clover', 'Corn', 'Lark', 'May', 'Moss', 'Morning', 'Mist', 'Nut', 'Rain',
        'Reed', 'Silver', 'Summer', 'Pine', 'Tulip', 'Winter',
      ],
      [
        'hill', 'dale', 'yard', 'grove', 'brook', 'field', 'way', 'house', 'gate', 'tower', 'shore', 'place', 'garden',
        'corner', 'bridge', 'lake', 'ground', 'horn', 'stone', 'spring', 'island', 'lane', 'path', 'view', 'meadow', 'wood',
        'market', 'mill', 'well', 'side', 'cliff', 'harbour',
      ],
    ] as [string[], string[]],
  },

  // Before entering
  entry: {
    joinTitle: 'Join this conference',
    yourName: 'Your name',
    nameMissing: 'Please type your name, so that the others know who you are.',
    nameUnusable: 'This name cannot be used. Please choose another one.',
    join: 'Join conference',
    joining: 'One moment, we are connecting you …',
    joiningSlow: 'This takes longer than usual. The server does not answer yet. We keep trying …',
    cancel: 'Cancel',
    remember: 'Remember my name and this room on this device',
    deviceSettings: 'Choose and test devices',
    network: {
      open: 'Your connection is ready.',
      detour: 'Your network allows only a detour. The call will work all the same. There is nothing you need to do.',
      blocked:
        'Your network blocks video calls. Try mobile data, or ask the person who looks after your network.',
      unreachable:
        'At the moment, sound and pictures do not reach the server from your network. Try mobile data. If that does not help, the server is the cause.',
    },
    previewUnanswered:
      'You see no question? Look at the top, beside the address. You can also join without camera and microphone.',
    preview: 'Your camera picture',
    previewOff: 'Your camera is off',
    previewAsking: 'Your browser is asking for camera and microphone. Please choose “Allow”.',
    levelLabel: 'Microphone level',
    levelHint: 'Say something: the bar should move.',
  },

  // Cameras and microphones
  devices: {
    microphone: 'Microphone',
    camera: 'Camera',
    speaker: 'Loudspeaker',
    systemDefault: 'Automatic',
    speakerTest: 'Test loudspeaker',
    speakerPlayed: 'Did you hear the tone? If not, choose another loudspeaker.',
    speakerFailed: 'The tone could not be played.',
    // Steps in the browser at hand; the last one is the same for all.
    allowSteps: {
      chromium: ['Click the icon to the left of the address (a lock or sliders).', 'Turn camera and microphone on.'],
      chromiumPhone: [
        'Tap the icon beside the address (a lock or sliders), then “Permissions”.',
        'Turn camera and microphone on.',
      ],
      firefox: [
        'Click the crossed-out icon to the left of the address (a camera or a microphone).',
        'Remove “Blocked” there with the ×.',
      ],
      firefoxPhone: [
        'Tap the icon to the left of the address (a shield or a lock).',
        'At camera and microphone, tap “Blocked” until it says “Allowed”.',
      ],
      safari: [
        'Open the “Safari” menu at the top and choose “Settings for This Website”.',
        'Choose “Allow” for camera and microphone.',
      ],
      iphone: [
        'Tap the page icon or “aA” beside the address, then “Website Settings” (behind “…”).',
        'Choose “Allow” for camera and microphone.',
      ],
      other: ['Tap the icon beside the address (a lock or sliders).', 'Turn camera and microphone on.'],
    } as Record<BrowserKind, readonly string[]>,
    allowLastStep: 'Choose “Try again” here.',
    joinAnyway: {
      both: 'You can still join and see and hear the others. They will neither see nor hear you.',
      microphone: 'You can still join and see and hear the others. They will not hear you.',
      camera: 'You can still join and see and hear the others. They will not see you.',
    },
    troubleBoth: {
      denied: 'Camera and microphone are blocked for this page. This is how to allow them:',
      missing: 'We can find no camera and no microphone. Please plug them in.',
      busy: 'Camera and microphone are in use by another program. Close it and try again.',
      unsupported: 'This browser gives no access to camera and microphone here. The page must be opened with https.',
      failed: 'Camera and microphone could not be started.',
    },
    troubleMicrophone: {
      denied: 'The microphone is blocked for this page. This is how to allow it:',
      missing: 'We can find no microphone. Please plug one in.',
      busy: 'The microphone is in use by another program. Close it and try again.',
      unsupported: 'This browser gives no access to a microphone here.',
      failed: 'The microphone could not be started.',
    },
    troubleCamera: {
      denied: 'The camera is blocked for this page. This is how to allow it:',
      missing: 'We can find no camera. Please plug one in.',
      busy: 'The camera is in use by another program. Close it and try again.',
      unsupported: 'This browser gives no access to a camera here.',
      failed: 'The camera could not be started.',
    },
  },

  // The room
  room: {
    mute: 'Mute microphone',
    unmute: 'Unmute microphone',
    muteShort: 'Mute',
    unmuteShort: 'Unmute',
    cameraOff: 'Turn camera off',
    cameraOn: 'Turn camera on',
    cameraOffShort: 'Camera',
    cameraOnShort: 'Camera',
    share: 'Share screen',
    stopSharing: 'Stop sharing',
    shareShort: 'Share',
    stopSharingShort: 'Stop sharing',
    participants: 'Participants',
    invite: 'Invite',
    settings: 'Settings',
    leave: 'Leave',
    controls: 'Controls',
    conference: 'Conference',
    you: '(you)',
    alone: 'You are still alone here.',
    aloneHint: 'Send others the link to this room.',
    screenOf: (name: string) => `Screen of ${name}`,
    yourScreen: 'Your screen',
    sharingNow: 'The others see your screen.',
    micMuted: 'Microphone muted',
    cameraIsOff: 'Camera off',
    speaking: 'Speaking',
    away: 'Connection interrupted',
    joined: (name: string) => `${name} has joined.`,
    left: (name: string) => `${name} has left.`,
    soundOn: 'Turn sound on',
    lost: 'The connection is interrupted. We are reconnecting you …',
    back: 'Connected again',
    joinedMany: (count: number) => `${count} people have joined.`,
    leftMany: (count: number) => `${count} people have left.`,
    more: 'More',
    chooseMicrophone: 'Choose microphone and loudspeaker',
    chooseCamera: 'Choose camera',
    flipCamera: 'Switch camera',
    speakerView: 'Speaker view',
    tileView: 'Tile view',
    showSelf: 'Show own picture',
    fullScreen: 'Full screen',
    endFullScreen: 'Leave full screen',
    pictureInPicture: 'Small window',
    pin: (name: string) => `Pin ${name}`,
    unpin: (name: string) => `Unpin ${name}`,
    pages: 'Pages of tiles',
    nextPage: 'Next page',
    previousPage: 'Previous page',
    pageOf: (page: number, pages: number) => `Page ${page} of ${pages}`,
    youAreSharing: 'You are sharing your screen.',
    frozen: 'Picture is frozen',
    interrupted: {
      microphone: 'Your microphone is interrupted, for example by a phone call. Nobody can hear you.',
      camera: 'Your camera is interrupted. Nobody can see you.',
    },
    mutedSpeech: 'You are muted. Nobody can hear you.',
    unheard: 'Nobody can hear you: your microphone gives no sound. Is it switched off at the device?',
    noMicrophone: 'Nobody can hear you: no microphone is in use.',
    pushToTalk: 'You are speaking for as long as you hold the space bar.',
    noticesLabel: 'Notices',
  },

  // Joining and leaving
  leaving: {
    title: 'Leave the conference?',
    text: 'You would no longer see and hear the others.',
    stay: 'Stay',
    elsewhere: 'You are already in this room in another window.',
    moveHere: 'Switch to this window',
  },

  // Settings
  settings: {
    devices: 'Devices',
    general: 'General',
    sounds: 'Sounds when somebody joins or leaves',
    notices: 'Notices when somebody joins or leaves',
    shortcuts: 'Keyboard shortcuts',
  },

  // The list of participants
  people: {
    menu: (name: string) => `Menu for ${name}`,
    pin: 'Pin',
    unpin: 'Unpin',
  },

  // Keyboard shortcuts
  shortcuts: {
    title: 'Keyboard shortcuts',
    key: 'Key',
    what: 'What it does',
    space: 'Space bar',
    talk: 'Hold to talk while muted',
    microphone: 'Microphone on or off',
    camera: 'Camera on or off',
    share: 'Share screen or stop sharing',
    participants: 'Show or hide participants',
    view: 'Tile or speaker view',
    fullScreen: 'Full screen on or off',
    help: 'This overview',
    escape: 'Close panel or menu',
    off: 'Keyboard shortcuts are switched off in the settings.',
  },

  // Inviting others
  invite: {
    inviteTitle: 'Invite others',
    inviteText: 'Whoever opens this link comes straight to this room.',
    inviteLink: 'Link to this room',
    copy: 'Copy link',
    copied: 'Link copied',
    mail: 'By e-mail',
    shareSheet: 'Send …',
    shareMessage: (room: string) => `Invitation to the video conference “${room}”. Just open the link, no account and no app needed:`,
  },

  // After the call
  farewell: {
    leftTitle: 'You have left the conference',
    leftText: 'See you next time!',
    rejoin: 'Rejoin',
    startPage: 'Start page',
    reload: 'Reload',
    failedTitle: 'That did not work',
  },

  errors: {
    'bad-message': 'Something went wrong. Please reload the page.',
    version: 'This page has been updated. Please reload it.',
    'bad-room-name': 'This room name cannot be used. Please choose another one.',
    'bad-name': 'This name cannot be used. Please choose another one.',
    'bad-offer': 'Sorry, it does not work with this browser. Please use the latest version of Firefox, Chrome, Edge or Safari.',
    'room-full': 'This room is full. Please try again when somebody has left.',
    'server-full': 'The server is full at the moment. Please try again later.',
    'rate-limited': 'Too many attempts in a short time. Please wait a moment.',
    'no-relay': 'The server is just starting. One moment, please …',
    replaced: 'You are now taking part in another window. You can close this one.',
    unknown: 'Something went wrong. Please try again.',
  },
};

export type Messages = typeof en;
