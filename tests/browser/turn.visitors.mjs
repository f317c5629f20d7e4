// The tests of turn.test.mjs, which runs them in the client's network namespace: calls that reach the server by TURN over
// UDP, TCP and TLS, and calls from a network that lets nothing out but TCP to port 443, as in a hotel or a school. The
// page, signalling and media then share that port of the relay.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { issue, makeAuthority } from './certificates.mjs';
import { HOST, TwoHosts, answerName } from './namespaces.mjs';
import { Person, launch } from './people.mjs';
import { Service, until } from './service.mjs';

const folder = mkdtempSync(join(tmpdir(), 'plausch-turn-'));
const hosts = new TwoHosts(process.env.PLAUSCH_TEST_HOSTS);
const page = { url: `https://${HOST}` };
let service, browsers, stopAnswering;

before(async () => {
    stopAnswering = await answerName();
    const authority = makeAuthority(folder);
    service = await Service.start({ certificate: issue(authority, [HOST]), namespace: hosts.server });
    browsers = await Promise.all(['chromium', 'firefox'].map((kind) => launch(kind, { authority: authority.certificate })));
});

after(async () => {
    await Promise.all(browsers?.map((browser) => browser.close()) ?? []);
    await service?.stop();
    stopAnswering?.();
    rmSync(folder, { recursive: true, force: true });
});

/** Both see and hear each other, and by no other way than this one. */
async function meetsBy(way, one, other) {
    await Promise.all([one.seesAndHears([other.name]), other.seesAndHears([one.name])]);
    for (const person of [one, other]) {
        const route = await person.route();
        assert.deepEqual([route.type, route.by], ['relay', way], `${person.name}'s route`);
        assert.ok(route.sent > 5_000 && route.received > 5_000, `${person.name}'s route: ${JSON.stringify(route)}`);
    }
}

async function leave(...people) {
    for (const person of people) {
        assert.deepEqual(person.errors, []);
        await person.page.close();
    }
}

for (const way of ['udp', 'tcp', 'tls']) {
    test(`Chromium and Firefox meet over TURN/${way.toUpperCase()} alone`, async () => {
        const [carla, felix] = await Promise.all([
            Person.open(browsers[0], page, 'Carla', { only: way }),
            Person.open(browsers[1], page, 'Felix', { only: way }),
        ]);
        for (const person of [carla, felix]) await person.join(`Umweg ${way}`);
        await meetsBy(way, carla, felix);
        // The connection is the relay's, so it does not end with control.
        if (way === 'tls') {
            for (const person of [carla, felix]) await person.watchPauses();
            await sleep(1_000);
            await service.kill('control');
            await sleep(1_500);
            service.launch('control');
            await service.ready();
            await sleep(1_500);
            for (const person of [carla, felix]) {
                const pauses = Object.values(await person.longestPauses());
                assert.ok(pauses.length >= 2, `${person.name} has a picture and a voice`);
                assert.ok(Math.max(...pauses) <= 1_000, `${person.name}'s streams paused for ${pauses} ms`);
            }
            await meetsBy(way, carla, felix);
        }
        await leave(carla, felix);
    });
}

test('Chromium and Firefox meet on a network that lets only TCP 443 through', async () => {
    hosts.allowOnly(443);
    const people = await Promise.all([Person.open(browsers[0], page, 'Lena'), Person.open(browsers[1], page, 'Omar')]);
    const [lena, omar] = people;
    await Promise.all(
        people.map(async (person) => {
            await person.page.goto(`${page.url}/Schulnetz`);
            // The page finds out by itself what it can tell the person.
            const says = () => person.page.evaluate(() => document.body.innerText.includes('Your network allows only a detour.'));
            await until(`${person.name} is told that the network allows only a detour`, says, 20_000);
            await person.screenshot(`network-detour-${person.name}.png`);
            await person.enter();
        }),
    );
    await meetsBy('tls', lena, omar);
    assert.ok(hosts.vanished() > 0, 'the firewall had something to do');
    await leave(lena, omar);
});
