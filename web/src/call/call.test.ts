import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Participant, ServerMessage } from '../protocol/messages';
import { Call } from './call';
import { FakePeerConnection, FakeSocket, fakeIce, fakeLocal } from '../../test/fakes';
import {
  ANSWER_TIMEOUT_MS,
  CONNECT_TIMEOUT_MS,
  DISCONNECTED_GRACE_MS,
  ICE_SERVERS_TIMEOUT_MS,
  NO_RELAY_RETRY_MS,
  RESTART_TIMEOUT_MS,
  RETRY_FIRST_MS,
  RETRY_MAX_MS,
} from './limits';

const SENDERS = 4;

function person(id: string, media: Partial<Participant['media']> = {}): Participant {
  return {
    id,
    name: `Name of ${id}`,
    media: { microphone: true, camera: true, screen: false, ...media },
    connected: true,
  };
}

function crowd(size: number): Participant[] {
  return Array.from({ length: size }, (_, index) => person(`p${index}`));
}

let news: string[];
let local: ReturnType<typeof fakeLocal>;
let call: Call;

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, 'random').mockReturnValue(0.5);
  FakeSocket.all = [];
  FakeSocket.iceAsked = 0;
  FakeSocket.answersIce = true;
  FakePeerConnection.all = [];
  news = [];
  local = fakeLocal();
  call = new Call({
    url: 'ws://test/api/signalling',
    room: 'Kulturverein Marion',
    local: local.local,
    makeSocket: (url) => new FakeSocket(url) as unknown as WebSocket,
    makePeerConnection: (iceServers) =>
      new FakePeerConnection({ bundlePolicy: 'max-bundle', iceServers }) as unknown as RTCPeerConnection,
    presence: (kind, participant) => news.push(`${kind} ${participant.id}`),
  });
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const settle = (ms = 0): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);

async function deliver(message: ServerMessage): Promise<void> {
  FakeSocket.last.deliver(message);
  await settle();
}

function welcome(over: Partial<Extract<ServerMessage, { type: 'welcome' }>> = {}): ServerMessage {
  return {
    type: 'welcome',
    participant: 'me',
    resume: 'secret',
    room: 'Kulturverein Marion',
    participants: [],
    slots: [],
    ...over,
  };
}

/** In the room, media connected. */
async function joined(participants: Participant[] = []): Promise<void> {
  call.connect();
  FakeSocket.last.accept();
  await call.join('Anna');
  const offer = FakeSocket.last.of('join')[0]?.offer;
  await deliver(welcome({ answer: { id: offer?.id ?? 0, sdp: 'answer 1' }, participants }));
  FakePeerConnection.last.become('connected');
}

/** The socket breaks and the next one is accepted; returns it. */
async function reconnected(): Promise<FakeSocket> {
  FakeSocket.last.break();
  await settle(RETRY_FIRST_MS);
  FakeSocket.last.accept();
  await settle();
  return FakeSocket.last;
}

