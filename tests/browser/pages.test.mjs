// The pages before and after a conference: names, links, what is remembered, what helps when something is missing.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { barriers } from './barriers.mjs';
import { Person, launch } from './people.mjs';
import { Service, until } from './service.mjs';

const phone = { width: 390, height: 844, isMobile: true, hasTouch: true, deviceScaleFactor: 2 };
let service, browsers;

before(async () => {
    service = await Service.start();
    browsers = { chromium: await launch('chromium'), firefox: await launch('firefox') };
});

after(async () => {
    await Promise.all(Object.values(browsers ?? {}).map((browser) => browser.close()));
    await service?.stop();
});

const text = (page) => page.$eval('body', (body) => body.innerText);
const path = (page) => page.evaluate(() => decodeURIComponent(location.pathname));
const stored = (page) => page.evaluate(() => JSON.stringify({ ...localStorage }));
const says = (page, wanted) => until(`the page says ${wanted}`, async () => wanted.test(await text(page)));

for (const kind of ['chromium', 'firefox']) {
    test(`a guessable name is warned of, and extended at a click (${kind})`, async () => {
        const person = await Person.open(browsers[kind], service, 'Anna');
        await person.page.goto(service.url);
        for (const name of ['OmaOpa', 'Familie Müller', 'Yoga2024', 'Elternabend']) {
            await person.type('Room name', name);
            await person.see('button', 'Use this name');
            await says(person.page, /Strangers can easily guess this name/);
        }
        await person.type('Room name', 'OmaOpa');
        await says(person.page, /“OmaOpa[A-Z][a-z]+\d\d”/);
        await person.press('Use this name');
        await person.unsee('button', 'Use this name');
        const extended = await person.page.$eval('#room', (field) => field.value);
        assert.match(extended, /^OmaOpa[A-Z][a-z]+\d\d$/);
        await person.press("Let's go");
        await person.see('textbox', 'Your name');
        assert.equal(await path(person.page), `/${extended}`);
        assert.equal(await person.page.$('::-p-aria([name="Use this name"][role="button"])'), null);
        // Once more before entry for who comes by a link.
        await person.page.goto(`${service.url}/OmaOpa`);
        await person.see('button', 'Use this name');
        await person.press('Use this name');
        await until('the page of the better room', async () => /^\/OmaOpa[A-Z][a-z]+\d\d$/.test(await path(person.page)));
        assert.deepEqual(person.errors, []);
        await person.page.close();
    });

    test(`a pasted link is understood, and one of another server is not taken for a name (${kind})`, async () => {
        const person = await Person.open(browsers[kind], service, 'Anna');
        await person.page.goto(service.url);
        await person.type('Room name', `${service.url}/K%C3%BCchentreff%20Nord/?x=1`);
        await person.press("Let's go");
        await person.see('heading', 'Küchentreff Nord');
        await person.page.goto(service.url);
        await person.type('Room name', 'https://meet.example/Test');
        await person.press("Let's go");
        await says(person.page, /link to another server: meet\.example/);
        assert.equal(await path(person.page), '/');
        await person.page.close();
    });

    test(`only what was ticked is remembered, and it can be cleared (${kind})`, async () => {
        const person = await Person.open(browsers[kind], service, 'Wilhelmine');
        await person.join('MerkprobeNordwest');
        await person.press('Leave');
        await person.see('button', 'Rejoin');
        assert.doesNotMatch(await stored(person.page), /Wilhelmine|Merkprobe/);
        await person.page.goto(`${service.url}/MerkprobeNordwest`);
        await (await person.see('checkbox', 'Remember my name and this room on this device')).click();
        await person.enter();
        await person.press('Leave');
        await person.see('button', 'Rejoin');
        assert.match(await stored(person.page), /Wilhelmine/);
        await person.page.goto(service.url);
        await person.see('link', 'MerkprobeNordwest');
        await person.press('Clear list');
        await person.unsee('link', 'MerkprobeNordwest');
        assert.doesNotMatch(await stored(person.page), /Wilhelmine|Merkprobe/);
        await person.page.close();
    });

    test(`a page that gets no script says so in both languages (${kind})`, async () => {
        const page = await browsers[kind].newPage();
        if (kind === 'chromium') {
            // Blocked on the way, as by a filter; the page cannot know it.
            await page.setRequestInterception(true);
            page.on('request', (request) => (/\.js$/.test(request.url()) ? request.abort() : request.continue()));
        } else {
            await page.setJavaScriptEnabled(false).catch(() => undefined);
        }
        await page.goto(`${service.url}/Test`);
        if (kind === 'firefox' && (await page.$('.join'))) return page.close();
        await until('the sentence is there', () => page.$eval('.no-start', (box) => box.checkVisibility({ checkVisibilityCSS: true })), 15_000);
        assert.match(await text(page), /allow JavaScript/);
        assert.match(await text(page), /erlauben Sie JavaScript/);
        await page.close();
    });

    test(`links lead to their room however they are written (${kind})`, async () => {
        const person = await Person.open(browsers[kind], service, 'Anna');
        for (const [link, room] of [
            ['/K%FCchentreff', 'Küchentreff'],
            ['/Ku%CC%88chentreff/', 'Küchentreff'],
            ['//Nachbarschaft.', 'Nachbarschaft'],
        ]) {
            await person.page.goto(`${service.url}${link}`);
            await person.see('heading', room);
            assert.equal(await path(person.page), `/${room}`);
        }
        await person.page.setExtraHTTPHeaders({ 'Accept-Language': 'de' });
        for (const link of ['/a/b', '/a%2Fb', '/%00', '/robots.php']) {
            const response = await person.page.goto(`${service.url}${link}`);
            assert.equal(response.status(), 404, link);
            await person.see('heading', 'Diese Seite gibt es nicht');
            await person.see('link', 'Zur Startseite');
        }
        await person.page.close();
    });

    test(`equal names are told apart (${kind})`, async () => {
        const [one, two] = await Promise.all([
            Person.open(browsers.chromium, service, 'Anna'),
            Person.open(browsers[kind], service, 'Anna'),
        ]);
        await one.join('Namensgleichheit Probe');
        await two.join('Namensgleichheit Probe');
        await one.see('group', 'Anna 2');
        await two.see('group', 'Anna');
        await Promise.all([one.page.close(), two.page.close()]);
    });
}

