// undici's `dispatch`, the body dropped: no client on Node can cost less. It sees no text, so it is given the bytes.
import { Agent } from 'undici';

const agent = new Agent();
const body = JSON.stringify({ model: 'm', stream: true, messages: [{ role: 'user', content: 'Go on.' }] });

export const seesBytes = true;

export function ask(url, format, onBytes) {
  const { origin, pathname } = new URL(`${url}/chat/completions`);
  const headers = { 'content-type': 'application/json' };
  return new Promise((resolve, reject) => {
    agent.dispatch(
      { origin, path: pathname, method: 'POST', headers, body },
      {
        onRequestStart() {},
        onResponseStart() {},
        onResponseData(controller, chunk) {
          onBytes(chunk);
        },
        onResponseEnd() {
          resolve();
        },
        onResponseError(controller, error) {
          reject(error);
        },
      },
    );
  });
}
