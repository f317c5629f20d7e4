// Coming and going.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Person, launch } from './people.mjs';
import { Service, until } from './service.mjs';

let service, browsers;

before(async () => {
    service = await Service.start();
    browsers = await Promise.all([launch('chromium'), launch('chromium')]);
});

after(async () => {
    await Promise.all(browsers?.map((browser) => browser.close()) ?? []);
    await service?.stop();
});

test('who leaves or closes the tab is gone for the others at once', async () => {
    const [stays, leaves, closes] = await Promise.all([
        Person.open(browsers[0], service, 'Stella'),
        Person.open(browsers[1], service, 'Leo'),
        Person.open(browsers[1], service, 'Clara'),
    ]);
    for (const person of [stays, leaves, closes]) await person.join('Abschied');
    await stays.see('group', 'Leo');
    await stays.see('group', 'Clara');
    await leaves.press('Leave');
    await stays.unsee('group', 'Leo', 2_000);
    await closes.page.close({ runBeforeUnload: false });
    await stays.unsee('group', 'Clara', 2_000);
    await stays.page.close();
    await leaves.page.close();
});

test('joining and leaving fifty times leaves no state behind', async () => {
    const anchor = await Person.open(browsers[0], service, 'Anker');
    await anchor.join('Drehtür');
    const gauges = ['plausch_participants', 'plausch_tracks', 'plausch_subscriptions', 'plausch_ssrcs', 'plausch_dtls_sessions', 'plausch_tuples'];
    const state = async () => {
        const metrics = await service.metrics();
        return gauges.map((name) => {
            assert.ok(metrics.has(name), `the relay counts ${name}`);
            return metrics.get(name);
        });
    };
    await until('the anchor is connected', async () => (await state())[0] === 1 && (await state())[4] === 1);
    const baseline = await until('the gauges are at rest', async () => {
        const first = await state();
        await new Promise((done) => setTimeout(done, 1_000));
        const second = await state();
        return JSON.stringify(first) === JSON.stringify(second) && second;
    });
    const guest = await Person.open(browsers[1], service, 'Gast');
    for (let round = 0; round < 50; round++) {
        await guest.page.goto(`${service.url}/${encodeURIComponent('Drehtür')}`);
        await guest.enter();
        await anchor.see('group', 'Gast');
        // Every other time by closing the page instead of leaving.
        if (round % 2) await guest.page.goto('about:blank');
        else await guest.press('Leave');
        await anchor.unsee('group', 'Gast', 3_000);
    }
    await until('all gauges are back where they were', async () => JSON.stringify(await state()) === JSON.stringify(baseline), 10_000);
    await anchor.page.close();
    await guest.page.close();
});
