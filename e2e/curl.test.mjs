// Real curl through the gateway, for every vendor: more requests than a limit admits. The upstream sees exactly the
// admitted ones, and each answer has the vendor's fields.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import readline from 'node:readline';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

const binary = process.env.TIDEGATE_BIN ?? new URL('../target/release/tidegate', import.meta.url).pathname;
const vendors = {
  cometchat: {
    path: '/v3/messages', curl: ['-H', 'apikey: a', '-H', 'onBehalfOf: u1', '-d', '{}'], limit: 30,
    refusal: { headers: ['x-ratelimit-limit', 'x-ratelimit-remaining', 'x-ratelimit-reset', 'retry-after'], body: '"code":"ERR_TOO_MANY_REQUESTS"' },
  },
  stream: {
    path: '/users/delete', curl: ['-d', '{}'], limit: 1,
    refusal: { headers: ['x-ratelimit-limit', 'x-ratelimit-remaining', 'x-ratelimit-reset'], body: '"code":9' },
  },
  sendbird: {
    path: '/v3/group_channels/c1/invite', curl: ['-H', 'Api-Token: t', '-d', '{}'], limit: 5,
    refusal: { headers: ['x-ratelimit-limit', 'x-ratelimit-remaining', 'x-ratelimit-reset', 'x-ratelimit-retryafter'], body: '"code":500910' },
  },
  qstash: {
    path: '/v2/publish/https://example.com/a//b', curl: ['-H', 'Authorization: Bearer t', '-d', '{}', '--path-as-is'], limit: 100, requests: 700,
    // The day's 500 refuse first where the machine takes seconds for these requests.
    refusal: { headers: ['(burst-)?ratelimit-limit', '(burst-)?ratelimit-remaining', '(burst-)?ratelimit-reset'], body: '"error":"Exceeded' },
  },
  whatsapp: {
    path: '/sessions/s1/send', curl: ['-H', 'X-API-Key: k1', '-d', '{}'], limit: 30,
    refusal: { headers: ['x-ratelimit-limit', 'x-ratelimit-remaining', 'x-ratelimit-reset'], body: '"success":false' },
  },
};

let seen = [];
const upstream = http.createServer((request, response) => {
  seen.push(request.url);
  request.resume().on('end', () => response.end('{}'));
});

before(async () => {
  upstream.listen(0, '127.0.0.1');
  await once(upstream, 'listening');
});

after(() => {
  upstream.closeAllConnections();
  upstream.close();
});

for (const [vendor, about] of Object.entries(vendors)) {
  test(`${vendor}: what curl was admitted is what the upstream saw`, async () => {
    seen = [];
    const gateway = spawn(
      binary,
      ['serve', '--vendor', vendor, '--upstream', `http://127.0.0.1:${upstream.address().port}`, '--store', 'memory',
        '--listen', '127.0.0.1:0', '--control', '127.0.0.1:0'],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    try {
      const base = await listening(gateway);
      const requests = about.requests ?? about.limit * 4;
      const url = `${base}${about.path}?n=[1-${requests}]`;
      const { stdout } = await promisify(execFile)(
        'curl', ['-s', '-S', ...about.curl, '-o', '/dev/null', '-w', '%{http_code}\\n', url], { maxBuffer: 1 << 24 });
      const codes = stdout.trim().split('\n').map(Number);
      assert.equal(codes.length, requests);
      const admitted = codes.filter((code) => code === 200).length;
      assert.equal(codes.filter((code) => code === 429).length, requests - admitted);
      assert.ok(admitted >= about.limit && admitted < requests, `${admitted} of ${requests} admitted`);
      assert.equal(seen.length, admitted);
      assert.ok(seen.every((target) => target.startsWith(`${about.path}?n=`)), seen[0]);
      await refusalIsSpelled(base, about);
    } finally {
      gateway.kill('SIGTERM');
      await once(gateway, 'exit');
    }
  });
}

/** Asks until a refusal comes, and looks at its fields. */
async function refusalIsSpelled(base, { path, curl, refusal, requests = 200 }) {
  const { stdout } = await promisify(execFile)('curl', ['-s', '-S', '-i', ...curl, `${base}${path}?m=[1-${requests}]`], { maxBuffer: 1 << 26 });
  const start = stdout.indexOf('HTTP/1.1 429 ');
  assert.ok(start >= 0, 'a refusal');
  const end = stdout.indexOf('HTTP/1.1 ', start + 1);
  const [head, body] = stdout.slice(start, end < 0 ? undefined : end).split('\r\n\r\n');
  for (const name of refusal.headers) assert.match(head.toLowerCase(), new RegExp(`^${name}: `, 'm'), head);
  assert.ok(body.includes(refusal.body), body);
}

/** The gateway's address, which it prints once it listens. */
async function listening(gateway) {
  for await (const line of readline.createInterface({ input: gateway.stdout })) {
    const found = /gateway\s+(http:\/\/\S+)/.exec(line);
    if (found) {
      gateway.stdout.resume();
      return found[1];
    }
  }
  throw new Error('the gateway ended before it listened');
}