describe('joining', () => {
  test('all is prepared beforehand, and the click costs one message', async () => {
    call.connect();
    FakeSocket.last.accept();
    await call.prepare();
    expect(FakeSocket.last.sent).toEqual([]);
    local.set('camera', 'webcam');
    await call.join('Anna');
    expect(FakeSocket.last.sent).toEqual([
      {
        type: 'join',
        version: 1,
        room: 'Kulturverein Marion',
        name: 'Anna',
        media: { microphone: false, camera: true, screen: false },
        offer: {
          id: 1,
          connection: 1,
          sdp: 'offer 1',
          sends: { microphone: '0', camera: '1', screen: '2', screenAudio: '3' },
          slots: Array.from({ length: 8 }, (_, n) => ({ audio: String(4 + 2 * n), video: String(5 + 2 * n) })),
        },
      },
    ]);
    expect(FakePeerConnection.last.transceivers[1]?.sender.track).toEqual({ name: 'webcam' });
    await deliver(welcome({ answer: { id: 1, sdp: 'answer 1' }, participants: [person('b')] }));
    expect(call.phase.value).toBe('joined');
    expect(FakePeerConnection.last.answers).toEqual(['answer 1']);
    expect(news).toEqual([]);
  });

  test('a click before anything is ready waits for both', async () => {
    const joining = call.join('Anna');
    expect(FakeSocket.last.sent).toEqual([]);
    FakeSocket.last.accept();
    await joining;
    expect(FakeSocket.last.of('join')).toHaveLength(1);
  });

  test('a socket that breaks before the welcome is opened again and the same offer sent', async () => {
    call.connect();
    FakeSocket.last.accept();
    await call.join('Anna');
    const second = await reconnected();
    expect(second.of('join')[0]?.offer?.id).toBe(1);
    expect(second.of('join')[0]?.resume).toBeUndefined();
  });

  test('a join without an answer is taken back before the next one', async () => {
    const joining = call.join('Anna');
    const first = FakeSocket.last;
    first.accept();
    await joining;
    await settle(ANSWER_TIMEOUT_MS);
    expect(first.closedWith).toBe(1000);
    await settle(RETRY_FIRST_MS);
    FakeSocket.last.accept();
    expect(FakeSocket.last).not.toBe(first);
    expect(FakeSocket.last.of('join')).toHaveLength(1);
  });

  test('without a relay it asks again until there is one', async () => {
    call.connect();
    FakeSocket.last.accept();
    await call.join('Anna');
    await deliver({ type: 'error', code: 'no-relay', fatal: false });
    expect(call.phase.value).toBe('joining');
    expect(call.trouble.value).toBe('no-relay');
    await settle(NO_RELAY_RETRY_MS);
    expect(FakeSocket.last.of('join')).toHaveLength(2);
    await deliver(welcome({ answer: { id: 1, sdp: 'answer' } }));
    expect(call.trouble.value).toBeUndefined();
  });

  test.each(['room-full', 'bad-name', 'version'] as const)('%s ends the attempt and says why', async (code) => {
    call.connect();
    FakeSocket.last.accept();
    await call.join('Anna');
    await deliver({ type: 'error', code, fatal: true });
    expect(call.phase.value).toBe('failed');
    expect(call.trouble.value).toBe(code);
    expect(FakePeerConnection.last.closed).toBe(true);
    await settle(60_000);
    expect(FakeSocket.all).toHaveLength(1);
  });

  test('what changed between join and welcome is told after it', async () => {
    call.connect();
    FakeSocket.last.accept();
    await call.join('Anna');
    local.set('microphone', 'headset');
    expect(FakeSocket.last.of('media')).toEqual([]);
    await deliver(welcome({ answer: { id: 1, sdp: 'answer' } }));
    expect(FakeSocket.last.of('media').map(({ media }) => media.microphone)).toEqual([true]);
  });
});

describe('TURN servers', () => {
  test('the first connection has them, and the welcome brings newer ones for later', async () => {
    call.connect();
    FakeSocket.last.accept();
    await call.prepare();
    expect(FakePeerConnection.last.users).toEqual(['user 1']);
    await call.join('Anna');
    await deliver(welcome({ answer: { id: 1, sdp: 'answer' }, ice: fakeIce(7) }));
    expect(FakeSocket.iceAsked).toBe(1);
    expect((await call.ice.get()).servers[0]?.username).toBe('user 7');
    // In use they come with the next restart only.
    expect(FakePeerConnection.last.users).toEqual(['user 1']);
  });

  test('a server that has none, or does not answer, keeps nobody out for long', async () => {
    FakeSocket.answersIce = false;
    call.connect();
    FakeSocket.last.accept();
    const joining = call.join('Anna');
    await settle(ICE_SERVERS_TIMEOUT_MS);
    await joining;
    expect(FakePeerConnection.last.users).toEqual([]);
    expect(FakeSocket.last.of('join')).toHaveLength(1);
  });

  test('an ICE restart and a new connection get fresh ones', async () => {
    await joined();
    FakePeerConnection.last.become('failed');
    await settle();
    expect(FakePeerConnection.last.restarts).toEqual([false, true]);
    expect(FakePeerConnection.last.users).toEqual(['user 2']);
    await deliver({ type: 'media-lost' });
    expect(FakePeerConnection.all).toHaveLength(2);
    expect(FakePeerConnection.last.users).toEqual(['user 3']);
  });

  test('growing keeps the servers: another list would restart ICE', async () => {
    await joined(crowd(9));
    expect(FakeSocket.last.of('offer')).toHaveLength(1);
    expect(FakePeerConnection.last.users).toEqual(['user 1']);
    expect(FakeSocket.iceAsked).toBe(1);
  });

  test('while new ones are asked for, nothing is offered for the connection that is given up', async () => {
    await joined();
    FakeSocket.answersIce = false;
    await deliver({ type: 'media-lost' });
    for (const participant of crowd(20)) await deliver({ type: 'participant-joined', participant });
    await deliver({ type: 'media-lost' });
    expect(FakeSocket.last.of('offer')).toEqual([]);
    await settle(ICE_SERVERS_TIMEOUT_MS);
    expect(FakePeerConnection.all).toHaveLength(2);
    const offers = FakeSocket.last.of('offer').map(({ offer }) => [offer.connection, offer.slots.length]);
    expect(offers).toEqual([[2, 24]]);
    expect(FakePeerConnection.last.users).toEqual(['user 1']);
  });
});

