// A client on other people's WebRTC code meets a browser.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Person, launch } from './people.mjs';
import { Service, binaries } from './service.mjs';

let service, browser;

before(async () => {
    service = await Service.start();
    browser = await launch('chromium');
});

after(async () => {
    await browser?.close();
    await service?.stop();
});

test('the webrtc-rs client and a browser exchange sound and pictures', async () => {
    const person = await Person.open(browser, service, 'Anna');
    await person.join('Fremdes Gerät');
    const client = spawn(join(binaries, 'plausch-bench'), [
        'join', '--url', service.url, '--room', 'Fremdes Gerät', '--name', 'Robi', '--seconds', '20', '--json',
    ]);
    let output = '';
    client.stdout.on('data', (chunk) => (output += chunk));
    client.stderr.on('data', (chunk) => (output += chunk));
    const ended = new Promise((done) => client.once('exit', done));
    await person.see('group', 'Robi');
    await person.seesAndHears(['Robi'], 18_000);
    assert.equal(await ended, 0, output);
    const report = JSON.parse(output.slice(output.indexOf('{')));
    assert.ok(report.audio_packets > 100, output);
    assert.ok(report.video_packets > 50, output);
    assert.equal(report.sequence_gaps, 0, output);
    await person.unsee('group', 'Robi', 3_000);
});
