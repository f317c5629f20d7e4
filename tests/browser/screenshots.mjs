// Pictures of the room's states, desktop and phone, German and English, light and dark, into the folder that is named:
// for looking at, not compared with anything. The room itself is dark always; the pages before it follow the system.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { crowd } from './crowd.mjs';
import { Person, launch } from './people.mjs';
import { Service, until } from './service.mjs';

const folder = process.argv[2];
if (!folder) {
    console.error('screenshots.mjs: name the folder for the pictures');
    process.exit(2);
}
mkdirSync(folder, { recursive: true });

const names = ['Änne Öztürk', 'Boris', 'Fatma Yıldız', 'Deniz', 'Karl-Heinz Müller', 'Oma Gerda', 'Tim', 'Lotte', 'Noah', 'Ömer', 'Zoë'];
const texts = {
    de: { room: 'Raumname', go: 'Los geht’s', name: 'Ihr Name', join: 'Konferenz beitreten', people: 'Teilnehmende', more: 'Mehr', invite: 'Einladen', settings: 'Einstellungen', shortcuts: 'Tastenkürzel' },
    en: { room: 'Room name', go: "Let's go", name: 'Your name', join: 'Join conference', people: 'Participants', more: 'More', invite: 'Invite', settings: 'Settings', shortcuts: 'Keyboard shortcuts' },
};
const sizes = {
    desktop: { width: 1280, height: 800 },
    phone: { width: 390, height: 844, isMobile: true, hasTouch: true, deviceScaleFactor: 2 },
    landscape: { width: 844, height: 390, isMobile: true, hasTouch: true, deviceScaleFactor: 2 },
};

const service = await Service.start();
const browser = await launch('chromium');
try {
    const host = await Person.open(browser, service, 'host');
    await host.page.goto(service.url);
    for (const language of ['de', 'en']) {
        for (const [size, viewport] of Object.entries(sizes)) {
            for (const scheme of size === 'landscape' ? ['dark'] : ['light', 'dark']) {
                await take(host, language, size, viewport, scheme);
            }
        }
    }
} finally {
    await browser.close();
    await service.stop();
}

async function take(host, language, size, viewport, scheme) {
    const t = texts[language];
    const person = await Person.open(browser, service, 'Marion', { viewport, language });
    const { page } = person;
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
    const shot = async (state) => {
        await sleep(400);
        await page.screenshot({ path: join(folder, `${state}-${size}-${scheme}-${language}.png`) });
    };
    const room = `KulturvereinMarion${language}${size}${scheme}`;
    await page.goto(service.url);
    await person.see('textbox', t.room);
    await shot('start');
    await person.type(t.room, room);
    await person.press(t.go);
    await person.type(t.name, person.name);
    await shot('before');
    await person.press(t.join);
    await person.see('button', t.more);
    const menu = async (item) => {
        await person.press(t.more);
        await (await person.see('menuitem', item)).click();
        await page.waitForSelector('dialog[open]');
    };
    // The room does not follow the scheme: once is enough.
    if (scheme === 'dark') {
        await shot('alone');
        const crowds = [];
        const fill = async (count) => {
            const present = crowds.flatMap(({ who }) => who).length;
            const who = names.slice(present, count - 1);
            crowds.push({ who, people: await crowd(host.page, service, room, who) });
            await until('everybody on the page is seen', () => page.$$eval('video', (all) => all.every((video) => video.videoWidth > 0)), 20_000);
            await sleep(1_000);
            await shot(`room-${count}`);
        };
        await fill(2);
        await fill(5);
        await person.press(t.people);
        await shot('people');
        await page.keyboard.press('Escape');
        await person.press(t.more);
        await shot('more');
        await page.keyboard.press('Escape');
        for (const dialog of ['invite', 'settings', ...(size === 'desktop' ? ['shortcuts'] : [])]) {
            await menu(t[dialog]);
            await shot(dialog);
            await page.keyboard.press('Escape');
        }
        await fill(12);
        await page.keyboard.press('w');
        await shot('speaker');
        for (const { people } of crowds) await people.leave();
    }
    await page.close();
}
