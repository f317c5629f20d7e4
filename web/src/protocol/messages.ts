/**
 * The messages between this client and control, mirroring `control/signalling/src/lib.rs`, which defines them.
 * Both sides parse the same fixtures (`control/signalling/fixtures`).
 */

/** Raised when a message changes in a way that the other side cannot ignore. */
export const VERSION = 1;

export type ClientMessage =
  | {
      type: 'join';
      version: number;
      /** As typed; control normalises it. */
      room: string;
      name: string;
      /** Of an earlier `welcome`: come back as the same participant. */
      resume?: string;
      /** Needed without `resume`. */
      offer?: Offer;
      media: MediaState;
      /** What this client can do beyond the first message set. */
      capabilities?: string[];
      /** What this client shows to be let in. */
      claims?: Claims;
    }
  /** Asks for TURN servers, also before `join`. Answered by `ice-servers`. */
  | { type: 'ice-servers'; room: string }
  /** More slots, an ICE restart, or a new PeerConnection (a larger `connection`). Answered by `answer`. */
  | { type: 'offer'; offer: Offer }
  | { type: 'media'; media: MediaState }
  /** A moderator lets somebody in who waits, or turns them away. */
  | { type: 'admit'; participant: string }
  | { type: 'reject'; participant: string }
  | { type: 'leave' };

/** What a client shows to be let in. */
export interface Claims {
  /** The room's password. */
  password?: string;
  /** A signed statement of who this is. */
  token?: string;
  /** The secret by which moderators are known. */
  moderator?: string;
}

/** An SDP offer and what its m-lines are for. */
export interface Offer {
  /** Counts the offers of this client; the `answer` repeats it. */
  id: number;
  /** Counts the PeerConnections of this participant, from 1. */
  connection: number;
  sdp: string;
  sends: Sends;
  /** Receiving slots in order; later offers of the same connection may only append. */
  slots: SlotMids[];
}

/** MIDs of the sending m-lines. */
export interface Sends {
  microphone?: string;
  camera?: string;
  screen?: string;
  screenAudio?: string;
}

export interface SlotMids {
  audio: string;
  video: string;
}

/** What a participant sends at the moment. */
export interface MediaState {
  microphone: boolean;
  camera: boolean;
  screen: boolean;
}

export type ServerMessage =
  | {
      type: 'welcome';
      /** The client's own id. */
      participant: string;
      /** Secret: opens this identity again. Kept in memory only. */
      resume: string;
      /** The room's name as it was first typed. */
      room: string;
      answer?: Answer;
      /** Credentials to go on with, from now on. */
      ice?: IceServers;
      /** The others. */
      participants: Participant[];
      slots: SlotContent[];
      /** What the server can do beyond the first message set. */
      capabilities?: string[];
      /** The client's own role; a guest's is left out. */
      role?: Role;
      /** Who waits in the lobby; moderators only are told. */
      lobby?: Knock[];
    }
  /** Instead of `welcome`: the client waits in the lobby until `welcome` or `error` comes. */
  | { type: 'waiting'; participant: string }
  /** For moderators: somebody waits in the lobby, or waits there no more. */
  | { type: 'knocked'; knock: Knock }
  | { type: 'knock-ended'; participant: string }
  | { type: 'ice-servers'; ice: IceServers }
  | { type: 'answer'; answer: Answer }
  | { type: 'participant-joined'; participant: Participant }
  | { type: 'participant-changed'; participant: Participant }
  | { type: 'participant-left'; participant: string }
  /** All slots that show something: one that is not named is empty. */
  | { type: 'slots'; slots: SlotContent[] }
  /** Who speaks, loudest first. */
  | { type: 'speakers'; participants: string[] }
  /** The relay has lost this client's media: offer again with a new PeerConnection. */
  | { type: 'media-lost' }
  | { type: 'error'; code: Refusal; fatal: boolean };

/** Why a request failed; `unknown`: for a reason that a later release has. */
export type Refusal = ErrorCode | 'unknown';

export interface Answer {
  /** Of the offer that is answered. */
  id: number;
  sdp: string;
}

/** Where TURN is to be had. */
export interface IceServers {
  /** As `RTCConfiguration.iceServers`; empty where there is no TURN. */
  servers: IceServer[];
  /** For tests of a network only: the same server at the port at which media arrives directly. */
  direct?: string;
  /** How long the credentials are good from now on. */
  lifetimeSeconds: number;
}

/** An `RTCIceServer`. */
export interface IceServer {
  urls: string[];
  username: string;
  /** Secret. Kept in memory only. */
  credential: string;
}

/** Another participant. */
export interface Participant {
  id: string;
  name: string;
  media: MediaState;
  /** `false` while the participant's connection is lost and may still come back. */
  connected: boolean;
  /** A guest's is left out. */
  role?: Role;
}

export const ROLES = ['guest', 'moderator'] as const;
/** What a participant may do to others. */
export type Role = (typeof ROLES)[number];

/** Somebody who waits in the lobby. */
export interface Knock {
  id: string;
  name: string;
}

/** What one slot shows. */
export interface SlotContent {
  /** Index into the offer's `slots`. */
  slot: number;
  participant: string;
  source: Source;
}

export const SOURCES = ['person', 'screen'] as const;
/** Microphone and camera, or the shared screen and its sound. */
export type Source = (typeof SOURCES)[number];

export const ERROR_CODES = [
  'bad-message',
  'version',
  'bad-room-name',
  'bad-name',
  'bad-offer',
  'room-full',
  'server-full',
  'rate-limited',
  'no-relay',
  'replaced',
] as const;
export type ErrorCode = (typeof ERROR_CODES)[number];
