// A certificate authority of the tests' own, and browsers that trust it: HTTPS and TURN over TLS as on a real server.
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const quietly = (program, args) => execFileSync(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });

/** Makes an authority in `folder`; gives the file of its certificate. */
export function makeAuthority(folder) {
    mkdirSync(folder, { recursive: true });
    const [certificate, key] = [join(folder, 'authority.pem'), join(folder, 'authority.key')];
    quietly('openssl', [
        'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30',
        '-subj', '/CN=Plausch test authority', '-addext', 'basicConstraints=critical,CA:TRUE',
        '-addext', 'keyUsage=critical,keyCertSign', '-keyout', key, '-out', certificate,
    ]);
    return { folder, certificate, key };
}

/** A certificate for `names`, signed by the authority; gives its two files. */
export function issue(authority, names) {
    const [certificate, key, extensions] = ['server.pem', 'server.key', 'server.ext'].map((file) => join(authority.folder, file));
    const request = join(authority.folder, 'server.csr');
    quietly('openssl', [
        'req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', `/CN=${names[0]}`, '-keyout', key, '-out', request,
    ]);
    writeFileSync(extensions, `subjectAltName=${names.map((name) => `DNS:${name}`).join(',')}\nextendedKeyUsage=serverAuth\n`);
    quietly('openssl', [
        'x509', '-req', '-in', request, '-CA', authority.certificate, '-CAkey', authority.key, '-CAcreateserial', '-days', '30',
        '-extfile', extensions, '-out', certificate,
    ]);
    return { certificate, key };
}

/** Puts the authority into a database of NSS, where Firefox (its profile) and Chromium (~/.pki/nssdb) look. */
export function trust(database, authority) {
    mkdirSync(database, { recursive: true });
    quietly('certutil', ['-N', '--empty-password', '-d', `sql:${database}`]);
    quietly('certutil', ['-A', '-d', `sql:${database}`, '-n', 'Plausch tests', '-t', 'C,,', '-i', authority]);
}
