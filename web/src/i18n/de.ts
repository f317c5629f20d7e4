import type { Messages } from './en';

export const de: Messages = {
  languageName: 'Deutsch',

  // Überall
  common: {
    language: 'Sprache',
    close: 'Schließen',
    tryAgain: 'Noch einmal versuchen',
    browserUnsupported:
      'Mit diesem Browser geht es leider nicht. Bitte verwenden Sie die neueste Version von Firefox, Chrome, Edge oder Safari.',
  },

  // Fußzeile
  foot: {
    label: 'Über diesen Dienst',
    guide: 'Anleitung',
    guidePc: 'PC',
    guidePhone: 'Handy',
    terms: 'Nutzung',
    privacy: 'Datenschutz',
    legal: 'Impressum',
    accessibility: 'Barrierefreiheit',
  },

  // Startseite
  start: {
    tagline: 'Treffen Sie sich per Video. Ohne Konto, ohne Installation.',
    roomName: 'Raumname',
    roomHint: 'Alle, die denselben Namen eingeben, treffen sich im selben Raum. Zum Beispiel: KulturvereinMarion',
    go: 'Los geht’s',
    roomExample: 'KulturvereinMarion',
    roomForeign: (host) => `Das ist ein Link zu einem anderen Server: ${host}. Bitte öffnen Sie ihn in einem neuen Fenster.`,
    roomTrouble: {
      empty: 'Bitte geben Sie zuerst einen Namen für den Raum ein.',
      characters: 'Dieser Name geht leider nicht. Bitte lassen Sie die Zeichen / und \\ weg.',
      'too-long': 'Dieser Name ist zu lang. Bitte verwenden Sie höchstens 120 Zeichen.',
      reserved: 'Dieser Name ist für eine Seite dieses Servers vergeben. Bitte wählen Sie einen anderen.',
    },
    roomGuessable: (proposal) => `Diesen Namen können Fremde leicht erraten. Sicherer ist zum Beispiel „${proposal}“.`,
    roomGuessableByLink: (proposal) =>
      `Den Namen dieses Raums können Fremde leicht erraten. Sicherer ist zum Beispiel „${proposal}“.`,
    roomSuggest: 'Namen vorschlagen',
    roomTake: 'Diesen Namen verwenden',
    recentRooms: 'Besuchte Räume',
    recentNote: 'Nur in diesem Browser gespeichert.',
    recentClear: 'Liste leeren',
    promise: 'Bild und Ton laufen nur über diesen Server. Er zeichnet nichts auf und gibt nichts an andere weiter.',
    roomWords: [
      [
        'Artige', 'Bunte', 'Eifrige', 'Ehrliche', 'Fitte', 'Flinke', 'Frohe', 'Freche', 'Gelbe', 'Goldene', 'Heitere',
        'Helle', 'Kecke', 'Kluge', 'Lustige', 'Milde', 'Mutige', 'Muntere', 'Nette', 'Ruhige', 'Sanfte', 'Schlaue',
        'Silberne', 'Sonnige', 'Starke', 'Stille', 'Stolze', 'Tapfere', 'Treue', 'Wache', 'Warme', 'Weise',
      ],
      [
        'Adler', 'Amseln', 'Ameisen', 'Biber', 'Bienen', 'Dachse', 'Delfine', 'Elche', 'Enten', 'Eulen', 'Falken', 'Finken',
        'Forellen', 'Gibbons', 'Grillen', 'Hasen', 'Igel', 'Kraniche', 'Lerchen', 'Luchse', 'Meisen', 'Otter', 'Pinguine',
        'Raben', 'Rehe', 'Robben', 'Schafe', 'Spatzen', 'Spechte', 'Stare', 'Tauben', 'Wale',
      ],
      [
        'Angeln', 'Backen', 'Basteln', 'Bauen', 'Denken', 'Fliegen', 'Flechten', 'Jonglieren', 'Kichern', 'Klettern',
        'Kochen', 'Lachen', 'Lauschen', 'Lesen', 'Malen', 'Musizieren', 'Paddeln', 'Pfeifen', 'Planen', 'Plaudern',
        'Reisen', 'Rudern', 'Schwimmen', 'Segeln', 'Singen', 'Spielen', 'Stricken', 'Tanzen', 'Tauchen', 'Trommeln',
        'Turnen', 'Wandern',
      ],
      [
        'Abends', 'Anders', 'Bald', 'Daheim', 'Dabei', 'Drinnen', 'Endlich', 'Fein', 'Flott', 'Froh', 'Ganztags',
        'Gemeinsam', 'Gerne', 'Heimlich', 'Immer', 'Langsam', 'Leise', 'Lieber', 'Mittags', 'Morgens', 'Munter', 'Nachts',
        'Oben', 'Oft', 'Schnell', 'Sonntags', 'Samstags', 'Vormittags', 'Wieder', 'Wild', 'Zusammen', 'Zuhause',
      ],
    ],
    // Zusammengesetzt und mit einer Zahl ergänzen sie einen zu einfachen Namen: OmaOpa + Sonnen + berg + 27.
    roomPlaces: [
      [
        'Sonnen', 'Birken', 'Linden', 'Rosen', 'Mond', 'Stern', 'Wald', 'Wiesen', 'Adler', 'Feld', 'Garten', 'Hasel',
        'Heide', 'Holunder', 'Honig', 'Kastanien', 'Kirsch', 'Klee', 'Korn', 'Lerchen', 'Mai', 'Moos', 'Morgen', 'Nebel',
        'Nuss', 'Regen', 'Schilf', 'Silber', 'Sommer', 'Tannen', 'Tulpen', 'Winter',
      ],
      [
        'berg', 'tal', 'hof', 'hain', 'bach', 'feld', 'weg', 'haus', 'tor', 'turm', 'ufer', 'platz', 'garten', 'winkel',
        'steg', 'see', 'grund', 'horn', 'stein', 'quelle', 'insel', 'allee', 'pfad', 'blick', 'wiese', 'dorf', 'markt',
        'kamp', 'brunnen', 'hang', 'eck', 'hafen',
      ],
    ],
  },

  // Vor dem Beitreten
  entry: {
    joinTitle: 'Konferenz beitreten',
    yourName: 'Ihr Name',
    nameMissing: 'Bitte geben Sie Ihren Namen ein, damit die anderen wissen, wer Sie sind.',
    nameUnusable: 'Dieser Name kann nicht verwendet werden. Bitte wählen Sie einen anderen.',
    join: 'Konferenz beitreten',
    joining: 'Einen Moment, wir verbinden Sie …',
    joiningSlow: 'Das dauert länger als sonst. Der Server antwortet noch nicht. Wir versuchen es weiter …',
    cancel: 'Abbrechen',
    remember: 'Meinen Namen und diesen Raum auf diesem Gerät merken',
    deviceSettings: 'Geräte auswählen und testen',
    network: {
      open: 'Ihre Verbindung ist bereit.',
      detour: 'Ihr Netzwerk erlaubt nur einen Umweg. Das Gespräch klappt trotzdem. Sie müssen nichts tun.',
      blocked:
        'Ihr Netzwerk blockiert Videogespräche. Versuchen Sie es mit mobilen Daten. Oder fragen Sie die Person, die Ihr Netzwerk betreut.',
      unreachable:
        'Bild und Ton erreichen den Server von Ihrem Netzwerk aus gerade nicht. Versuchen Sie es mit mobilen Daten. Hilft das nicht, liegt es am Server.',
    },
    previewUnanswered:
      'Sie sehen keine Frage? Schauen Sie oben neben der Adresse nach. Sie können auch ohne Kamera und Mikrofon beitreten.',
    preview: 'Ihr Kamerabild',
    previewOff: 'Ihre Kamera ist aus',
    previewAsking: 'Ihr Browser fragt nach Kamera und Mikrofon. Bitte wählen Sie „Zulassen“.',
    levelLabel: 'Mikrofonpegel',
    levelHint: 'Sagen Sie etwas: Der Balken sollte sich bewegen.',
  },

  // Kameras und Mikrofone
  devices: {
    microphone: 'Mikrofon',
    camera: 'Kamera',
    speaker: 'Lautsprecher',
    systemDefault: 'Automatisch',
    speakerTest: 'Lautsprecher testen',
    speakerPlayed: 'Haben Sie den Ton gehört? Wenn nicht, wählen Sie einen anderen Lautsprecher.',
    speakerFailed: 'Der Ton ließ sich nicht abspielen.',
    // Schritte im Browser, der gerade benutzt wird; der letzte Schritt ist für alle gleich.
    allowSteps: {
      chromium: [
        'Klicken Sie links neben der Adresse auf das Symbol (Schloss oder Regler).',
        'Schalten Sie Kamera und Mikrofon ein.',
      ],
      chromiumPhone: [
        'Tippen Sie neben der Adresse auf das Symbol (Schloss oder Regler), dann auf „Berechtigungen“.',
        'Schalten Sie Kamera und Mikrofon ein.',
      ],
      firefox: [
        'Klicken Sie links neben der Adresse auf das durchgestrichene Symbol (Kamera oder Mikrofon).',
        'Entfernen Sie dort „Blockiert“ mit dem ×.',
      ],
      firefoxPhone: [
        'Tippen Sie links neben der Adresse auf das Symbol (Schild oder Schloss).',
        'Tippen Sie bei Kamera und Mikrofon auf „Blockiert“, bis dort „Erlaubt“ steht.',
      ],
      safari: [
        'Öffnen Sie oben das Menü „Safari“ und wählen Sie „Einstellungen für diese Website“.',
        'Wählen Sie bei Kamera und Mikrofon „Erlauben“.',
      ],
      iphone: [
        'Tippen Sie neben der Adresse auf das Symbol mit der Seite oder auf „aA“, dann auf „Website-Einstellungen“ (über „…“).',
        'Wählen Sie bei Kamera und Mikrofon „Erlauben“.',
      ],
      other: [
        'Tippen Sie neben der Adresse auf das Symbol (Schloss oder Regler).',
        'Schalten Sie Kamera und Mikrofon ein.',
      ],
    },
    allowLastStep: 'Wählen Sie hier „Noch einmal versuchen“.',
    joinAnyway: {
      both: 'Sie können trotzdem beitreten. Sie sehen und hören die anderen. Die anderen sehen und hören Sie nicht.',
      microphone: 'Sie können trotzdem beitreten. Sie sehen und hören die anderen. Die anderen hören Sie nicht.',
      camera: 'Sie können trotzdem beitreten. Sie sehen und hören die anderen. Die anderen sehen Sie nicht.',
    },
    troubleBoth: {
      denied: 'Kamera und Mikrofon sind für diese Seite gesperrt. So geben Sie sie frei:',
      missing: 'Wir finden keine Kamera und kein Mikrofon. Bitte schließen Sie beides an.',
      busy: 'Kamera und Mikrofon werden von einem anderen Programm benutzt. Schließen Sie es und versuchen Sie es noch einmal.',
      unsupported: 'Dieser Browser gibt hier Kamera und Mikrofon nicht frei. Die Seite muss mit https geöffnet werden.',
      failed: 'Kamera und Mikrofon ließen sich nicht starten.',
    },
    troubleMicrophone: {
      denied: 'Das Mikrofon ist für diese Seite gesperrt. So geben Sie es frei:',
      missing: 'Wir finden kein Mikrofon. Bitte schließen Sie eines an.',
      busy: 'Das Mikrofon wird von einem anderen Programm benutzt. Schließen Sie es und versuchen Sie es noch einmal.',
      unsupported: 'Dieser Browser gibt hier kein Mikrofon frei.',
      failed: 'Das Mikrofon ließ sich nicht starten.',
    },
    troubleCamera: {
      denied: 'Die Kamera ist für diese Seite gesperrt. So geben Sie sie frei:',
      missing: 'Wir finden keine Kamera. Bitte schließen Sie eine an.',
      busy: 'Die Kamera wird von einem anderen Programm benutzt. Schließen Sie es und versuchen Sie es noch einmal.',
      unsupported: 'Dieser Browser gibt hier keine Kamera frei.',
      failed: 'Die Kamera ließ sich nicht starten.',
    },
  },

  // Der Raum
  room: {
    // Auf den Knöpfen steht der Zustand; ihr Name für Vorleseprogramme beginnt damit und sagt, was der Knopf tut.
    mute: 'Mikro an, ausschalten',
    unmute: 'Mikro aus, einschalten',
    muteShort: 'Mikro an',
    unmuteShort: 'Mikro aus',
    cameraOff: 'Kamera an, ausschalten',
    cameraOn: 'Kamera aus, einschalten',
    cameraOffShort: 'Kamera an',
    cameraOnShort: 'Kamera aus',
    share: 'Bildschirm teilen',
    stopSharing: 'Teilen stoppen',
    shareShort: 'Teilen',
    stopSharingShort: 'Teilen stoppen',
    participants: 'Teilnehmende',
    invite: 'Einladen',
    settings: 'Einstellungen',
    leave: 'Verlassen',
    controls: 'Bedienleiste',
    conference: 'Konferenz',
    you: '(Sie)',
    alone: 'Sie sind noch allein hier.',
    aloneHint: 'Schicken Sie anderen den Link zu diesem Raum.',
    screenOf: (name) => `Bildschirm von ${name}`,
    yourScreen: 'Ihr Bildschirm',
    sharingNow: 'Die anderen sehen Ihren Bildschirm.',
    micMuted: 'Mikrofon aus',
    cameraIsOff: 'Kamera aus',
    speaking: 'Spricht',
    away: 'Verbindung unterbrochen',
    joined: (name) => `${name} ist dazugekommen.`,
    left: (name) => `${name} ist gegangen.`,
    soundOn: 'Ton einschalten',
    lost: 'Die Verbindung ist unterbrochen. Wir verbinden Sie neu …',
    back: 'Wieder verbunden',
    joinedMany: (count) => `${count} Personen sind dazugekommen.`,
    leftMany: (count) => `${count} Personen sind gegangen.`,
    more: 'Mehr',
    chooseMicrophone: 'Mikrofon und Lautsprecher wählen',
    chooseCamera: 'Kamera wählen',
    flipCamera: 'Kamera wechseln',
    speakerView: 'Sprecheransicht',
    tileView: 'Kachelansicht',
    showSelf: 'Eigenes Bild zeigen',
    fullScreen: 'Vollbild',
    endFullScreen: 'Vollbild beenden',
    pictureInPicture: 'Kleines Fenster',
    pin: (name) => `${name} anheften`,
    unpin: (name) => `${name} loslösen`,
    pages: 'Seiten der Kacheln',
    nextPage: 'Nächste Seite',
    previousPage: 'Vorherige Seite',
    pageOf: (page, pages) => `Seite ${page} von ${pages}`,
    youAreSharing: 'Sie teilen Ihren Bildschirm.',
    frozen: 'Bild steht still',
    interrupted: {
      microphone: 'Ihr Mikrofon ist unterbrochen, zum Beispiel durch einen Anruf. Niemand hört Sie.',
      camera: 'Ihre Kamera ist unterbrochen. Niemand sieht Sie.',
    },
    mutedSpeech: 'Ihr Mikrofon ist aus. Niemand hört Sie.',
    unheard: 'Niemand hört Sie: Ihr Mikrofon gibt keinen Ton. Ist es am Gerät ausgeschaltet?',
    noMicrophone: 'Niemand hört Sie: Es ist kein Mikrofon in Benutzung.',
    pushToTalk: 'Sie sprechen, solange Sie die Leertaste halten.',
    noticesLabel: 'Hinweise',
  },

  // Beitreten und Verlassen
  leaving: {
    title: 'Konferenz verlassen?',
    text: 'Sie sehen und hören die anderen dann nicht mehr.',
    stay: 'Hier bleiben',
    elsewhere: 'Sie sind in einem anderen Fenster schon in diesem Raum.',
    moveHere: 'Hierher wechseln',
  },

  // Einstellungen
  settings: {
    devices: 'Geräte',
    general: 'Allgemein',
    sounds: 'Töne, wenn jemand kommt oder geht',
    notices: 'Hinweise, wenn jemand kommt oder geht',
    shortcuts: 'Tastenkürzel',
  },

  // Die Liste der Teilnehmenden
  people: {
    menu: (name) => `Menü zu ${name}`,
    pin: 'Anheften',
    unpin: 'Loslösen',
  },

  // Tastenkürzel
  shortcuts: {
    title: 'Tastenkürzel',
    key: 'Taste',
    what: 'Was sie tut',
    space: 'Leertaste',
    talk: 'Gedrückt halten und sprechen, wenn das Mikrofon aus ist',
    microphone: 'Mikrofon an oder aus',
    camera: 'Kamera an oder aus',
    share: 'Bildschirm teilen oder Teilen stoppen',
    participants: 'Teilnehmende zeigen oder ausblenden',
    view: 'Kachel- oder Sprecheransicht',
    fullScreen: 'Vollbild an oder aus',
    help: 'Diese Übersicht',
    escape: 'Leiste oder Menü schließen',
    off: 'Tastenkürzel sind in den Einstellungen ausgeschaltet.',
  },

  // Andere einladen
  invite: {
    inviteTitle: 'Andere einladen',
    inviteText: 'Wer diesen Link öffnet, kommt direkt in diesen Raum.',
    inviteLink: 'Link zu diesem Raum',
    copy: 'Link kopieren',
    copied: 'Link kopiert',
    mail: 'Per E-Mail',
    shareSheet: 'Senden …',
    shareMessage: (room) =>
      `Einladung zur Videokonferenz „${room}“. Einfach den Link öffnen, ohne Anmeldung und ohne App:`,
  },

  // Nach dem Gespräch
  farewell: {
    leftTitle: 'Sie haben die Konferenz verlassen',
    leftText: 'Bis zum nächsten Mal!',
    rejoin: 'Erneut beitreten',
    startPage: 'Startseite',
    reload: 'Neu laden',
    failedTitle: 'Das hat nicht geklappt',
  },

  errors: {
    'bad-message': 'Da ist etwas schiefgegangen. Bitte laden Sie die Seite neu.',
    version: 'Diese Seite wurde aktualisiert. Bitte laden Sie sie neu.',
    'bad-room-name': 'Dieser Raumname kann nicht verwendet werden. Bitte wählen Sie einen anderen.',
    'bad-name': 'Dieser Name kann nicht verwendet werden. Bitte wählen Sie einen anderen.',
    'bad-offer':
      'Mit diesem Browser geht es leider nicht. Bitte verwenden Sie die neueste Version von Firefox, Chrome, Edge oder Safari.',
    'room-full': 'Dieser Raum ist voll. Bitte versuchen Sie es noch einmal, wenn jemand gegangen ist.',
    'server-full': 'Der Server ist gerade ausgelastet. Bitte versuchen Sie es später noch einmal.',
    'rate-limited': 'Zu viele Versuche in kurzer Zeit. Bitte warten Sie einen Moment.',
    'no-relay': 'Der Server startet gerade. Einen Moment bitte …',
    replaced: 'Sie nehmen jetzt in einem anderen Fenster teil. Dieses Fenster können Sie schließen.',
    unknown: 'Da ist etwas schiefgegangen. Bitte versuchen Sie es noch einmal.',
  },
};
