// The room: what is seen, by whom, with which keys, and what happens to a page's call in a person's day.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { barriers } from './barriers.mjs';
import { crowd } from './crowd.mjs';
import { Person, launch } from './people.mjs';
import { Service, until } from './service.mjs';

const phone = { width: 390, height: 844, isMobile: true, hasTouch: true, deviceScaleFactor: 2 };
const eleven = ['Änne Öztürk', 'Boris', 'Fatma', 'Deniz', 'Karl-Heinz', 'Gerda', 'Tim', 'Lotte', 'Noah', 'Ömer', 'Zoë'];
let service, chromium, firefox, host;
let rooms = 0;

before(async () => {
    service = await Service.start();
    [chromium, firefox] = await Promise.all([launch('chromium'), launch('firefox')]);
    host = await Person.open(chromium, service, 'host');
    await host.page.goto(service.url);
});

after(async () => {
    await Promise.all([chromium, firefox].map((browser) => browser?.close()));
    await service?.stop();
});

/** Somebody in a room of their own, with others who cost little. */
async function inRoom(t, { browser = chromium, others = [], viewport, camera = true, before } = {}) {
    const room = `Probe${(rooms += 1)}`;
    const person = await Person.open(browser, service, 'Marion', viewport ? { viewport } : {});
    t.after(() => person.page.close().catch(() => undefined));
    if (before) await person.page.evaluateOnNewDocument(before);
    await person.join(room);
    const people = others.length ? await crowd(host.page, service, room, others, { camera }) : undefined;
    if (people) t.after(() => people.leave());
    for (const name of others.slice(0, 1)) await person.see('group', name);
    return { person, people, room };
}

const reads = (person, text, limit = 10_000) =>
    until(`${person.name} reads "${text}"`, () => person.page.evaluate((text) => document.body.innerText.includes(text), text), limit);
const doesNotRead = (person, text, limit = 10_000) =>
    until(`${person.name} no longer reads "${text}"`, () => person.page.evaluate((text) => !document.body.innerText.includes(text), text), limit);
const tiles = (person) => person.page.$$eval('[role=group].tile', (all) => all.map((tile) => tile.getAttribute('aria-label')));
const focused = (person) => person.page.evaluate(() => document.activeElement?.getAttribute('aria-label') ?? document.activeElement?.textContent);
const box = async (person, kind, name) => (await person.see(kind, name)).boundingBox();

test('twelve people have pages on a phone, with players for what is seen and no more', async (t) => {
    const { person } = await inRoom(t, { others: eleven, viewport: phone });
    await person.see('navigation', 'Pages of tiles');
    const first = (await tiles(person)).filter((name) => name !== 'Marion');
    assert.ok(first.length >= 6 && first.length <= 8, `six to eight people on a page: ${first}`);
    const videos = () => person.page.$$eval('video', (all) => all.length);
    assert.ok((await videos()) <= first.length + 1, 'a player for each tile on the page and for the own picture');
    const next = await person.see('button', 'Next page');
    await next.focus();
    await person.page.keyboard.press('Enter');
    await until('the second page', async () => !(await tiles(person)).includes(first[0]));
    const second = (await tiles(person)).filter((name) => name !== 'Marion');
    assert.deepEqual([...first, ...second].sort(), [...eleven].sort(), 'nobody is missing, nobody is there twice');
    await until('players of the second page only', async () => (await videos()) <= second.length + 1);
    assert.equal(await focused(person), 'Next page', 'the focus stays on the button');
    assert.deepEqual(await barriers(person.page), []);
});

test('on a phone the own picture floats and hides little', async (t) => {
    const { person } = await inRoom(t, { others: ['Boris'], viewport: phone });
    const own = await box(person, 'group', 'Marion');
    const other = await box(person, 'group', 'Boris');
    assert.ok(own.width * own.height < (other.width * other.height) / 8, JSON.stringify({ own, other }));
    assert.ok(other.width * other.height > (phone.width * phone.height) / 2, 'the other person has most of the page');
});

