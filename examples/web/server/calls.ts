import type { Call } from 'millrace';
import { anthropic, gateway, inferencesh, polargrid } from 'millrace/providers';
import type { ProviderBaseURLs } from 'millrace/testing';
import * as z from 'zod/mini';

/** What the page sends. */
export const Asked = z.object({
  messages: z._default(z.array(z.object({ role: z.enum(['user', 'assistant']), content: z.string() })), []),
  /** What shall go wrong, for who wants to see it. It becomes a part of the model's name, which the stand-in reads. */
  trouble: z._default(z.enum(['none', 'cut', 'fail']), 'none'),
});

export type Asked = z.infer<typeof Asked>;

/** What is asked of which provider, by the path that the page asks. The keys stay here. */
export function createCalls(urls: ProviderBaseURLs): ReadonlyMap<string, (asked: Asked) => Call> {
  const apiKey = 'yours-stands-here';
  const tasks = inferencesh({ apiKey, baseURL: urls.inferencesh });
  const polar = polargrid({ apiKey, baseURL: urls.polargrid });
  const claude = anthropic({ apiKey, baseURL: urls.anthropic });
  const gate = gateway({ apiKey, baseURL: urls.gateway, currency: 'EUR' });

  return new Map<string, (asked: Asked) => Call>([
    [
      '/api/chat',
      ({ messages, trouble }) => {
        const context = messages.slice(0, -1).map(({ role, content }) => ({ role, text: content }));
        const text = messages.at(-1)?.content ?? '';
        return tasks.run({ app: `millhouse/miller@${trouble}`, input: { text, context } });
      },
    ],
    ['/api/survey', ({ trouble }) => tasks.run({ app: `millhouse/surveyor@${trouble}`, input: {} })],
    [
      '/api/voices/overshot',
      ({ messages, trouble }) =>
        polar.chat({ model: `overshot@${trouble}`, messages, stream_options: { include_usage: true } }),
    ],
    [
      '/api/voices/breastshot',
      ({ messages, trouble }) => claude.messages({ model: `breastshot@${trouble}`, messages, max_tokens: 1024 }),
    ],
    [
      '/api/voices/undershot',
      ({ messages, trouble }) => {
        const input = messages.map(({ content }) => content).join('\n');
        return gate.chat({ service_name: 'millhouse', model_name: `undershot@${trouble}`, input });
      },
    ],
  ]);
}
