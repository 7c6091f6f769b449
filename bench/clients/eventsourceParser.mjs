// eventsource-parser with `JSON.parse`, over fetch.
import { createParser } from 'eventsource-parser';
import { picks } from '../picks.mjs';

const request = {
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ model: 'm', stream: true, messages: [{ role: 'user', content: 'Go on.' }] }),
};

export async function ask(url, format, onText) {
  const pick = picks[format];
  const parser = createParser({
    onEvent({ data }) {
      if (data === '[DONE]') return;
      const text = pick(JSON.parse(data));
      if (text) onText(text);
    },
  });
  const response = await fetch(`${url}/chat/completions`, request);
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    parser.feed(decoder.decode(value, { stream: true }));
  }
}
