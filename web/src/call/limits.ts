/** Times and counts of the call logic. Those that mirror a limit of the server say so. */

/** Receiving slots of a fresh connection: most rooms are smaller, and each slot lengthens the offer by 2 m-lines. */
export const SLOTS_AT_START = 8;
export const SLOTS_STEP = 8;
/** The largest multiple of `SLOTS_STEP` below the server's SLOTS_PER_PARTICIPANT (50). */
export const SLOTS_MAX = 48;

/** Back-off between attempts to open the socket: 0.2 s doubled up to 3 s, ± 20 % so that a restarted server is not
 *  met by everybody in the same instant. */
export const RETRY_FIRST_MS = 200;
export const RETRY_MAX_MS = 3_000;
export const RETRY_JITTER = 0.2;
/** A socket that has not opened by then is given up. */
export const OPEN_TIMEOUT_MS = 6_000;
/** An offer or join not answered by then: the socket is dead though nobody said so. */
export const ANSWER_TIMEOUT_MS = 6_000;

/** Asking for TURN servers holds a connection up no longer than this: most networks need none. */
export const ICE_SERVERS_TIMEOUT_MS = 2_000;
/** A path to the server that has not been found by then is none: four repetitions of a lost first packet. */
export const PATH_TIMEOUT_MS = 5_000;

/** `disconnected` often heals by itself within a moment (a lost check); then comes the ICE restart. */
export const DISCONNECTED_GRACE_MS = 1_000;
/** An ICE restart that has not helped by then is followed by a new PeerConnection, and that by another. */
export const RESTART_TIMEOUT_MS = 8_000;
export const CONNECT_TIMEOUT_MS = 12_000;

/** Wait before asking again when the server had no relay, or had enough of us. */
export const NO_RELAY_RETRY_MS = 1_000;
export const RATE_LIMITED_RETRY_MS = 3_000;