describe('in the room', () => {
  test('people come, change and go', async () => {
    await joined([person('a')]);
    await deliver({ type: 'participant-joined', participant: person('b') });
    await deliver({ type: 'slots', slots: [{ slot: 3, participant: 'b', source: 'person' }] });
    await deliver({ type: 'speakers', participants: ['b'] });
    await deliver({ type: 'participant-changed', participant: person('a', { camera: false }) });
    expect([...call.participants.value.keys()]).toEqual(['a', 'b']);
    expect(call.participants.value.get('a')?.media.camera).toBe(false);
    expect(call.speakers.value).toEqual(['b']);
    const slot = call.slotOf('b', 'person');
    expect(slot?.index).toBe(3);
    expect(slot?.video).toBe(FakePeerConnection.last.transceivers[SENDERS + 2 * 3 + 1]?.receiver.track);
    expect(call.slotOf('b', 'screen')).toBeUndefined();
    await deliver({ type: 'participant-left', participant: 'b' });
    expect(call.slotOf('b', 'person')).toBeUndefined();
    await deliver({ type: 'participant-left', participant: 'never-there' });
    expect(news).toEqual(['joined b', 'left b']);
  });

  test('nobody negotiates when somebody joins or leaves', async () => {
    await joined();
    for (const participant of crowd(8)) await deliver({ type: 'participant-joined', participant });
    expect(FakeSocket.last.of('offer')).toEqual([]);
  });

  test('a device change needs no negotiation, and others hear what is on', async () => {
    await joined();
    const [, camera, screen] = FakePeerConnection.last.transceivers;
    local.set('camera', 'webcam');
    local.set('camera', 'better webcam');
    expect(camera?.sender.track).toEqual({ name: 'better webcam' });
    local.set('camera', null);
    expect(camera?.sender.track).toBeNull();
    local.set('screen', 'window');
    expect(screen?.sender.track).toEqual({ name: 'window' });
    expect(FakeSocket.last.of('media').map(({ media }) => [media.camera, media.screen])).toEqual([
      [true, false],
      [true, false],
      [false, false],
      [false, true],
    ]);
    expect(FakeSocket.last.of('offer')).toEqual([]);
  });

  test('slots that a connection lacks are ignored', async () => {
    await joined([person('a')]);
    await deliver({ type: 'slots', slots: [{ slot: 40, participant: 'a', source: 'person' }] });
    expect(call.slotOf('a', 'person')).toBeUndefined();
  });

  test('leaving says goodbye and closes everything', async () => {
    await joined([person('a')]);
    call.leave();
    expect(FakeSocket.last.of('leave')).toHaveLength(1);
    expect(FakeSocket.last.closedWith).toBe(1000);
    expect(FakePeerConnection.last.closed).toBe(true);
    expect(call.phase.value).toBe('left');
    await settle(60_000);
    expect(FakeSocket.all).toHaveLength(1);
    local.set('camera', 'webcam');
    expect(FakePeerConnection.all).toHaveLength(1);
  });
});