test('a person can be pinned from the list, the speaker view shows one large, and all is undone the same way', async (t) => {
    const { person } = await inRoom(t, { others: eleven.slice(0, 4) });
    const area = async (name) => (({ width, height }) => width * height)(await box(person, 'group', name));
    await person.press('Participants');
    await person.press('Menu for Fatma');
    await (await person.see('menuitem', 'Pin')).click();
    await until('Fatma is large', async () => (await area('Fatma')) > 3 * (await area('Boris')));
    await person.press('Menu for Fatma');
    await (await person.see('menuitem', 'Unpin')).click();
    await until('all are equal again', async () => Math.abs((await area('Fatma')) - (await area('Boris'))) < 100);
    await person.press('More');
    await (await person.see('menuitem', 'Speaker view')).click();
    const sizes = await until('one of them is large', async () => {
        const all = await Promise.all(eleven.slice(0, 4).map(area));
        return Math.max(...all) > 3 * Math.min(...all) && all;
    });
    assert.equal(sizes.filter((size) => size > 3 * Math.min(...sizes)).length, 1);
    assert.deepEqual(await barriers(person.page), []);
    await person.page.keyboard.press('w');
    await until('tiles again', async () => Math.abs((await area('Fatma')) - (await area('Boris'))) < 100);
});

test('menus and panels by keyboard: arrows, Escape, and the focus comes back', async (t) => {
    const { person } = await inRoom(t, { others: ['Boris'] });
    const { keyboard } = person.page;
    await (await person.see('button', 'More')).focus();
    await keyboard.press('Enter');
    await person.see('menu', 'More');
    assert.equal(await focused(person), 'Invite');
    await keyboard.press('ArrowUp');
    assert.match(await focused(person), /Settings|Keyboard shortcuts/, 'from the first to the last');
    await keyboard.press('Escape');
    await person.unsee('menu', 'More');
    assert.equal(await focused(person), 'More');

    await (await person.see('button', 'Participants')).focus();
    await keyboard.press('Enter');
    await person.see('complementary', 'Participants');
    await until('the panel has the focus', async () => (await focused(person)) === 'Participants');
    // Escape works wherever the focus is.
    await (await person.see('button', 'Mute microphone')).focus();
    await keyboard.press('Escape');
    await person.unsee('complementary', 'Participants');
    await keyboard.press('p');
    await person.see('complementary', 'Participants');
    await keyboard.press('Escape');
    await person.unsee('complementary', 'Participants');
    assert.equal(await focused(person), 'Mute microphone', 'back where the person was');

    await keyboard.press('?');
    await person.see('dialog', 'Keyboard shortcuts');
    await keyboard.press('Escape');
    await person.unsee('dialog', 'Keyboard shortcuts');
});

test('single keys can be switched off and on again', async (t) => {
    const { person } = await inRoom(t);
    const flip = async () => {
        await person.press('More');
        await (await person.see('menuitem', 'Settings')).click();
        await (await person.see('switch', 'Keyboard shortcuts')).click();
        await person.page.keyboard.press('Escape');
        await person.unsee('dialog', 'Settings');
    };
    await flip();
    await person.page.keyboard.press('m');
    await sleep(300);
    await person.see('button', 'Mute microphone');
    // The browser remembers the choice, and the tests that follow need the keys.
    await flip();
    await person.page.keyboard.press('m');
    await person.see('button', 'Unmute microphone');
    await person.page.keyboard.press('m');
    await person.see('button', 'Mute microphone');
});

