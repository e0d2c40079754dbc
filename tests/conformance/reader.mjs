// The official SDK as a reader in a benchmark: node reader.mjs BASE_URL PROJECT MARK
//
// Counts the events that its callback is given. At each event of the type MARK it writes one line of JSON: when that
// was (seconds on the machine's monotonic clock), the processor time since the last one in seconds, and the count.

import { WebSocket } from 'ws';
import { AInTandemClient } from '@aintandem/sdk-core';

const [baseURL, project, mark] = process.argv.slice(2);
globalThis.WebSocket = WebSocket;

const client = new AInTandemClient({ baseURL });
await client.auth.login({ username: 'admin', password: 'admin123' });

let events = 0;
let before = process.cpuUsage();

function onEvent(event) {
  if (event.type !== mark) {
    events += 1;
    return;
  }
  const ended = Number(process.hrtime.bigint()) / 1e9;
  const used = process.cpuUsage(before);
  process.stdout.write(JSON.stringify({ ended, cpu_s: (used.user + used.system) / 1e6, events }) + '\n');
  before = process.cpuUsage();
  events = 0;
}

await client.getProgress().subscribeToProgress(project, onEvent);