describe('more people than slots', () => {
  test('the connection grows by eight, keeping its first slots', async () => {
    await joined(crowd(7));
    await deliver({ type: 'participant-changed', participant: person('p0', { screen: true }) });
    expect(FakeSocket.last.of('offer')).toEqual([]);
    await deliver({ type: 'participant-joined', participant: person('late') });
    const [offer] = FakeSocket.last.of('offer').map((message) => message.offer);
    expect(offer?.slots).toHaveLength(16);
    expect(offer?.slots[0]).toEqual({ audio: '4', video: '5' });
    expect(offer?.connection).toBe(1);
    expect(FakePeerConnection.last.restarts).toEqual([false, false]);
  });

  test('one offer at a time: what is wanted meanwhile follows the answer', async () => {
    await joined(crowd(9));
    await deliver({ type: 'participant-joined', participant: person('x') });
    for (const participant of crowd(20)) await deliver({ type: 'participant-joined', participant });
    const offers = FakeSocket.last.of('offer');
    expect(offers.map(({ offer }) => offer.slots.length)).toEqual([16]);
    await deliver({ type: 'answer', answer: { id: 99, sdp: 'of something else' } });
    expect(FakePeerConnection.last.answers).toEqual(['answer 1']);
    await deliver({ type: 'answer', answer: { id: offers[0]?.offer.id ?? 0, sdp: 'answer 2' } });
    expect(FakeSocket.last.of('offer').map(({ offer }) => offer.slots.length)).toEqual([16, 24]);
  });

  test('there is an end to it', async () => {
    await joined(crowd(300));
    expect(FakeSocket.last.of('offer')[0]?.offer.slots).toHaveLength(48);
  });
});

describe('when the socket is lost', () => {
  test('the identity comes back, media and tiles stay', async () => {
    await joined([person('a'), person('b')]);
    const connection = FakePeerConnection.last;
    FakeSocket.last.break();
    expect(call.lost.value).toBe(true);
    expect([...call.participants.value.keys()]).toEqual(['a', 'b']);
    await settle(RETRY_FIRST_MS);
    const socket = FakeSocket.last;
    socket.accept();
    expect(socket.of('join')[0]).toMatchObject({ resume: 'secret', name: 'Anna' });
    expect(socket.of('join')[0]?.offer).toBeUndefined();
    await deliver(welcome({ participants: [person('c'), person('b'), person('a')] }));
    expect(call.lost.value).toBe(false);
    // The old ones keep their places.
    expect([...call.participants.value.keys()]).toEqual(['a', 'b', 'c']);
    expect(news).toEqual(['joined c']);
    expect(connection.closed).toBe(false);
    expect(FakePeerConnection.all).toHaveLength(1);
  });

  test('attempts go on with growing pauses, and start small again after success', async () => {
    await joined();
    for (let attempt = 0; attempt < 8; attempt += 1) {
      FakeSocket.last.break();
      await settle(RETRY_MAX_MS);
    }
    expect(FakeSocket.all).toHaveLength(9);
    FakeSocket.last.break();
    await settle(RETRY_MAX_MS - 1);
    expect(FakeSocket.all).toHaveLength(9);
    // The network is back: at once.
    call.connect();
    expect(FakeSocket.all).toHaveLength(10);
    FakeSocket.last.accept();
    await deliver(welcome());
    FakeSocket.last.break();
    await settle(RETRY_FIRST_MS);
    expect(FakeSocket.all).toHaveLength(11);
  });

  test('an offer under way is sent again', async () => {
    await joined(crowd(9));
    const [before] = FakeSocket.last.of('offer');
    const socket = await reconnected();
    expect(socket.of('offer')).toEqual([]);
    await deliver(welcome({ participants: crowd(9) }));
    expect(socket.of('offer').map(({ offer }) => offer.id)).toEqual([before?.offer.id]);
  });

  test('changes meanwhile go along with the join', async () => {
    await joined();
    FakeSocket.last.break();
    local.set('camera', 'webcam');
    await settle(RETRY_FIRST_MS);
    FakeSocket.last.accept();
    expect(FakeSocket.last.of('join')[0]?.media.camera).toBe(true);
    await deliver(welcome());
    expect(FakeSocket.last.of('media')).toEqual([]);
  });

  test('a socket that opens and then says nothing is given up without a goodbye', async () => {
    await joined();
    const socket = await reconnected();
    await settle(ANSWER_TIMEOUT_MS);
    expect(socket.closedWith).toBe(4000);
    await settle(RETRY_MAX_MS);
    expect(FakeSocket.last).not.toBe(socket);
  });

  test('an identity that the server refuses is given up for a new one', async () => {
    await joined([person('a')]);
    const old = await reconnected();
    await deliver({ type: 'error', code: 'bad-message', fatal: true });
    expect(old.closedWith).toBeDefined();
    await settle(RETRY_MAX_MS);
    FakeSocket.last.accept();
    await settle();
    const [join] = FakeSocket.last.of('join');
    expect(join?.resume).toBeUndefined();
    expect(join?.offer?.connection).toBe(2);
  });

  test('too many reconnects at once: it waits and goes on', async () => {
    await joined();
    await reconnected();
    await deliver({ type: 'error', code: 'rate-limited', fatal: true });
    FakeSocket.last.break();
    await settle(RETRY_MAX_MS);
    FakeSocket.last.accept();
    expect(FakeSocket.last.of('join')[0]?.resume).toBe('secret');
    await deliver(welcome());
    expect(call.lost.value).toBe(false);
  });

  test('replaced by another window: the end', async () => {
    await joined();
    await deliver({ type: 'error', code: 'replaced', fatal: true });
    expect(call.phase.value).toBe('failed');
    await settle(60_000);
    expect(FakeSocket.all).toHaveLength(1);
  });
});