for (const kind of ['Chromium', 'Firefox']) {
    test(`"Back" closes the panel of a phone, then asks before it ends the call (${kind})`, async (t) => {
        const browser = kind === 'Firefox' ? firefox : chromium;
        const viewport = kind === 'Firefox' ? { width: 390, height: 844 } : phone;
        const { person } = await inRoom(t, { browser, others: ['Boris'], viewport });
        await person.press('Participants');
        const panel = await box(person, 'complementary', 'Participants');
        assert.ok(panel.width >= 388 && panel.height >= 840, 'the panel is the page');
        await person.page.evaluate(() => history.back());
        await person.unsee('complementary', 'Participants');
        await person.see('group', 'Boris');
        await person.page.evaluate(() => history.back());
        await person.see('dialog', 'Leave the conference?');
        await person.press('Stay');
        await person.unsee('dialog', 'Leave the conference?');
        await person.see('group', 'Boris');
        await person.page.evaluate(() => history.back());
        await person.see('dialog', 'Leave the conference?');
        await (await person.page.waitForSelector('dialog button.danger')).click();
        await person.see('button', 'Rejoin');
        // The entries of the guard are gone: one step leads out of the room.
        await person.page.evaluate(() => history.back());
        await person.see('textbox', 'Room name');
        assert.deepEqual(person.errors, []);
    });
}

test('a page that is closed during a call asks first, and not when nobody would be missed', async (t) => {
    const { person, people } = await inRoom(t, { others: ['Boris'] });
    const asks = () =>
        person.page.evaluate(() => {
            const event = new Event('beforeunload', { cancelable: true });
            dispatchEvent(event);
            return event.defaultPrevented;
        });
    assert.equal(await asks(), true);
    people.leave('Boris');
    await person.unsee('group', 'Boris');
    assert.equal(await asks(), false);
});

for (const kind of ['Chromium', 'Firefox']) {
    test(`whoever freezes is said to be so within three seconds, and only they (${kind})`, async (t) => {
        const browser = kind === 'Firefox' ? firefox : chromium;
        const { person, people } = await inRoom(t, { browser, others: ['Boris', 'Fatma'] });
        for (const name of ['Boris', 'Fatma']) await until(`${name} moves`, async () => (await person.frames(name)) > 8);
        await person.page.evaluate(() => {
            window.stillAt = {};
            new MutationObserver(() => {
                for (const tile of document.querySelectorAll('[role=group].tile')) {
                    if (tile.querySelector('[aria-label="Picture is frozen"]')) window.stillAt[tile.getAttribute('aria-label')] ??= performance.now();
                }
            }).observe(document.body, { childList: true, subtree: true });
        });
        const before = await person.page.evaluate(() => performance.now());
        await people.freeze('Boris');
        const still = await until('Boris is frozen', async () => (await person.page.evaluate(() => window.stillAt)).Boris, 10_000);
        console.log(`said after ${Math.round(still - before)} ms`);
        assert.equal((await person.page.evaluate(() => window.stillAt)).Fatma, undefined);
        assert.ok(still - before < 3_500, `3 s after the last picture; it was said ${still - before} ms after the order to freeze`);
    });
}

test('a second window of the same browser is told, and can take the call over', async (t) => {
    const { person, room } = await inRoom(t);
    const second = await Person.open(chromium, service, 'Marion');
    t.after(() => second.page.close());
    await second.page.goto(`${service.url}/${room}`);
    await reads(second, 'You are already in this room in another window.');
    await second.type('Your name', 'Marion');
    await second.press('Switch to this window');
    await second.see('button', 'Leave');
    await reads(person, 'You are now taking part in another window.');
    await until('there is one Marion', async () => (await tiles(second)).length === 1);
});

