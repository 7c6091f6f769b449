import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { firstValueFrom } from 'rxjs';
import type { Receipt } from '../../src/types.js';
import type { StreamStore } from '../../src/protocol/streamStore.js';
import { toNodeResponse } from '../../src/sinks/toNodeResponse.js';
import { toStore } from '../../src/sinks/toStore.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { fromStore } from '../../src/sources/fromStore.js';
import { fakeCall } from '../../src/testing/fakeCall.js';
import { answerOf, type PlayedStream } from './storeRoles.js';

/** The page shows what comes, and puts away what is void. */
const PAGE = `<!doctype html><title>An answer</title><link rel="icon" href="data:,"><pre id="text"></pre><script>
const text = document.getElementById('text');
const source = new EventSource('/events');
source.onmessage = ({ data }) => {
  const event = JSON.parse(data);
  if (event.type === 'text') text.append(event.text);
  if (event.type === 'restart') text.textContent = '';
  if (event.type === 'end') { source.close(); document.title = event.outcome; }
};
</script>`;

/** One instance of a chat service: begins an answer, serves its readers, and takes over what another has left. Prints its port. */
export async function serveInstance(store: StreamStore, stream: PlayedStream, leaseMs: number): Promise<void> {
  const write = (): Promise<Receipt> =>
    firstValueFrom(fromCall(fakeCall(answerOf(stream))).pipe(toStore(store, stream.id, { leaseMs })));
  const takeOver = (): void => {
    write().catch(() => undefined); // another instance may have been faster
  };
  const server = createServer((req, res) => {
    if (req.url === '/') {
      res.setHeader('content-type', 'text/html; charset=utf-8').end(PAGE);
      return;
    }
    if (req.method === 'POST') {
      takeOver();
      res.writeHead(202).end();
      return;
    }
    fromStore(store, stream.id, { onOrphaned: takeOver })
      .pipe(toNodeResponse(res))
      .subscribe({ error: () => undefined }); // its reader hears of it
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  process.stdout.write(`${String((server.address() as AddressInfo).port)}\n`);
}
