// Nobody but this server is ever contacted, and the pages are usable by everybody.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { barriers } from './barriers.mjs';
import { Person, launch } from './people.mjs';
import { Service } from './service.mjs';

const phone = { width: 390, height: 844, isMobile: true, hasTouch: true, deviceScaleFactor: 2 };
let service, browser;

before(async () => {
    service = await Service.start();
    browser = await launch('chromium');
});

after(async () => {
    await browser?.close();
    await service?.stop();
});

for (const [language, texts] of [
    ['en-US', { room: 'Room name', go: "Let's go", name: 'Your name', join: 'Join conference', leave: 'Leave', participants: 'Participants', more: 'More' }],
    ['de-DE', null],
]) {
    for (const [size, viewport] of [['desktop', { width: 1280, height: 800 }], ['phone', phone]]) {
        test(`start, device page and room have no barriers and call nobody else (${language}, ${size})`, async () => {
            const person = await Person.open(browser, service, 'Änne Öztürk', { viewport, language });
            const violations = [];
            person.page.on('console', (message) => {
                if (/Content Security Policy/i.test(message.text())) violations.push(message.text());
            });
            await person.page.goto(service.url);
            const box = await person.page.waitForSelector('input[type=text], input:not([type])');
            assert.equal(await person.page.$eval('html', (html) => html.lang), language.slice(0, 2));
            await person.screenshot(`start-${size}-${language}.png`);
            assert.deepEqual(await barriers(person.page), []);
            // By keyboard alone, in any language.
            await box.type('Nähkränzchen 🧵');
            await person.page.keyboard.press('Enter');
            await person.page.waitForSelector('video');
            await new Promise((done) => setTimeout(done, 700));
            await person.screenshot(`device-${size}-${language}.png`);
            assert.deepEqual(await barriers(person.page), []);
            const name = await person.page.waitForSelector('input[type=text], input:not([type])');
            await name.evaluate((element) => element.select());
            await name.type(person.name);
            await person.page.keyboard.press('Enter');
            await person.see('group', person.name);
            if (texts) for (const button of [texts.leave, texts.participants, texts.more]) await person.see('button', button);
            await new Promise((done) => setTimeout(done, 700));
            await person.screenshot(`room-${size}-${language}.png`);
            assert.deepEqual(await barriers(person.page), []);
            const origin = new URL(service.url).host;
            const foreign = person.requests.filter((url) => /^(https?|wss?):/.test(url) && new URL(url).host !== origin);
            assert.deepEqual(foreign, []);
            assert.ok(person.requests.length > 2, 'requests were recorded');
            assert.deepEqual(violations, []);
            assert.deepEqual(person.errors, []);
            await person.page.close();
        });
    }
}
