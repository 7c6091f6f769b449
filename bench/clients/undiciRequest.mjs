// undici's `request`, as its documentation reads a body, which is dropped. It sees no text, so it is given the bytes.
import { Agent, request } from 'undici';

const dispatcher = new Agent();
const body = JSON.stringify({ model: 'm', stream: true, messages: [{ role: 'user', content: 'Go on.' }] });
const headers = { 'content-type': 'application/json' };

export const seesBytes = true;

export async function ask(url, format, onBytes) {
  const answer = await request(`${url}/chat/completions`, { method: 'POST', headers, body, dispatcher });
  for await (const chunk of answer.body) onBytes(chunk);
}
