// The real Stream SDK through the gateway: server-side calls, a user's calls, the WebSocket, and getRateLimits.
// The upstream is a recorder that speaks just enough of Stream's API for the SDK to go on.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import readline from 'node:readline';
import { after, before, test } from 'node:test';
import { StreamChat } from 'stream-chat';
import { WebSocketServer } from 'ws';

const binary = process.env.TIDEGATE_BIN ?? new URL('../../target/release/tidegate', import.meta.url).pathname;
const seen = [];
let upstream, gateway, base;

before(async () => {
  upstream = http.createServer(answer);
  const sockets = new WebSocketServer({ server: upstream });
  sockets.on('connection', (socket, request) => {
    seen.push({ method: 'GET', path: new URL(request.url, 'http://x').pathname, socket: true });
    socket.send(JSON.stringify({ type: 'health.check', connection_id: 'c1', me: { id: 'amy', mutes: [], devices: [] } }));
    socket.on('message', (data) => socket.send(data.toString()));
  });
  upstream.listen(0, '127.0.0.1');
  await once(upstream, 'listening');
  const [listen, control] = [await freePort(), await freePort()];
  base = `http://127.0.0.1:${listen}`;
  gateway = spawn(
    binary,
    ['serve', '--vendor', 'stream', '--upstream', `http://127.0.0.1:${upstream.address().port}`,
      '--store', 'memory', '--listen', `127.0.0.1:${listen}`, '--control', `127.0.0.1:${control}`],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  // It says where it listens once it does.
  for await (const line of readline.createInterface({ input: gateway.stdout })) {
    if (line.includes(String(listen))) break;
  }
  gateway.stdout.resume();
});

after(async () => {
  gateway.kill('SIGTERM');
  await once(gateway, 'exit');
  upstream.closeAllConnections();
  upstream.close();
});

test('server-side calls are counted on the server platform, and getRateLimits tells', async () => {
  await startOfMinute();
  const server = client('app-a');
  for (let n = 0; n < 3; n += 1) await server.channel('messaging', 'general').sendMessage({ text: `hello ${n}`, user_id: 'amy' });
  const limits = await server.getRateLimits({ serverSide: true, endpoints: ['SendMessage', 'GetRateLimits'] });
  assert.deepEqual(Object.keys(limits).sort(), ['duration', 'server_side']);
  assert.deepEqual(Object.keys(limits.server_side).sort(), ['GetRateLimits', 'SendMessage']);
  assert.equal(limits.server_side.SendMessage.limit, 1000);
  assert.equal(limits.server_side.SendMessage.remaining, 997);
  assert.equal(limits.server_side.SendMessage.reset % 60, 0);
  assert.equal(limits.server_side.GetRateLimits.remaining, limits.server_side.GetRateLimits.limit - 1);
  const all = await server.getRateLimits();
  assert.deepEqual(Object.keys(all).sort(), ['android', 'duration', 'ios', 'server_side', 'web']);
  assert.equal(all.web.SendMessage.remaining, 1000);
  assert.ok(Object.keys(all.ios).length >= 113, `${Object.keys(all.ios).length} endpoints`);
});

test('a refusal reaches the SDK as error code 9, and the upstream sees exactly the admitted requests', async () => {
  await startOfMinute();
  seen.length = 0;
  const server = client('app-b');
  let admitted = 0;
  const refusals = [];
  for (let n = 0; n < 10; n += 1) {
    try {
      await server.deleteUsers(['amy']);
      admitted += 1;
    } catch (error) {
      refusals.push(error);
    }
  }
  // 6 a minute; one a second is the thirtieth of it, at least one.
  assert.ok(admitted >= 1 && admitted <= 6, `${admitted} admitted`);
  assert.equal(refusals.length, 10 - admitted);
  for (const error of refusals) {
    assert.equal(error.status, 429);
    assert.equal(error.code, 9);
    assert.equal(error.response.data.StatusCode, 429);
    assert.equal(error.response.headers['x-ratelimit-remaining'], '0');
  }
  assert.equal(seen.filter((request) => request.path === '/users/delete').length, admitted);
});

test("one user's calls end at 60 a minute while another's go on", async () => {
  await startOfMinute();
  seen.length = 0;
  const server = client('app-c');
  const amy = await connected('app-c', server, 'amy');
  assert.ok(seen.some((request) => request.socket && request.path === '/connect'), 'the socket went through');
  // 60 of the minute, at most 33 in a second: QueryUsers has 1,000 a minute for the app.
  let admitted = 0;
  let refused;
  while (refused === undefined && admitted < 200) {
    try {
      await amy.queryUsers({ id: { $in: ['amy'] } });
      admitted += 1;
    } catch (error) {
      assert.equal(error.code, 9, error.message);
      if (error.message.includes('for user: amy')) refused = error;
    }
  }
  assert.equal(admitted, 60);
  const bob = await connected('app-c', server, 'bob');
  await untilAdmitted(() => bob.queryUsers({ id: { $in: ['bob'] } }));
  assert.equal(seen.filter((request) => request.path === '/users' && request.method === 'GET').length, 61);
  await amy.disconnectUser();
  await bob.disconnectUser();
});

function client(key) {
  const made = new StreamChat(key, 'a-secret', { timeout: 5000, enableInsights: false });
  made.setBaseURL(base);
  return made;
}

async function connected(key, server, id) {
  const made = new StreamChat(key, { timeout: 5000, enableInsights: false, allowServerSideConnect: true });
  made.setBaseURL(base);
  await made.connectUser({ id }, server.createToken(id));
  return made;
}

/** Waits until at least 20 seconds of the clock's minute are left, so that a test stays within one window. */
async function startOfMinute() {
  const left = 60_000 - (Date.now() % 60_000);
  if (left < 20_000) await new Promise((resolve) => setTimeout(resolve, left + 5));
}

/** Repeats a call while the app's quota of the second refuses it; any other error ends the test. */
async function untilAdmitted(call) {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      assert.equal(error.code, 9, error.message);
      assert.ok(!error.message.includes('for user'), error.message);
    }
  }
}

async function freePort() {
  const probe = net.createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  probe.close();
  await once(probe, 'close');
  return port;
}

function answer(request, response) {
  const { pathname } = new URL(request.url, 'http://x');
  seen.push({ method: request.method, path: pathname });
  request.resume();
  request.on('end', () => {
    response.setHeader('Content-Type', 'application/json');
    const body = pathname.endsWith('/message')
      ? { message: { id: 'm1', text: 'hello' }, duration: '1.00ms' }
      : { users: [], channels: [], task_id: 't1', duration: '1.00ms' };
    response.end(JSON.stringify(body));
  });
}