test('whoever speaks while muted is told, and can talk by holding the space bar', async (t) => {
    // The browser's fake microphone only beeps now and then; this one is as steady as a voice.
    const hums = () => {
        const original = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        navigator.mediaDevices.getUserMedia = async (wanted) => {
            const stream = await original(wanted);
            const [beeps] = stream.getAudioTracks();
            if (!beeps) return stream;
            stream.removeTrack(beeps);
            const context = new AudioContext();
            const voice = context.createOscillator();
            const out = context.createMediaStreamDestination();
            voice.connect(out);
            voice.start();
            stream.addTrack(out.stream.getAudioTracks()[0]);
            return stream;
        };
    };
    const { person } = await inRoom(t, { others: ['Boris'], before: hums });
    await person.press('Mute microphone');
    await reads(person, 'You are muted. Nobody can hear you.', 20_000);
    await person.page.focus('h1');
    await person.page.keyboard.down(' ');
    await person.see('button', 'Mute microphone');
    await reads(person, 'You are speaking for as long as you hold the space bar.');
    await person.page.keyboard.up(' ');
    await person.see('button', 'Unmute microphone');
    // A click leaves the focus on the button; the space bar must not press it again.
    await person.press('Unmute microphone');
    await person.press('Mute microphone');
    await person.page.keyboard.down(' ');
    await person.see('button', 'Mute microphone');
    await person.page.keyboard.up(' ');
    await person.see('button', 'Unmute microphone');
});

test('an interrupted camera is said on both sides, and over when the system gives it back', async (t) => {
    const { person, room } = await inRoom(t);
    const other = await Person.open(firefox, service, 'Boris');
    t.after(() => other.page.close());
    await other.join(room);
    await until('Boris sees Marion', async () => (await other.frames('Marion')) > 0, 30_000);
    const happens = (event) =>
        person.page.$eval(
            '.tile.own video',
            (video, event) => {
                window.ownTrack ??= video.srcObject.getVideoTracks()[0];
                window.ownTrack.dispatchEvent(new Event(event));
            },
            event,
        );
    await happens('mute');
    await reads(person, 'Your camera is interrupted. Nobody can see you.');
    await until('no still picture for Boris', async () => (await (await other.see('group', 'Marion')).$('video')) === null);
    await person.page.evaluate(() => window.ownTrack.dispatchEvent(new Event('unmute')));
    await doesNotRead(person, 'Your camera is interrupted. Nobody can see you.');
    await until('Boris sees Marion again', async () => (await (await other.see('group', 'Marion')).$('video')) !== null);
});

test('the screen stays on during the call', async (t) => {
    const { person } = await inRoom(t, {
        before: () => {
            window.locks = [];
            const wakeLock = {
                request: async (kind) => {
                    const lock = { kind, released: false, release: async () => (lock.released = true) };
                    window.locks.push(lock);
                    return lock;
                },
            };
            Object.defineProperty(navigator, 'wakeLock', { value: wakeLock });
        },
    });
    const held = () => person.page.evaluate(() => window.locks.filter(({ released }) => !released).map(({ kind }) => kind));
    assert.deepEqual(await held(), ['screen']);
    // The system takes it away when the page is out of sight.
    await person.page.evaluate(() => {
        for (const lock of window.locks) lock.released = true;
        document.dispatchEvent(new Event('visibilitychange'));
    });
    await until('it is asked for again', async () => (await held()).length === 1);
    await person.press('Leave');
    await person.see('button', 'Rejoin');
    await until('it is given back', async () => (await held()).length === 0);
});

test('who comes and goes is said in words, and a crowd in one sentence', async (t) => {
    const { person, room } = await inRoom(t);
    const people = await crowd(host.page, service, room, ['Boris']);
    await reads(person, 'Boris has joined.');
    await people.leave('Boris');
    await reads(person, 'Boris has left.');
    const live = await person.page.$eval('[role=log]', (log) => log.getAttribute('aria-live'));
    assert.equal(live, 'polite');
});

test('an own shared screen is not shown to oneself; it can be stopped where it is said', async (t) => {
    const { person, room } = await inRoom(t);
    const other = await Person.open(firefox, service, 'Boris');
    t.after(() => other.page.close());
    await other.join(room);
    await person.press('Share screen');
    await reads(person, 'You are sharing your screen.');
    await other.see('group', 'Screen of Marion', 30_000);
    assert.deepEqual((await tiles(person)).sort(), ['Boris', 'Marion']);
    assert.deepEqual(await barriers(person.page), []);
    await (await person.page.waitForSelector('.notice.sharing button')).click();
    await other.unsee('group', 'Screen of Marion');
    await doesNotRead(person, 'You are sharing your screen.');
});

