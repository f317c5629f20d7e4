// The real processes, on free loopback ports and in a folder of their own.
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

export const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
/** Where cargo put the programs; the tests use the dev profile with its checks, measurements the release one. */
export const binaries = join(process.env.CARGO_TARGET_DIR ?? join(root, 'target'), process.env.PLAUSCH_TEST_PROFILE ?? 'debug');

/** Polls until `condition` gives something true, and gives that back; fails with `what` after `limit` ms. */
export async function until(what, condition, limit = 15_000, every = 100) {
    const end = Date.now() + limit;
    let last;
    while (Date.now() < end) {
        try {
            last = await condition();
            if (last) return last;
        } catch (error) {
            last = error;
        }
        await sleep(every);
    }
    throw new Error(`not within ${limit} ms: ${what} (last: ${last?.message ?? JSON.stringify(last)})`);
}

const freeTcpPort = () =>
    new Promise((done, failed) => {
        const server = createServer().once('error', failed);
        server.listen(0, '127.0.0.1', () => {
            const { port } = server.address();
            server.close(() => done(port));
        });
    });

const freeUdpPort = () =>
    new Promise((done, failed) => {
        const socket = createSocket('udp4').once('error', failed);
        socket.bind(0, '127.0.0.1', () => {
            const { port } = socket.address();
            socket.close(() => done(port));
        });
    });

export class Service {
    #processes = new Map();
    log = '';

    static async start() {
        const service = new Service();
        service.state = mkdtempSync(join(tmpdir(), 'plausch-browser-'));
        service.httpPort = await freeTcpPort();
        service.metricsPort = await freeTcpPort();
        service.environment = {
            ...process.env,
            PLAUSCH_STATE_DIR: service.state,
            PLAUSCH_HTTP_PORT: `${service.httpPort}`,
            PLAUSCH_LINK_PORT: `${await freeUdpPort()}`,
            PLAUSCH_MEDIA_PORT: `${await freeUdpPort()}`,
            PLAUSCH_METRICS_PORT: `${service.metricsPort}`,
        };
        service.launch('control');
        service.launch('relay');
        await service.ready();
        return service;
    }

    get url() {
        return `http://localhost:${this.httpPort}`;
    }

    /** `control` or `relay`. */
    launch(name) {
        const child = spawn(join(binaries, `plausch-${name}`), [], { env: this.environment, stdio: ['ignore', 'pipe', 'pipe'] });
        const keep = (chunk) => {
            this.log += chunk;
            if (process.env.PLAUSCH_TEST_LOG) process.stderr.write(chunk);
        };
        child.stdout.on('data', keep);
        child.stderr.on('data', keep);
        child.on('error', (error) => keep(`${error.message}\n`));
        this.#processes.set(name, child);
    }

    async kill(name, signal = 'SIGKILL') {
        const child = this.#processes.get(name);
        this.#processes.delete(name);
        if (child.exitCode !== null || child.signalCode !== null) return;
        const ended = new Promise((done) => child.once('exit', done));
        child.kill(signal);
        await ended;
    }

    async ready() {
        await until(`the service answers /api/health; it wrote:\n${this.log}`, async () => (await fetch(`${this.url}/api/health`)).ok, 30_000);
    }

    /** The relay's gauges and counters by name, summed over its shards. */
    async metrics() {
        const text = await (await fetch(`http://127.0.0.1:${this.metricsPort}/metrics`)).text();
        const sums = new Map();
        for (const line of text.split('\n').filter((line) => line && !line.startsWith('#'))) {
            const [name] = line.split(/[ {]/, 1);
            sums.set(name, (sums.get(name) ?? 0) + Number(line.slice(line.lastIndexOf(' ') + 1)));
        }
        return sums;
    }

    async stop() {
        await Promise.all([...this.#processes.keys()].map((name) => this.kill(name, 'SIGTERM')));
        rmSync(this.state, { recursive: true, force: true });
    }
}