test('a join can be cancelled, and the name stays', async () => {
    const own = await Service.start();
    const person = await Person.open(browsers.chromium, own, 'Geduld');
    try {
        await person.page.goto(`${own.url}/AbbruchProbeNordwest`);
        await person.type('Your name', 'Geduld');
        await own.kill('control');
        await person.press('Join conference');
        await person.see('button', 'Cancel');
        await says(person.page, /takes longer than usual|not answer/);
        await person.press('Cancel');
        await person.see('button', 'Join conference');
        assert.equal(await person.page.$eval('input[type=text]', (field) => field.value), 'Geduld');
        own.launch('control');
        await own.ready();
        await person.press('Join conference');
        await person.see('button', 'Leave', 30_000);
    } finally {
        await person.page.close();
        await own.stop();
    }
});

test('on a small phone the join button is in sight, and nothing is wider than the screen', async () => {
    for (const [width, height] of [[360, 616], [390, 844], [320, 256]]) {
        const person = await Person.open(browsers.chromium, service, 'Anna', {
            viewport: { width, height, isMobile: true, hasTouch: true, deviceScaleFactor: 2 },
        });
        await person.page.goto(`${service.url}/OmaOpa`);
        const button = await person.see('button', 'Join conference');
        const box = await button.boundingBox();
        assert.ok(box.y >= 0 && box.y + box.height <= height, `${width} × ${height}: ${JSON.stringify(box)}`);
        assert.ok((await person.page.evaluate(() => document.documentElement.scrollWidth)) <= width, `${width} × ${height}`);
        await person.page.close();
    }
});

for (const [name, permission, sentence] of [
    ['refused', 'NotAllowedError', /blocked for this page/],
    ['missing', 'NotFoundError', /can find no camera and no microphone/],
]) {
    test(`people get in though camera and microphone are ${name}`, async () => {
        const person = await Person.open(browsers.chromium, service, 'Ohne');
        // What the browser answers; headless ones have devices that are always allowed.
        await person.page.evaluateOnNewDocument((error) => {
            navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', error));
        }, permission);
        await person.page.goto(`${service.url}/OhneGeraeteProbe`);
        await says(person.page, sentence);
        if (name === 'refused') await says(person.page, /Click the icon to the left of the address/);
        await says(person.page, /You can still join/);
        assert.deepEqual(await barriers(person.page), []);
        await person.enter();
        await person.page.close();
    });
}

test('people get in though the question for camera and microphone stays unanswered', async () => {
    const person = await Person.open(browsers.chromium, service, 'Still');
    await person.page.evaluateOnNewDocument(() => {
        navigator.mediaDevices.getUserMedia = () => new Promise(() => undefined);
    });
    await person.page.goto(`${service.url}/UnbeantwortetProbe`);
    await says(person.page, /Please choose “Allow”/);
    await says(person.page, /You see no question\?/);
    await person.enter();
    await person.page.close();
});

test('the loudspeaker can be tested', async () => {
    const person = await Person.open(browsers.chromium, service, 'Ohr');
    await person.page.goto(`${service.url}/LautsprecherProbe`);
    await person.see('button', 'Join conference');
    await person.page.click('summary');
    await person.press('Test loudspeaker');
    await says(person.page, /Did you hear the tone\?/);
    await person.page.close();
});

for (const scheme of ['light', 'dark']) {
    for (const [size, viewport] of [['desktop', { width: 1280, height: 800 }], ['phone', phone]]) {
        for (const language of ['de-DE', 'en-US']) {
            test(`no page before or after the call has barriers (${scheme}, ${size}, ${language})`, async () => {
                const person = await Person.open(browsers.chromium, service, 'Änne', { viewport, language });
                const { page } = person;
                const violations = [];
                page.on('console', (message) => {
                    if (/Content Security Policy/i.test(message.text())) violations.push(message.text());
                });
                await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
                await page.setExtraHTTPHeaders({ 'Accept-Language': language });
                const look = async (name) => {
                    // Colours change by a transition.
                    await sleep(400);
                    await person.screenshot(`${name}-${size}-${scheme}-${language}.png`);
                    assert.deepEqual(await barriers(page), [], name);
                };
                await page.goto(service.url);
                const field = await page.waitForSelector('#room');
                await look('start');
                await field.type('OmaOpa');
                await page.waitForSelector('.warning-box');
                await look('start-warned');
                await page.goto(`${service.url}/OmaOpa`);
                await page.waitForSelector('.preview video, .preview-empty');
                await page.click('summary');
                await look('entry');
                const texts = language === 'de-DE' ? ['impressum', 'datenschutz', 'barrierefreiheit', 'anleitung-pc'] : ['legal-notice', 'privacy', 'accessibility', 'guide-pc'];
                for (const slug of texts) {
                    await page.goto(`${service.url}/${slug}`);
                    await look(slug);
                }
                await page.goto(`${service.url}/a/b`);
                await look('no-such-page');
                const origin = new URL(service.url).host;
                const foreign = person.requests.filter((url) => /^(https?|wss?):/.test(url) && new URL(url).host !== origin);
                assert.deepEqual([foreign, violations, person.errors], [[], [], []]);
                await page.close();
            });
        }
    }
}