describe('when media is lost', () => {
  test('a short break heals by itself', async () => {
    await joined();
    FakePeerConnection.last.become('disconnected');
    expect(call.lost.value).toBe(true);
    await settle(DISCONNECTED_GRACE_MS - 1);
    FakePeerConnection.last.become('connected');
    await settle(60_000);
    expect(call.lost.value).toBe(false);
    expect(FakeSocket.last.of('offer')).toEqual([]);
  });

  test('then comes an ICE restart, and if that does not help a new connection, again and again', async () => {
    await joined();
    const first = FakePeerConnection.last;
    first.become('disconnected');
    await settle(DISCONNECTED_GRACE_MS);
    expect(first.restarts).toEqual([false, true]);
    const [restart] = FakeSocket.last.of('offer');
    await deliver({ type: 'answer', answer: { id: restart?.offer.id ?? 0, sdp: 'answer 2' } });
    expect(first.answers).toEqual(['answer 1', 'answer 2']);
    await settle(RESTART_TIMEOUT_MS);
    expect(first.closed).toBe(true);
    const second = FakeSocket.last.of('offer').at(-1)?.offer;
    expect(second?.connection).toBe(2);
    await deliver({ type: 'answer', answer: { id: second?.id ?? 0, sdp: 'answer 3' } });
    await settle(CONNECT_TIMEOUT_MS);
    const third = FakeSocket.last.of('offer').at(-1)?.offer;
    expect(third?.connection).toBe(3);
    await deliver({ type: 'answer', answer: { id: third?.id ?? 0, sdp: 'answer 4' } });
    FakePeerConnection.last.become('connected');
    expect(call.lost.value).toBe(false);
    await settle(60_000);
    expect(FakePeerConnection.all).toHaveLength(3);
  });

  test('the server asks for a new connection, which takes over devices and slots', async () => {
    local.set('camera', 'webcam');
    await joined(crowd(12));
    await deliver({ type: 'media-lost' });
    const offer = FakeSocket.last.of('offer').at(-1)?.offer;
    expect(offer?.connection).toBe(2);
    expect(offer?.slots).toHaveLength(16);
    expect(FakePeerConnection.all[0]?.closed).toBe(true);
    expect(FakePeerConnection.last.transceivers[1]?.sender.track).toEqual({ name: 'webcam' });
    expect(call.lost.value).toBe(true);
    await deliver({ type: 'answer', answer: { id: offer?.id ?? 0, sdp: 'answer' } });
    FakePeerConnection.last.become('connected');
    expect(call.lost.value).toBe(false);
  });

  test('with the relay away the offer is repeated until it is answered', async () => {
    await joined();
    FakePeerConnection.last.become('failed');
    await settle(0);
    await deliver({ type: 'error', code: 'no-relay', fatal: false });
    await settle(NO_RELAY_RETRY_MS);
    const ids = FakeSocket.last.of('offer').map(({ offer }) => offer.id);
    expect(ids).toEqual([2, 2]);
    expect(call.phase.value).toBe('joined');
  });

  test('while the socket is away too, the new connection waits for the welcome', async () => {
    await joined();
    FakePeerConnection.last.become('disconnected');
    FakeSocket.last.break();
    for (let second = 0; second < 20; second += 1) {
      if (FakeSocket.last.readyState !== 3) FakeSocket.last.break();
      await settle(1_000);
    }
    expect(FakePeerConnection.all).toHaveLength(1);
    await settle(RETRY_MAX_MS);
    FakeSocket.last.accept();
    await deliver(welcome());
    expect(FakeSocket.last.of('offer').at(-1)?.offer.connection).toBe(2);
  });

  test('what has healed before the welcome is left alone', async () => {
    await joined();
    FakePeerConnection.last.become('disconnected');
    FakeSocket.last.break();
    for (let second = 0; second < 20; second += 1) {
      if (FakeSocket.last.readyState !== 3) FakeSocket.last.break();
      await settle(1_000);
    }
    FakePeerConnection.last.become('connected');
    await settle(RETRY_MAX_MS);
    FakeSocket.last.accept();
    await deliver(welcome());
    expect(FakePeerConnection.all).toHaveLength(1);
    expect(FakeSocket.last.of('offer')).toEqual([]);
  });

  test('an offer that the server refuses leads to a new connection', async () => {
    await joined(crowd(9));
    await deliver({ type: 'error', code: 'bad-offer', fatal: false });
    await settle(RESTART_TIMEOUT_MS);
    expect(FakeSocket.last.of('offer').at(-1)?.offer.connection).toBe(2);
  });

  test('an answer that the browser refuses leads to a new connection', async () => {
    const complaint = vi.spyOn(console, 'error').mockImplementation(() => undefined);
    await joined(crowd(9));
    FakePeerConnection.last.failAnswers = true;
    const [offer] = FakeSocket.last.of('offer');
    await deliver({ type: 'answer', answer: { id: offer?.offer.id ?? 0, sdp: 'rubbish' } });
    expect(complaint).toHaveBeenCalledOnce();
    await settle(NO_RELAY_RETRY_MS);
    expect(FakeSocket.last.of('offer').at(-1)?.offer.connection).toBe(2);
  });
});

