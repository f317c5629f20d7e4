// scripts/run, as somebody starts it by hand.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { root, until } from './service.mjs';

const environment = (port, state) => ({
    ...process.env,
    PLAUSCH_PROFILE: 'dev',
    PLAUSCH_HTTP_PORT: `${port}`,
    PLAUSCH_MEDIA_PORT: '17882',
    PLAUSCH_STATE_DIR: state,
});

/** Starts scripts/run; whatever happens in the test, it ends with it. */
function run(t, port, state) {
    const child = spawn(join(root, 'scripts/run'), [], { env: environment(port, state), stdio: ['ignore', 'pipe', 'pipe'] });
    const run = { child, out: '', err: '' };
    child.stdout.on('data', (chunk) => (run.out += chunk));
    child.stderr.on('data', (chunk) => (run.err += chunk));
    run.ended = new Promise((done) => child.once('exit', done));
    t.after(async () => {
        if (child.exitCode === null) child.kill('SIGTERM');
        await run.ended;
        rmSync(state, { recursive: true, force: true });
    });
    return run;
}

const answers = (port) =>
    fetch(`http://127.0.0.1:${port}/api/health`).then(
        (response) => response.ok,
        () => false,
    );

test('scripts/run says when it is ready, survives a dying process, and ends cleanly', async (t) => {
    const port = 18080;
    const state = mkdtempSync(join(tmpdir(), 'plausch-run-'));
    const service = run(t, port, state);
    await until(`the ready line; it wrote ${service.err}`, () => service.out.includes(`Plausch is ready: http://localhost:${port}\n`), 900_000);
    assert.ok(await answers(port));

    // The web address is taken now: a second start says so and does not stay.
    const second = run(t, port, state);
    assert.notEqual(await second.ended, 0);
    assert.match(second.err, new RegExp(`${port}`));
    assert.ok(await answers(port), 'the first one does not mind');

    const [control] = (await children(service.child.pid)).filter((child) => child.command.includes('plausch-control'));
    process.kill(control.pid, 'SIGKILL');
    await until('control is back', async () => (await children(service.child.pid)).some((c) => c.command.includes('plausch-control') && c.pid !== control.pid));
    await until('control answers again', () => answers(port));

    const processes = await children(service.child.pid);
    service.child.kill('SIGTERM');
    assert.equal(await service.ended, 0, service.err);
    for (const { pid, command } of processes.filter(({ command }) => command.includes('plausch-'))) {
        assert.throws(() => process.kill(pid, 0), `${command} ended too`);
    }
    assert.equal(service.out.match(/Plausch is ready/g).length, 1);
});

test('scripts/run refuses a port that is none', async (t) => {
    const state = mkdtempSync(join(tmpdir(), 'plausch-run-'));
    const service = run(t, 'eighty', state);
    assert.notEqual(await service.ended, 0);
    assert.match(service.err, /PLAUSCH_HTTP_PORT/);
});

test('scripts/run says that a foreign program holds its port', async (t) => {
    const foreign = createServer();
    await new Promise((done) => foreign.listen(0, '127.0.0.1', done));
    const { port } = foreign.address();
    const state = mkdtempSync(join(tmpdir(), 'plausch-run-'));
    const service = run(t, port, state);
    assert.notEqual(await service.ended, 0);
    assert.match(service.err, new RegExp(`${port}`));
    foreign.close();
});

async function children(pid) {
    const { readFileSync } = await import('node:fs');
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
        .trim()
        .split(' ')
        .filter(Boolean)
        .map((child) => ({ pid: Number(child), command: readFileSync(`/proc/${child}/cmdline`, 'utf8').replaceAll('\0', ' ') }));
}