test('speaking is in the accessibility tree of the tile', async (t) => {
    const { person, room } = await inRoom(t);
    const other = await Person.open(firefox, service, 'Boris');
    t.after(() => other.page.close());
    await other.join(room);
    await until("Boris' tile says that he speaks", async () => {
        const tile = await person.see('group', 'Boris');
        return tile.evaluate((group) => group.textContent.includes('Speaking'));
    }, 30_000);
});

test('every state of the room is free of barriers, on desktop and phone', async (t) => {
    for (const viewport of [undefined, phone]) {
        const { person } = await inRoom(t, { others: eleven.slice(0, 4), viewport });
        const check = async (state) => assert.deepEqual(await barriers(person.page), [], `${state}, ${viewport ? 'phone' : 'desktop'}`);
        await check('five people');
        await person.press('Participants');
        await sleep(300);
        await check('participants');
        await person.press('Menu for Boris');
        await check('menu of a person');
        await person.page.keyboard.press('Escape');
        await person.page.keyboard.press('Escape');
        await person.unsee('complementary', 'Participants');
        await person.press('More');
        await check('menu');
        for (const [item, title] of [['Invite', 'Invite others'], ['Settings', 'Settings'], ['Keyboard shortcuts', 'Keyboard shortcuts']]) {
            if (!(await person.page.$('[role=menu]'))) await person.press('More');
            const found = await person.page.$(`::-p-aria([name="${item}"][role="menuitem"])`);
            if (!found) continue;
            await found.click();
            await person.see('dialog', title);
            await sleep(200);
            await check(title);
            await person.page.keyboard.press('Escape');
            await person.unsee('dialog', title);
        }
    }
});

test('large text and little room: nothing is out of reach', async (t) => {
    const { person } = await inRoom(t, { others: eleven.slice(0, 4) });
    const reachable = async (state) => {
        const outside = await person.page.evaluate(() => {
            const lost = [];
            for (const button of document.querySelectorAll('.toolbar button, .panel-head button, .panel > button, .dialog-head button')) {
                const { left, right, top, bottom, width, height } = button.getBoundingClientRect();
                if (left < -1 || top < -1 || right > innerWidth + 1 || bottom > innerHeight + 1 || width < 24 || height < 24) {
                    lost.push(`${button.getAttribute('aria-label') ?? button.textContent}: ${[left, top, right, bottom].map(Math.round)}`);
                }
            }
            if (document.documentElement.scrollWidth > innerWidth) lost.push('scrolls sideways');
            return lost;
        });
        assert.deepEqual(outside, [], state);
    };
    for (const [state, viewport, text] of [
        ['400 %', { width: 320, height: 256 }, '100%'],
        ['200 % text on a phone', { width: 390, height: 844 }, '200%'],
        ['a phone on its side', { width: 844, height: 390 }, '100%'],
        ['a small phone', { width: 320, height: 568 }, '100%'],
    ]) {
        await person.page.setViewport(viewport);
        await person.page.evaluate((size) => (document.documentElement.style.fontSize = size), text);
        await sleep(300);
        await reachable(state);
        await person.press('Participants');
        await sleep(300);
        if (!state.startsWith('400')) await reachable(`${state}, with panel`);
        const last = await person.see('button', 'Menu for Deniz');
        await last.scrollIntoView();
        assert.ok(await last.isIntersectingViewport(), `${state}: the last person can be reached`);
        await person.page.keyboard.press('Escape');
        await person.unsee('complementary', 'Participants');
        await person.press('More');
        const item = await person.see('menuitem', 'Settings');
        await item.scrollIntoView();
        await item.click();
        await person.see('dialog', 'Settings');
        await reachable(`${state}, settings`);
        await person.page.keyboard.press('Escape');
        await person.unsee('dialog', 'Settings');
    }
});
