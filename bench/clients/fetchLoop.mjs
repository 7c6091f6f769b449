// The loop that people write by hand: fetch, split into lines, `JSON.parse`. It checks nothing, which is in its favour.
import { picks } from '../picks.mjs';

const request = {
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ model: 'm', stream: true, messages: [{ role: 'user', content: 'Go on.' }] }),
};

export async function ask(url, format, onText) {
  const pick = picks[format];
  const response = await fetch(`${url}/chat/completions`, request);
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + decoder.decode(value, { stream: true })).split('\n');
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith('data: ') || line === 'data: [DONE]') continue;
      const text = pick(JSON.parse(line.slice(6)));
      if (text) onText(text);
    }
  }
}
