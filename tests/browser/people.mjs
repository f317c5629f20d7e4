// People at real browsers with fake cameras and microphones. They find what they use by role and name, as a
// screen reader does; what they receive is read from the browser's own statistics.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import puppeteer from 'puppeteer-core';
import { trust } from './certificates.mjs';
import { until } from './service.mjs';

const chromiumFlags = [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--use-fake-ui-for-media-stream',
    // Ten frames a second: three encoders and six decoders share two CPUs here.
    '--use-fake-device-for-media-stream=fps=10',
    '--autoplay-policy=no-user-gesture-required',
    '--auto-select-desktop-capture-source=Entire screen',
    '--lang=en-US',
];

const firefoxPreferences = {
    'media.navigator.streams.fake': true,
    'media.navigator.permission.disabled': true,
    'media.autoplay.default': 0,
    'media.getusermedia.insecure.enabled': true,
    'intl.accept_languages': 'en-US',
    'app.update.auto': false,
    'browser.shell.checkDefaultBrowser': false,
    'datareporting.policy.dataSubmissionEnabled': false,
    'toolkit.telemetry.enabled': false,
    'network.captive-portal-service.enabled': false,
    'network.connectivity-service.enabled': false,
    'media.gmp-manager.updateEnabled': false,
    'extensions.getAddons.cache.enabled': false,
    'services.settings.server': 'http://127.0.0.1:1',
};

/** Starts a browser: `chromium` or `firefox`, with its own profile. `authority`: the file of a certificate that it trusts. */
export async function launch(kind, { flags = [], authority } = {}) {
    const profile = mkdtempSync(join(tmpdir(), `plausch-${kind}-`));
    if (authority) trust(kind === 'firefox' ? profile : join(profile, '.pki/nssdb'), authority);
    const browser =
        kind === 'firefox'
            ? await puppeteer.launch({
                  browser: 'firefox',
                  executablePath: '/usr/bin/firefox-esr',
                  headless: true,
                  userDataDir: profile,
                  extraPrefsFirefox: firefoxPreferences,
                  env: { ...process.env, HOME: profile },
              })
            : await puppeteer.launch({
                  executablePath: '/usr/bin/chromium',
                  headless: true,
                  userDataDir: profile,
                  args: [...chromiumFlags, ...flags],
                  env: { ...process.env, HOME: profile },
              });
    const close = browser.close.bind(browser);
    browser.close = async () => {
        await close();
        rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    };
    return browser;
}

const role = (role, name) => `::-p-aria([name="${name}"][role="${role}"])`;

// Runs in the page before its own scripts: remembers every PeerConnection, so that statistics need no help of ours.
function watchConnections() {
    const connections = [];
    const Native = window.RTCPeerConnection;
    // As a person whose network lets only one way through: `window.testOnly` is `udp`, `tcp` or `tls`.
    const forced = (configuration = {}) => {
        const only = window.testOnly;
        // The page's own tests of the network say which way they mean.
        if (!only || configuration.iceTransportPolicy === 'relay') return configuration;
        const wanted = (url) => url.startsWith('turns:') === (only === 'tls') && url.endsWith(only === 'udp' ? '=udp' : '=tcp');
        const iceServers = configuration.iceServers.map((server) => ({ ...server, urls: server.urls.filter(wanted) }));
        return { ...configuration, iceServers, iceTransportPolicy: 'relay' };
    };
    window.RTCPeerConnection = class extends Native {
        constructor(configuration) {
            super(forced(configuration));
            connections.push(this);
        }
        setConfiguration(configuration) {
            super.setConfiguration(forced({ ...configuration, iceTransportPolicy: 'all' }));
        }
    };
    /** Our end of the candidate pair in use, for each connection that has one. */
    window.testRoutes = async () => {
        const routes = [];
        for (const connection of connections) {
            if (connection.connectionState !== 'connected') continue;
            const stats = await connection.getStats();
            const entries = [...stats.values()];
            const chosen = entries.find(({ type }) => type === 'transport')?.selectedCandidatePairId;
            const pair = chosen ? stats.get(chosen) : entries.find((entry) => entry.type === 'candidate-pair' && entry.selected);
            const local = pair && stats.get(pair.localCandidateId);
            if (local) routes.push({ type: local.candidateType, by: local.relayProtocol, sent: pair.bytesSent, received: pair.bytesReceived });
        }
        return routes;
    };
    const inbound = async () => {
        const found = [];
        for (const [index, connection] of connections.entries()) {
            if (connection.connectionState === 'closed') continue;
            for (const entry of (await connection.getStats()).values()) {
                if (entry.type !== 'inbound-rtp') continue;
                found.push({
                    key: `${index}/${entry.ssrc}`,
                    kind: entry.kind,
                    track: entry.trackIdentifier,
                    packets: entry.packetsReceived ?? 0,
                    lost: entry.packetsLost ?? 0,
                    frames: entry.framesDecoded ?? 0,
                    energy: entry.totalAudioEnergy ?? 0,
                    width: entry.frameWidth ?? 0,
                    freezes: entry.freezeCount ?? 0,
                });
            }
        }
        return found;
    };
    window.testInbound = inbound;
    window.testConnections = () => connections.length;
    // The longest time in which an inbound stream that had packets before got none, sampled in the page.
    window.testWatchPauses = () => {
        const watch = new Map();
        const sample = async () => {
            const now = performance.now();
            for (const { key, packets } of await inbound()) {
                const known = watch.get(key);
                if (!known) watch.set(key, { packets, since: now, longest: 0 });
                else if (packets > known.packets) Object.assign(known, { packets, since: now });
                else if (known.packets > 0) known.longest = Math.max(known.longest, now - known.since);
            }
        };
        const timer = setInterval(sample, 100);
        return () => {
            clearInterval(timer);
            return Object.fromEntries([...watch].filter(([, s]) => s.packets > 0).map(([key, s]) => [key, s.longest]));
        };
    };
}

