/**
 * Three providers at once: tokens on the screen as they come, each stream in a file of its own, receipts at the end.
 * Needs no key: a server in this process stands in for the APIs. Run it after `npm run build`: `npx tsx examples/three-streams.ts`.
 */
import { fromCall, type Receipt, tapEvents, toFile } from 'millrace';
import { gateway, infernet, polargrid } from 'millrace/providers';
import { startProviderServer } from 'millrace/testing';
import { merge } from 'rxjs';

const server = await startProviderServer({ pace: { perFrameMs: 15 } });
const { baseURLs } = server;
const messages = [{ role: 'user', content: 'Tell me a short story.' }];

const calls = {
  infernet: infernet({ apiKey: 'any', baseURL: baseURLs.infernet }).chat({ model: 'qwen', messages }),
  gateway: gateway({ apiKey: 'any', baseURL: baseURLs.gateway }).chat({
    service_name: 'google-gemini',
    model_name: 'gemini-flash',
    input: 'Tell me a short story.',
  }),
  polargrid: polargrid({ apiKey: 'any', baseURL: baseURLs.polargrid }).chat({ model: 'llama', messages }),
};

const files = Object.entries(calls).map(([name, call]) =>
  fromCall(call).pipe(
    tapEvents({ text: ({ text }) => process.stdout.write(`[${name}]${text}`) }),
    toFile(`${name}.txt`, { ifExists: 'overwrite', footer: true }),
  ),
);

const receipts: Receipt[] = [];
merge(...files).subscribe({
  next: (receipt) => receipts.push(receipt),
  error: console.error,
  complete: () => {
    console.table(receipts.map(({ provider, outcome, chars, where }) => ({ provider, outcome, chars, where })));
    void server.close();
  },
});
