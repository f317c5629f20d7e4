// Three people in three browsers, and what happens to their call when a process dies.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Person, launch } from './people.mjs';
import { Service, until } from './service.mjs';

const room = 'Kulturverein Märkisch Buchholz';
const names = ['Anna', 'Boris', 'Fatma'];
let service, browsers, people;

const others = (name) => names.filter((other) => other !== name);
const everybodySeesAndHears = () => Promise.all(people.map((person) => person.seesAndHears(others(person.name), 60_000)));

before(async () => {
    service = await Service.start();
    browsers = await Promise.all([launch('chromium'), launch('chromium'), launch('firefox')]);
    people = await Promise.all(names.map((name, i) => Person.open(browsers[i], service, name)));
});

after(async () => {
    await Promise.all(browsers?.map((browser) => browser.close()) ?? []);
    await service?.stop();
});

test('two Chromium and one Firefox see and hear each other', async () => {
    await people[0].join(room);
    await people[1].join(room);
    // The same room, written in another way.
    await people[2].join(room.replaceAll(' ', '').toLowerCase());
    await everybodySeesAndHears();
    await people[0].screenshot('call-desktop.png');
});

test('killing control and starting it again pauses no medium for more than a second', async () => {
    for (const person of people) await person.watchPauses();
    await sleep(1_500);
    await service.kill('control');
    await sleep(2_000);
    service.launch('control');
    await service.ready();
    await sleep(4_000);
    for (const person of people) {
        const pauses = await person.longestPauses();
        assert.ok(Object.keys(pauses).length >= 4, `${person.name} has two pictures and two voices: ${JSON.stringify(pauses)}`);
        for (const [stream, pause] of Object.entries(pauses)) {
            assert.ok(pause <= 1_000, `${person.name}'s stream ${stream} paused for ${pause} ms`);
        }
    }
    await everybodySeesAndHears();
});

test('somebody who comes after the restart sees everybody, and the others see them without renegotiation', async () => {
    const late = await Person.open(browsers[1], service, 'Deniz');
    const connections = await people[0].page.evaluate(() => window.testConnections());
    await late.join(room);
    await late.seesAndHears(names, 60_000);
    await people[0].seesAndHears(['Deniz'], 60_000);
    assert.equal(await people[0].page.evaluate(() => window.testConnections()), connections);
    await late.press('Leave');
    await Promise.all(people.map((person) => person.unsee('group', 'Deniz', 3_000)));
    await late.page.close();
});

test('mute and camera are seen by the others, who keep the rest', async () => {
    const [anna, boris] = people;
    await anna.press('Mute microphone');
    await anna.see('button', 'Unmute microphone');
    await anna.press('Turn camera off');
    await anna.see('button', 'Turn camera on');
    await until(
        "Anna's tile has no picture for Boris",
        async () => {
            const tile = await boris.page.$('::-p-aria([name="Anna"][role="group"])');
            return tile.evaluate((group) => !group.querySelector('video')?.checkVisibility());
        },
        5_000,
    );
    await boris.seesAndHears(['Fatma']);
    await anna.press('Turn camera on');
    await anna.press('Unmute microphone');
    await boris.seesAndHears(['Anna', 'Fatma'], 30_000);
});

test('a shared screen is seen by the others beside the person', async () => {
    const [anna, boris] = people;
    await anna.press('Share screen');
    await anna.see('button', 'Stop sharing');
    await boris.see('group', 'Screen of Anna');
    await until("Boris sees Anna's screen move", async () => (await boris.frames('Screen of Anna')) > 1, 30_000);
    await boris.seesAndHears(['Fatma']);
});

test('killing the relay and starting it again brings the call back by itself, the shared screen with it', async () => {
    await service.kill('relay');
    await sleep(1_000);
    service.launch('relay');
    await service.ready();
    const start = Date.now();
    await Promise.all(
        people.map(async (person) => {
            await person.seesAndHears(others(person.name), 60_000);
            console.log(`${person.name}'s call is whole ${Date.now() - start} ms after the relay was ready`);
        }),
    );
    const [anna, boris] = people;
    await until("Boris sees Anna's screen move again", async () => (await boris.frames('Screen of Anna')) > 1, 30_000);
    await anna.press('Stop sharing');
    await anna.see('button', 'Share screen');
    await boris.unsee('group', 'Screen of Anna');
    for (const person of people) assert.deepEqual(person.errors, [], `${person.name}'s page threw nothing`);
});
