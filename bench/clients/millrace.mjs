// millrace: a call of its provider, and the tokens of the answer.
import { callsOf } from '../formats.mjs';
import { load } from '../millrace.mjs';

const { fromCall, toTokens } = await load('index.js');
const calls = callsOf(await load('providers/index.js'));

export function ask(url, format, onText) {
  return new Promise((resolve, reject) => {
    fromCall(calls[format](url)).pipe(toTokens()).subscribe({ next: onText, error: reject, complete: resolve });
  });
}
