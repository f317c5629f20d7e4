// How long from "Join conference" to the first decoded picture of somebody else. A measurement, not a test:
// prints every round and the median. `scripts/measure-join [rounds]` builds what is needed and calls this.
import { Person, launch } from './people.mjs';
import { Service, until } from './service.mjs';

const rounds = Number(process.argv[2] ?? 11);
const service = await Service.start();
const browsers = await Promise.all([launch('chromium'), launch('chromium')]);
try {
    const host = await Person.open(browsers[0], service, 'Anna');
    await host.join('Stoppuhr');
    const guest = await Person.open(browsers[1], service, 'Boris');
    const times = [];
    for (let round = 0; round <= rounds; round++) {
        await guest.page.goto(`${service.url}/Stoppuhr`);
        await guest.type('Your name', 'Boris');
        // A person looks at the device page for a moment; the page uses it to prepare.
        await new Promise((done) => setTimeout(done, 2_000));
        await guest.press('Join conference');
        const ms = await until('the first picture', () =>
            guest.page.evaluate(() => {
                const at = (name) => performance.getEntriesByName(name).at(-1)?.startTime;
                return at('plausch:first-remote-frame') && at('plausch:first-remote-frame') - at('plausch:join-click');
            }),
        );
        // The first round fills caches and is thrown away.
        if (round > 0) times.push(ms);
        console.log(`round ${round}: ${ms.toFixed(0)} ms${round ? '' : ' (thrown away)'}`);
        await guest.press('Leave');
        await host.unsee('group', 'Boris');
    }
    times.sort((a, b) => a - b);
    console.log(`median ${times[times.length >> 1].toFixed(0)} ms, best ${times[0].toFixed(0)} ms, worst ${times.at(-1).toFixed(0)} ms, ${rounds} rounds`);
} finally {
    await Promise.all(browsers.map((browser) => browser.close()));
    await service.stop();
}
