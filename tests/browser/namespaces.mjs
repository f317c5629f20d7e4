// A server and a client on a little network of their own, made of two network namespaces, with a firewall between them.
import { execFileSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Why this machine lets nobody make namespaces; `undefined` if it does. */
export function namespacesMissing() {
    if (process.getuid() !== 0) return 'network namespaces need root';
    try {
        execFileSync('unshare', ['--net', 'true'], { stdio: 'ignore' });
    } catch {
        return 'this machine allows no network namespaces';
    }
    return undefined;
}

const ip = (...args) => execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });

/** The server's address, and its name as the client knows it. */
const ADDRESS = '10.77.0.1';
export const HOST = 'plausch.test';

/**
 * Answers the client's questions for the server's name, from within the client's namespace. Chromium asks for TURN servers
 * with a dot at the end of the name, which no line of a hosts file fits. Gives what ends it.
 */
export async function answerName() {
    const name = Buffer.concat([...HOST.split('.'), ''].map((label) => Buffer.from([label.length, ...Buffer.from(label)])));
    const socket = createSocket('udp4');
    socket.on('message', (query, { port, address }) => {
        // RFC 1035, section 4.1: a header of 12 bytes, then the question: name, type, class.
        const end = query.indexOf(0, 12) + 5;
        const asked = query.subarray(12, end - 4);
        const known = asked.toString('latin1').toLowerCase() === name.toString('latin1');
        const found = known && query.readUInt16BE(end - 4) === 1;
        const reply = Buffer.concat([
            query.subarray(0, 2),
            // An authoritative response: no error, or no such name.
            Buffer.from([0x84, known ? 0 : 3, 0, 1, 0, found ? 1 : 0, 0, 0, 0, 0]),
            query.subarray(12, end),
            // The name of the question, type A, class IN, 60 s, 4 bytes.
            found ? Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, ...ADDRESS.split('.').map(Number)]) : Buffer.alloc(0),
        ]);
        socket.send(reply, port, address);
    });
    await new Promise((done, failed) => socket.once('error', failed).bind(53, '127.0.0.1', done));
    return () => socket.close();
}

/** The two of them, by a name that both namespaces begin with. */
export class TwoHosts {
    constructor(name) {
        this.name = name;
    }

    static make() {
        const hosts = new TwoHosts(`plausch-${process.pid}`);
        const { server, client } = hosts;
        try {
            for (const namespace of [server, client]) {
                ip('netns', 'add', namespace);
                ip('-n', namespace, 'link', 'set', 'lo', 'up');
            }
            ip('link', 'add', 'eth0', 'netns', server, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', client);
            ip('-n', server, 'address', 'add', `${ADDRESS}/24`, 'dev', 'eth0');
            ip('-n', client, 'address', 'add', '10.77.0.2/24', 'dev', 'eth0');
            for (const namespace of [server, client]) ip('-n', namespace, 'link', 'set', 'eth0', 'up');
            // Chromium looks for its address by the default route.
            ip('-n', client, 'route', 'add', 'default', 'via', ADDRESS);
            // `ip netns exec` shows these files as those in /etc.
            mkdirSync(hosts.#etc, { recursive: true });
            writeFileSync(join(hosts.#etc, 'hosts'), `127.0.0.1 localhost\n${ADDRESS} ${HOST}\n`);
            writeFileSync(join(hosts.#etc, 'resolv.conf'), 'nameserver 127.0.0.1\n');
        } catch (error) {
            hosts.remove();
            throw error;
        }
        return hosts;
    }

    get server() {
        return `${this.name}-s`;
    }

    get client() {
        return `${this.name}-c`;
    }

    get #etc() {
        return `/etc/netns/${this.client}`;
    }

    /**
     * From now on UDP of the client vanishes, and everything but these TCP ports of the server is refused. The rules are at
     * the server's end: a firewall on the way lets a client send, and nothing arrives.
     */
    allowOnly(...tcpPorts) {
        const rules = `
            table inet firewall
            delete table inet firewall
            table inet firewall {
                counter vanished { }
                chain input {
                    type filter hook input priority 0; policy accept;
                    iifname "lo" accept
                    tcp dport { ${tcpPorts.join(', ')} } accept
                    meta l4proto udp counter name vanished drop
                    meta l4proto tcp reject with tcp reset
                    reject
                }
            }`;
        this.#nft({ input: rules }, '-f', '-');
    }

    /** Datagrams that the firewall has swallowed. */
    vanished() {
        const list = JSON.parse(this.#nft({}, '-j', 'list', 'counter', 'inet', 'firewall', 'vanished'));
        return list.nftables.find((entry) => entry.counter).counter.packets;
    }

    #nft(options, ...args) {
        return execFileSync('ip', ['netns', 'exec', this.server, 'nft', ...args], { stdio: 'pipe', ...options });
    }

    /** The namespaces end with their last process. */
    remove() {
        for (const namespace of [this.server, this.client]) {
            try {
                ip('netns', 'delete', namespace);
            } catch {
                // It was never made.
            }
        }
        rmSync(this.#etc, { recursive: true, force: true });
    }
}
