/** Validating parsers: what arrives from the network is looked at once, here, and is typed from then on. */

import {
  ERROR_CODES,
  ROLES,
  SOURCES,
  type Answer,
  type Claims,
  type ClientMessage,
  type IceServer,
  type IceServers,
  type Knock,
  type MediaState,
  type Offer,
  type Participant,
  type Sends,
  type ServerMessage,
  type SlotContent,
  type SlotMids,
} from './messages';
import { count, defaulted, flag, list, listOfKnown, object, oneOf, oneOfOr, optional, ShapeError, text, type Shape } from './shape';

const SILENT: MediaState = { microphone: false, camera: false, screen: false };

const mediaState: Shape<MediaState> = object<MediaState>({
  microphone: defaulted(flag, false),
  camera: defaulted(flag, false),
  screen: defaulted(flag, false),
});
const sends = object<Sends>({
  microphone: optional(text),
  camera: optional(text),
  screen: optional(text),
  screenAudio: optional(text),
});
const slotMids = object<SlotMids>({ audio: text, video: text });
const offer = object<Offer>({ id: count, connection: count, sdp: text, sends, slots: list(slotMids) });
const answer = object<Answer>({ id: count, sdp: text });
const iceServer = object<IceServer>({ urls: list(text), username: text, credential: text });
const iceServers = object<IceServers>({ servers: list(iceServer), direct: optional(text), lifetimeSeconds: count });
const participant = object<Participant>({
  id: text,
  name: text,
  media: defaulted(mediaState, SILENT),
  connected: flag,
  role: optional(oneOfOr(ROLES, 'guest')),
});
const knock = object<Knock>({ id: text, name: text });
const claims = object<Claims>({ password: optional(text), token: optional(text), moderator: optional(text) });
const slotContent = object<SlotContent>({ slot: count, participant: text, source: oneOf(SOURCES) });

type Of<M extends { type: string }, T extends M['type']> = Extract<M, { type: T }>;
type Shapes<M extends { type: string }> = { [T in M['type']]: Shape<Of<M, T>> };

const SERVER: Shapes<ServerMessage> = {
  welcome: object<Of<ServerMessage, 'welcome'>>({
    type: oneOf(['welcome']),
    participant: text,
    resume: text,
    room: text,
    answer: optional(answer),
    ice: optional(iceServers),
    participants: list(participant),
    slots: listOfKnown(slotContent),
    capabilities: optional(list(text)),
    role: optional(oneOfOr(ROLES, 'guest')),
    lobby: optional(list(knock)),
  }),
  waiting: object<Of<ServerMessage, 'waiting'>>({ type: oneOf(['waiting']), participant: text }),
  knocked: object<Of<ServerMessage, 'knocked'>>({ type: oneOf(['knocked']), knock }),
  'knock-ended': object<Of<ServerMessage, 'knock-ended'>>({ type: oneOf(['knock-ended']), participant: text }),
  'ice-servers': object<Of<ServerMessage, 'ice-servers'>>({ type: oneOf(['ice-servers']), ice: iceServers }),
  answer: object<Of<ServerMessage, 'answer'>>({ type: oneOf(['answer']), answer }),
  'participant-joined': object<Of<ServerMessage, 'participant-joined'>>({
    type: oneOf(['participant-joined']),
    participant,
  }),
  'participant-changed': object<Of<ServerMessage, 'participant-changed'>>({
    type: oneOf(['participant-changed']),
    participant,
  }),
  'participant-left': object<Of<ServerMessage, 'participant-left'>>({
    type: oneOf(['participant-left']),
    participant: text,
  }),
  slots: object<Of<ServerMessage, 'slots'>>({ type: oneOf(['slots']), slots: listOfKnown(slotContent) }),
  speakers: object<Of<ServerMessage, 'speakers'>>({ type: oneOf(['speakers']), participants: list(text) }),
  'media-lost': object<Of<ServerMessage, 'media-lost'>>({ type: oneOf(['media-lost']) }),
  error: object<Of<ServerMessage, 'error'>>({ type: oneOf(['error']), code: oneOfOr(ERROR_CODES, 'unknown'), fatal: flag }),
};

const CLIENT: Shapes<ClientMessage> = {
  join: object<Of<ClientMessage, 'join'>>({
    type: oneOf(['join']),
    version: count,
    room: text,
    name: text,
    resume: optional(text),
    offer: optional(offer),
    media: mediaState,
    capabilities: optional(list(text)),
    claims: optional(claims),
  }),
  admit: object<Of<ClientMessage, 'admit'>>({ type: oneOf(['admit']), participant: text }),
  reject: object<Of<ClientMessage, 'reject'>>({ type: oneOf(['reject']), participant: text }),
  'ice-servers': object<Of<ClientMessage, 'ice-servers'>>({ type: oneOf(['ice-servers']), room: text }),
  offer: object<Of<ClientMessage, 'offer'>>({ type: oneOf(['offer']), offer }),
  media: object<Of<ClientMessage, 'media'>>({ type: oneOf(['media']), media: mediaState }),
  leave: object<Of<ClientMessage, 'leave'>>({ type: oneOf(['leave']) }),
};

function parse<M extends { type: string }>(shapes: Shapes<M>, json: string): M | undefined {
  try {
    const value: unknown = JSON.parse(json);
    if (typeof value !== 'object' || value === null) return undefined;
    const type = (value as { type?: unknown }).type;
    if (typeof type !== 'string' || !Object.hasOwn(shapes, type)) return undefined;
    return shapes[type as M['type']](value);
  } catch (error) {
    if (error instanceof ShapeError || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** `undefined`: not a message that this client knows; it is ignored, as the protocol says. */
export function parseServerMessage(json: string): ServerMessage | undefined {
  return parse<ServerMessage>(SERVER, json);
}

/** For tests and tools: the client itself only sends these. */
export function parseClientMessage(json: string): ClientMessage | undefined {
  return parse<ClientMessage>(CLIENT, json);
}