describe('what a later server says', () => {
  test('a message of an unknown type changes nothing', async () => {
    await joined([person('b')]);
    const sent = FakeSocket.last.sent.length;
    FakeSocket.last.onmessage?.({ data: '{"type":"weather","sun":true}' });
    await settle(2 * ANSWER_TIMEOUT_MS);
    expect(call.phase.value).toBe('joined');
    expect(call.lost.value).toBe(false);
    expect(FakeSocket.all).toHaveLength(1);
    expect(FakeSocket.last.sent).toHaveLength(sent);
  });

  test('an unknown reason neither times the join out nor repeats it', async () => {
    call.connect();
    FakeSocket.last.accept();
    await call.join('Anna');
    FakeSocket.last.onmessage?.({ data: '{"type":"error","code":"in-the-queue","fatal":false}' });
    await settle(3 * ANSWER_TIMEOUT_MS);
    expect(call.phase.value).toBe('joining');
    expect(call.trouble.value).toBe('unknown');
    expect(FakeSocket.all).toHaveLength(1);
    expect(FakeSocket.last.of('join')).toHaveLength(1);
    const offer = FakeSocket.last.of('join')[0]?.offer;
    await deliver(welcome({ answer: { id: offer?.id ?? 0, sdp: 'answer 1' } }));
    expect(call.phase.value).toBe('joined');
    expect(call.trouble.value).toBeUndefined();
  });

  test('an unknown reason in the call does not disturb it', async () => {
    await joined([person('b')]);
    FakeSocket.last.onmessage?.({ data: '{"type":"error","code":"too-loud","fatal":false}' });
    await settle(2 * ANSWER_TIMEOUT_MS);
    expect(call.phase.value).toBe('joined');
    expect(call.trouble.value).toBeUndefined();
    expect(FakeSocket.all).toHaveLength(1);
  });

  test('an unknown reason that is final ends the call with a sentence', async () => {
    await joined([person('b')]);
    FakeSocket.last.onmessage?.({ data: '{"type":"error","code":"closed-for-summer","fatal":true}' });
    await settle();
    expect(call.phase.value).toBe('failed');
    expect(call.trouble.value).toBe('unknown');
  });
});

describe('another window', () => {
  test('who goes on in another window is told so here', async () => {
    await joined();
    call.moveAway();
    expect(FakeSocket.last.of('leave')).toHaveLength(1);
    expect(call.phase.value).toBe('failed');
    expect(call.trouble.value).toBe('replaced');
  });
});
