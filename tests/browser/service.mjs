// The real processes, on free loopback ports and in a folder of their own.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

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

/** Free for TCP and UDP. */
const freePort = async () => {
    for (;;) {
        const port = await freeTcpPort();
        const socket = createSocket('udp4');
        const free = await new Promise((done) => socket.once('error', () => done(false)).bind(port, () => done(true)));
        socket.close();
        if (free) return port;
    }
};

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

    /**
     * `certificate`: files for HTTPS and TURN over TLS. `namespace`: the network namespace in which both processes run, on
     * their default ports and with TLS on port 443.
     */
    static async start({ certificate, namespace } = {}) {
        const service = new Service();
        service.namespace = namespace;
        service.state = mkdtempSync(join(tmpdir(), 'plausch-browser-'));
        service.httpPort = namespace ? 8080 : await freeTcpPort();
        service.metricsPort = namespace ? 7901 : await freeTcpPort();
        service.environment = {
            ...process.env,
            PLAUSCH_STATE_DIR: service.state,
            PLAUSCH_HTTP_PORT: `${service.httpPort}`,
            PLAUSCH_LINK_PORT: `${namespace ? 7900 : await freeUdpPort()}`,
            PLAUSCH_MEDIA_PORT: `${namespace ? 7882 : await freeUdpPort()}`,
            PLAUSCH_METRICS_PORT: `${service.metricsPort}`,
            PLAUSCH_TURN_PORT: `${namespace ? 3478 : await freePort()}`,
            PLAUSCH_TURN_TLS_PORT: `${namespace ? 443 : await freeTcpPort()}`,
        };
        if (certificate) {
            service.config = join(service.state, 'control.toml');
            const files = Object.entries(certificate).map(([name, file]) => `${name} = ${JSON.stringify(file)}\n`);
            writeFileSync(service.config, `[https]\n${files.join('')}`);
        }
        service.launch('control');
        service.launch('relay');
        await service.ready();
        return service;
    }

    get url() {
        return `http://localhost:${this.httpPort}`;
    }

    /** What is put in front of a command to run it where the service runs. */
    get #inside() {
        return this.namespace ? ['ip', 'netns', 'exec', this.namespace] : [];
    }

    /** The text at an address that only the service's own machine can ask. */
    async #get(url) {
        if (!this.namespace) {
            const response = await fetch(url);
            assert.ok(response.ok, `${url}: ${response.status}`);
            return response.text();
        }
        const script = 'const r = await fetch(process.argv[1]); if (!r.ok) process.exit(1); console.log(await r.text())';
        const [program, ...args] = [...this.#inside, process.execPath, '--input-type=module', '-e', script, url];
        return (await promisify(execFile)(program, args)).stdout;
    }

    /** `control` or `relay`. */
    launch(name) {
        const config = name === 'control' && this.config ? ['--config', this.config] : [];
        const [program, ...args] = [...this.#inside, join(binaries, `plausch-${name}`), ...config];
        const child = spawn(program, args, { env: this.environment, stdio: ['ignore', 'pipe', 'pipe'] });
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
        await until(`the service answers /api/health; it wrote:\n${this.log}`, () => this.#get(`${this.url}/api/health`), 30_000);
    }

    /** The relay's gauges and counters by name, summed over its shards. */
    async metrics() {
        const text = await this.#get(`http://127.0.0.1:${this.metricsPort}/metrics`);
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
