// The official SDK as a process that does what it is told: a line of JSON in, lines of JSON out.
//
//   {"id": 1, "call": ["client", "tasks", "executeTask"], "with": ["project-123", {"task": "t"}]}
//   {"id": 1, "result": …}  or  {"id": 1, "error": {"name": …, "message": …}}
//
// An argument {"$callback": "name"} becomes a function whose calls are told as {"callback": "name", "event": …}.
// What the SDK gives to call later (an unsubscribe function, a subscription) is kept: {"id": 1, "kept": 1}, and
// called with {"id": 2, "call": ["kept", 1]}.
//
// The SDK waits for seconds between two tries, so its clock can be made faster: "faster" divides the delays that it
// asks for, but not its deadlines. The delays are told as it asked for them: {"timer": 1000}.

import { createInterface } from 'node:readline';
import { WebSocket } from 'ws';
import { AInTandemClient } from '@aintandem/sdk-core';

const [baseURL, faster] = [process.argv[2], Number(process.argv[3])];
const DEADLINES = new Set([10_000, 30_000]); // of a connection, of a request

const tell = (message) => process.stdout.write(JSON.stringify(message) + '\n');

// Its reports go where errors go: standard output is ours.
console.log = console.error;
globalThis.WebSocket = WebSocket;

for (const name of ['setTimeout', 'setInterval']) {
  const original = globalThis[name];
  globalThis[name] = (act, delay, ...rest) => {
    const ours = new Error().stack.split('\n')[2].includes('sdk-core');
    if (!ours || (name === 'setTimeout' && DEADLINES.has(delay))) return original(act, delay, ...rest);
    tell({ timer: delay });
    return original(act, delay / faster, ...rest);
  };
}

const kept = [];
const roots = { client: new AInTandemClient({ baseURL, retryDelay: 1000 }), kept };

function argument(value) {
  if (value === null || typeof value !== 'object' || !('$callback' in value)) return value ?? undefined;
  return (event) => {
    tell({ callback: value.$callback, event });
    if (value.raises) throw new Error('a callback that raises');
  };
}

async function answer({ call, with: given = [] }) {
  let owner;
  let found = roots;
  for (const step of call) {
    // "getProgress()" is a step that is called on the way.
    const [, name, called] = /^(.*?)(\(\))?$/.exec(step);
    owner = found;
    found = called ? found[name]() : found[name];
  }
  const result = await found.apply(owner, given.map(argument));
  const later = typeof result === 'function' ? result : result?.unsubscribe;
  if (later) return { kept: kept.push(later) - 1 };
  return { result: result ?? null };
}

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  answer(asked)
    .then((said) => tell({ id: asked.id, ...said }))
    .catch(({ name, message, code, statusCode }) =>
      tell({ id: asked.id, error: { name, message, code, statusCode } }));
}
process.exit(0);
