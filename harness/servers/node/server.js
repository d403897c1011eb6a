// Storm Lab's Node.js server: node:http, written as its documentation writes a server.
'use strict';

const cluster = require('node:cluster');
const http = require('node:http');
const net = require('node:net');
const { parseArgs } = require('node:util');

const HEADERS = Symbol('the headers of all answers of a connection');
const MAX_INT = 2 ** 31 - 1; // listen(2) takes a C int

function fail(message, status) {
  console.error(`server.js: ${message}`);
  process.exit(status);
}

function options() {
  const text = (fallback) => ({ type: 'string', default: fallback });
  let values;
  try {
    ({ values } = parseArgs({
      options: {
        host: text('127.0.0.1'),
        port: { type: 'string' },
        backlog: text('default'),
        'body-bytes': text('12'),
        'work-us': text('0'),
        workers: text('default'),
        stamps: text('on'),
        http: text('1'),
      },
    }));
  } catch (error) {
    fail(error.message, 2);
  }
  const number = (name, least, most = MAX_INT) => {
    const value = values[name];
    if (!/^\d+$/.test(value) || Number(value) < least || Number(value) > most) {
      fail(`--${name} ${value}: not a number of ${least}..${most}`, 2);
    }
    return Number(value);
  };
  const orDefault = (name) => (values[name] === 'default' ? undefined : number(name, 1));
  if (values.backlog === '0') {
    fail('--backlog 0: Node.js takes 0 for "not given" and listens with 511; use 1 or more', 2);
  }
  if (!net.isIP(values.host)) fail(`--host ${values.host}: not an IP address`, 2);
  if (!['on', 'off'].includes(values.stamps)) fail(`--stamps ${values.stamps}: not on or off`, 2);
  if (!['1', '2'].includes(values.http)) fail(`--http ${values.http}: not 1 or 2`, 2);
  return {
    host: values.host,
    port: number('port', 1, 65535),
    backlog: orDefault('backlog'),
    bodyBytes: number('body-bytes', 0),
    workUs: number('work-us', 0),
    workers: orDefault('workers') ?? 1,
    stamps: values.stamps === 'on',
    // Loaded only where it is asked for; without TLS it speaks nothing else.
    library: values.http === '2' ? require('node:http2') : http,
  };
}

function announce({ host, port, library }) {
  const frames = library !== http ? `, nghttp2 ${process.versions.nghttp2}` : '';
  console.log(`ready ${net.isIPv6(host) ? `[${host}]` : host}:${port} node ${process.version}${frames}`);
}

function serve({ host, port, backlog, bodyBytes, workUs, stamps, library }) {
  const body = Buffer.alloc(bodyBytes, 'x');
  const headers = { 'Content-Type': 'text/plain', 'Content-Length': bodyBytes };
  const server = library.createServer((request, response) => {
    if (workUs > 0) {
      const end = performance.now() + workUs / 1000;
      while (performance.now() < end);
    }
    response.writeHead(200, request.socket[HEADERS] ?? headers);
    response.end(body);
  });
  if (stamps) {
    // Prepended, to be called before the listener with which node:http sets the connection up.
    server.prependListener('connection', (socket) => {
      const acceptNs = process.hrtime.bigint(); // CLOCK_MONOTONIC
      socket[HEADERS] = { ...headers, 'X-Accept-Ns': String(acceptNs) };
    });
  }
  // Left unheard, an 'error' would end the process too, but with a stack trace.
  server.on('error', (error) => fail(error.message, 1));
  if (backlog === undefined) server.listen(port, host);
  else server.listen({ port, host, backlog });
  return server;
}

function supervise(asked) {
  const { workers } = asked;
  let listening = 0;
  cluster.on('listening', () => {
    listening += 1;
    if (listening === workers) announce(asked);
  });
  let running = workers;
  let stopping = false;
  cluster.on('exit', (worker, status, signal) => {
    running -= 1;
    // A SIGTERM to the whole process group reaches the workers first.
    stopping ||= signal === 'SIGTERM';
    if (!stopping) fail(`worker ${worker.process.pid} ended: ${signal ?? status}`, 1);
    if (running === 0) process.exit(0);
  });
  process.on('SIGTERM', () => {
    stopping = true;
    for (const worker of Object.values(cluster.workers)) worker.process.kill('SIGTERM');
  });
  for (let worker = 0; worker < workers; worker += 1) cluster.fork();
}

const asked = options();
if (cluster.isWorker) {
  serve(asked);
} else if (asked.workers > 1) {
  supervise(asked);
} else {
  process.on('SIGTERM', () => process.exit(0));
  serve(asked).on('listening', () => announce(asked));
}
