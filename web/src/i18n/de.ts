import type { Messages } from './en';

export const de: Messages = {
  languageName: 'Deutsch',
  language: 'Sprache',

  // Startseite
  tagline: 'Treffen Sie sich per Video. Ohne Konto, ohne Installation.',
  roomName: 'Raumname',
  roomHint: 'Wer den gleichen Namen eingibt, kommt in den gleichen Raum.',
  go: 'Los geht’s',
  roomMissing: 'Bitte geben Sie zuerst einen Namen für den Raum ein.',
  roomUnusable: 'Dieser Name taugt nicht als Adresse. Bitte wählen Sie einen anderen.',
  roomGuessable:
    'Einen so kurzen Namen könnten andere erraten und dazukommen. Mit einem längeren bleiben Sie unter sich.',
  roomSuggest: 'Namen vorschlagen',
  recentRooms: 'Besuchte Räume',
  recentNote: 'Nur in diesem Browser gespeichert.',
  recentClear: 'Liste leeren',
  promise:
    'Bild und Ton laufen nur über diesen Server. Nichts wird aufgezeichnet, niemand sonst wird gefragt.',
  roomWords: [
    [
      'Artige', 'Bunte', 'Eifrige', 'Ehrliche', 'Fitte', 'Flinke', 'Frohe', 'Freche', 'Gelbe', 'Goldene', 'Heitere',
      'Helle', 'Kecke', 'Kluge', 'Lustige', 'Milde', 'Mutige', 'Muntere', 'Nette', 'Ruhige', 'Sanfte', 'Schlaue',
      'Silberne', 'Sonnige', 'Starke', 'Stille', 'Stolze', 'Tapfere', 'Treue', 'Wache', 'Warme', 'Weise',
    ],
    [
      'Adler', 'Amseln', 'Bären', 'Biber', 'Bienen', 'Dachse', 'Delfine', 'Elche', 'Enten', 'Eulen', 'Falken', 'Finken',
      'Frösche', 'Füchse', 'Grillen', 'Hasen', 'Igel', 'Kraniche', 'Lerchen', 'Luchse', 'Meisen', 'Otter', 'Pinguine',
      'Raben', 'Rehe', 'Robben', 'Schwäne', 'Spatzen', 'Spechte', 'Störche', 'Tauben', 'Wale',
    ],
    [
      'Angeln', 'Backen', 'Basteln', 'Bauen', 'Denken', 'Fliegen', 'Hüpfen', 'Jonglieren', 'Kichern', 'Klettern',
      'Kochen', 'Lachen', 'Lauschen', 'Lesen', 'Malen', 'Musizieren', 'Paddeln', 'Pfeifen', 'Planen', 'Plaudern',
      'Reisen', 'Rudern', 'Schwimmen', 'Segeln', 'Singen', 'Spielen', 'Stricken', 'Tanzen', 'Träumen', 'Trommeln',
      'Turnen', 'Wandern',
    ],
    [
      'Abends', 'Anders', 'Bald', 'Daheim', 'Draußen', 'Drinnen', 'Endlich', 'Fein', 'Fleißig', 'Fröhlich', 'Früh',
      'Gemütlich', 'Gerne', 'Heimlich', 'Immer', 'Langsam', 'Leise', 'Lieber', 'Mittags', 'Morgens', 'Munter', 'Nachts',
      'Oben', 'Oft', 'Schnell', 'Sonntags', 'Täglich', 'Überall', 'Wieder', 'Wild', 'Zusammen', 'Zuhause',
    ],
  ],

  // Geräteseite
  joinTitle: 'An der Konferenz teilnehmen',
  yourName: 'Ihr Name',
  nameMissing: 'Bitte geben Sie Ihren Namen ein, damit die anderen wissen, wer Sie sind.',
  nameUnusable: 'Dieser Name kann nicht verwendet werden. Bitte wählen Sie einen anderen.',
  join: 'Teilnehmen',
  joining: 'Verbinde…',
  network: {
    open: 'Ihr Netzwerk lässt Gespräche durch.',
    detour: 'Ihr Netzwerk ist streng: Gespräche nehmen einen Umweg und klappen trotzdem.',
    blocked:
      'Ihr Netzwerk lässt keine Gespräche durch. Versuchen Sie ein anderes, zum Beispiel mobile Daten, oder bitten Sie, wer es betreut, diesen Server durchzulassen.',
  },
  preview: 'Ihr Kamerabild',
  previewOff: 'Ihre Kamera ist aus',
  previewAsking: 'Ihr Browser fragt, ob er Kamera und Mikrofon verwenden darf. Bitte erlauben Sie es.',
  microphone: 'Mikrofon',
  camera: 'Kamera',
  speaker: 'Lautsprecher',
  systemDefault: 'Vom Gerät bestimmt',
  levelLabel: 'Mikrofonpegel',
  levelHint: 'Sagen Sie etwas: Der Balken sollte sich bewegen.',
  tryAgain: 'Noch einmal versuchen',
  joinAnyway: 'Sie können auch ohne teilnehmen.',
  troubleBoth: {
    denied:
      'Ihr Browser erlaubt hier Kamera und Mikrofon nicht. Öffnen Sie das Schloss oder die Einstellungen neben der Adresse, erlauben Sie beides und versuchen Sie es noch einmal.',
    missing: 'Weder Kamera noch Mikrofon gefunden. Schließen Sie sie an und versuchen Sie es noch einmal.',
    busy: 'Kamera und Mikrofon werden von einem anderen Programm benutzt. Schließen Sie es und versuchen Sie es noch einmal.',
    unsupported: 'Dieser Browser gibt hier Kamera und Mikrofon nicht frei. Die Seite muss mit https geöffnet werden.',
    failed: 'Kamera und Mikrofon ließen sich nicht starten.',
  },
  troubleMicrophone: {
    denied:
      'Ihr Browser erlaubt hier das Mikrofon nicht. Öffnen Sie das Schloss oder die Einstellungen neben der Adresse, erlauben Sie es und versuchen Sie es noch einmal.',
    missing: 'Kein Mikrofon gefunden. Schließen Sie eines an und versuchen Sie es noch einmal.',
    busy: 'Das Mikrofon wird von einem anderen Programm benutzt. Schließen Sie es und versuchen Sie es noch einmal.',
    unsupported: 'Dieser Browser gibt hier kein Mikrofon frei.',
    failed: 'Das Mikrofon ließ sich nicht starten.',
  },
  troubleCamera: {
    denied:
      'Ihr Browser erlaubt hier die Kamera nicht. Öffnen Sie das Schloss oder die Einstellungen neben der Adresse, erlauben Sie sie und versuchen Sie es noch einmal.',
    missing: 'Keine Kamera gefunden. Schließen Sie eine an und versuchen Sie es noch einmal.',
    busy: 'Die Kamera wird von einem anderen Programm benutzt. Schließen Sie es und versuchen Sie es noch einmal.',
    unsupported: 'Dieser Browser gibt hier keine Kamera frei.',
    failed: 'Die Kamera ließ sich nicht starten.',
  },

  // Raum
  mute: 'Mikrofon ausschalten',
  unmute: 'Mikrofon einschalten',
  muteShort: 'Mikrofon',
  unmuteShort: 'Mikrofon',
  cameraOff: 'Kamera ausschalten',
  cameraOn: 'Kamera einschalten',
  cameraShort: 'Kamera',
  share: 'Bildschirm teilen',
  stopSharing: 'Teilen beenden',
  shareShort: 'Teilen',
  stopSharingShort: 'Beenden',
  participants: 'Teilnehmende',
  invite: 'Einladen',
  settings: 'Einstellungen',
  leave: 'Verlassen',
  controls: 'Bedienung',
  conference: 'Konferenz',
  you: '(Sie)',
  alone: 'Sie sind zuerst da.',
  aloneHint: 'Laden Sie andere ein: Schicken Sie ihnen die Adresse dieses Raums.',
  screenOf: (name) => `Bildschirm von ${name}`,
  yourScreen: 'Ihr Bildschirm',
  sharingNow: 'Die anderen sehen Ihren Bildschirm.',
  micMuted: 'Mikrofon aus',
  cameraIsOff: 'Kamera aus',
  speaking: 'Spricht',
  away: 'Verbindung verloren',
  joined: (name) => `${name} ist dazugekommen.`,
  left: (name) => `${name} ist gegangen.`,
  soundOn: 'Ton einschalten',
  lost: 'Verbindung verloren. Verbinde neu…',
  back: 'Wieder da',
  close: 'Schließen',

  // Einladen
  inviteTitle: 'Andere einladen',
  inviteText: 'Wer diese Adresse im Browser öffnet, kommt direkt in diesen Raum.',
  inviteLink: 'Adresse dieses Raums',
  copy: 'Adresse kopieren',
  copied: 'Kopiert',
  shareSheet: 'Senden…',
  shareMessage: (room) => `Kommen Sie in die Konferenz „${room}“:`,

  // Nach dem Gespräch
  leftTitle: 'Sie haben die Konferenz verlassen',
  leftText: 'Bis zum nächsten Mal!',
  rejoin: 'Wieder teilnehmen',
  startPage: 'Startseite',
  reload: 'Neu laden',
  failedTitle: 'Das hat nicht geklappt',
  errors: {
    'bad-message': 'Der Server hat diese Seite nicht verstanden. Laden Sie sie neu und versuchen Sie es noch einmal.',
    version: 'Es gibt eine neuere Fassung dieser Seite. Bitte laden Sie sie neu.',
    'bad-room-name': 'Dieser Raumname kann nicht verwendet werden. Bitte wählen Sie einen anderen.',
    'bad-name': 'Dieser Name kann nicht verwendet werden. Bitte wählen Sie einen anderen.',
    'bad-offer':
      'Der Server versteht diesen Browser nicht. Bitte nehmen Sie eine aktuelle Fassung von Firefox, Chrome, Edge oder Safari.',
    'room-full': 'Dieser Raum ist voll. Bitte versuchen Sie es noch einmal, wenn jemand gegangen ist.',
    'server-full': 'Der Server ist gerade ausgelastet. Bitte versuchen Sie es später noch einmal.',
    'rate-limited': 'Das war zu oft in kurzer Zeit. Bitte warten Sie einen Moment.',
    'no-relay': 'Der Server startet gerade. Einen Moment bitte…',
    replaced: 'Sie nehmen jetzt in einem anderen Fenster an dieser Konferenz teil. Hier wurde sie beendet.',
  },
  browserUnsupported:
    'Dieser Browser kann nicht an Videokonferenzen teilnehmen. Bitte nehmen Sie eine aktuelle Fassung von Firefox, Chrome, Edge oder Safari.',
};