export class Person {
    /** `only`: the one way to TURN that the person's connection may use, `udp`, `tcp` or `tls`. */
    static async open(browser, service, name, { viewport = { width: 1280, height: 800 }, language = 'en-US', only } = {}) {
        const person = new Person();
        person.name = name;
        person.service = service;
        // A window of its own: a page in a background tab is throttled, and cannot be clicked.
        person.page = await browser.newPage({ type: 'window' });
        person.errors = [];
        person.requests = [];
        person.page.on('pageerror', (error) => {
            // Firefox reports a refused connection as an error of the page; while a process is killed, that is right.
            if (!/can.t establish a connection/.test(error.message)) person.errors.push(error.message);
        });
        // A page that is left in a call asks first; whoever leaves here means it.
        person.page.on('dialog', (dialog) => dialog.accept());
        person.page.on('request', (request) => person.requests.push(request.url()));
        if (viewport) await person.page.setViewport(viewport);
        if (only) await person.page.evaluateOnNewDocument((way) => (window.testOnly = way), only);
        await person.page.evaluateOnNewDocument(watchConnections);
        await person.page.evaluateOnNewDocument((tag) => {
            Object.defineProperty(navigator, 'language', { get: () => tag });
            Object.defineProperty(navigator, 'languages', { get: () => [tag] });
        }, language);
        return person;
    }

    see(kind, name, limit = 15_000) {
        return until(`${this.name} sees the ${kind} "${name}"`, () => this.page.$(role(kind, name)), limit);
    }

    unsee(kind, name, limit = 15_000) {
        return until(`${this.name} no longer sees the ${kind} "${name}"`, async () => !(await this.page.$(role(kind, name))), limit);
    }

    async press(name) {
        await (await this.see('button', name)).click();
    }

    async type(name, text) {
        const box = await this.see('textbox', name);
        await box.evaluate((element) => {
            element.focus();
            element.select();
        });
        await box.type(text);
    }

    /** From the start page by name, as a new user would. */
    async join(room) {
        await this.page.goto(this.service.url);
        await this.type('Room name', room);
        await this.press("Let's go");
        await this.enter();
    }

    /** From the device page on. */
    async enter() {
        await this.type('Your name', this.name);
        await this.press('Join conference');
        await this.see('button', 'Leave');
    }

    /** Our end of the route that media takes at the moment. */
    async route() {
        const routes = await this.page.evaluate(() => window.testRoutes());
        assert.equal(routes.length, 1, `${this.name} has one connection: ${JSON.stringify(routes)}`);
        return routes[0];
    }

    inbound() {
        return this.page.evaluate(() => window.testInbound());
    }

    /** Frames decoded of the track that the video element in the tile of `name` shows. */
    async frames(name) {
        const tile = await this.page.$(role('group', name));
        if (!tile) return 0;
        return tile.evaluate(async (group) => {
            const track = group.querySelector('video')?.srcObject?.getVideoTracks()[0]?.id;
            return (await window.testInbound()).find((stream) => stream.track === track)?.frames ?? 0;
        });
    }

    /** Waits until the pictures of all `names` move and as many microphones are heard. */
    async seesAndHears(names, limit = 30_000) {
        for (const name of names) {
            let before = await this.frames(name);
            await until(
                `${this.name} sees ${name} move`,
                async () => {
                    const now = await this.frames(name);
                    // A new connection counts from zero.
                    before = Math.min(before, now);
                    return now > before + 5;
                },
                limit,
            );
        }
        const before = new Map((await this.inbound()).map((s) => [s.key, s]));
        const growing = async (kind, field) =>
            (await this.inbound()).filter((s) => s.kind === kind && s[field] > (before.get(s.key)?.[field] ?? 0)).length;
        await until(`${this.name} decodes ${names.length} pictures`, async () => (await growing('video', 'frames')) >= names.length, limit);
        await until(`${this.name} hears ${names.length} voices`, async () => (await growing('audio', 'energy')) >= names.length, limit);
    }

    async watchPauses() {
        this.pauses = await this.page.evaluateHandle(() => window.testWatchPauses());
    }

    longestPauses() {
        return this.page.evaluate((stop) => stop(), this.pauses);
    }

    async screenshot(file) {
        const folder = process.env.PLAUSCH_SCREENSHOTS;
        if (!folder) return;
        mkdirSync(folder, { recursive: true });
        await this.page.screenshot({ path: join(folder, file) });
    }
}
