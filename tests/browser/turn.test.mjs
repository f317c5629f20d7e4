// Calls by TURN, and through a strict firewall: a server and two browsers on a little network of their own. Browsers are
// driven over loopback, so whoever drives them must be in their network namespace: turn.visitors.mjs has the tests.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { namespacesMissing, TwoHosts } from './namespaces.mjs';

test('calls by TURN, on a network made of namespaces', { skip: namespacesMissing() }, async () => {
    const hosts = TwoHosts.make();
    try {
        const { NODE_TEST_CONTEXT: _, ...environment } = process.env;
        const visitors = fileURLToPath(new URL('turn.visitors.mjs', import.meta.url));
        const [program, ...args] = ['ip', 'netns', 'exec', hosts.client, process.execPath, '--test', '--test-reporter=spec', visitors];
        const run = spawn(program, args, { env: { ...environment, PLAUSCH_TEST_HOSTS: hosts.name }, stdio: ['ignore', 'pipe', 'pipe'] });
        let output = '';
        for (const stream of [run.stdout, run.stderr]) stream.on('data', (chunk) => (output += chunk));
        const code = await new Promise((done) => run.once('exit', done));
        console.log(output);
        assert.equal(code, 0, 'the tests in the namespace; what they wrote is above');
        assert.match(output, /pass 4\b/, 'all of them ran');
    } finally {
        hosts.remove();
    }
});
