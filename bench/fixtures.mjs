// The bytes that everything is measured on. Same arguments, same bytes: nothing here is random.

/** One in about twenty tokens of prose is not plain ASCII letters; models also write line ends and quotes, which JSON escapes. */
const WORDS = (
  'the river runs slowly past mill stones and grinds what farmers bring in autumn Every wheel turns because water ' +
  'falls not because somebody pushes it A model writes one token after another reader waits for each of them here'
).split(' ');
const RARE = ['\n\n', '"', ' café', ' – ', ' 🐎', ' naïve', '\\', ' 水車'];
const RARE_EVERY = 17;

/** Tokens as a model writes them: a word with its space, now and then something else. */
export function tokensOf(count) {
  const tokens = [];
  for (let at = 0; at < count; at += 1) {
    const isRare = at % RARE_EVERY === RARE_EVERY - 1;
    tokens.push(isRare ? RARE[Math.floor(at / RARE_EVERY) % RARE.length] : ` ${WORDS[(at * 7) % WORDS.length]}`);
  }
  return tokens;
}

/**
 * A stream to decode.
 *
 * @typedef {object} Fixture
 * @property {string} name
 * @property {string} format - who can read it: a key of `picks.mjs` and of `formats.mjs`
 * @property {readonly string[]} frames - their texts joined are the body
 * @property {number} tokens - how many pieces of text its reader must get
 * @property {number} chars - and how many characters (UTF-16) these have
 */

/** Chat completions as OpenAI frames them, without the padding that it adds: about 290 bytes a frame. */
export function chatFixture(count) {
  const tokens = tokensOf(count);
  const frames = [
    chatFrame({ role: 'assistant', content: '', refusal: null }),
    ...tokens.map((content) => chatFrame({ content })),
    chatFrame({}, 'stop'),
    'data: [DONE]\n\n',
  ];
  return { name: 'chat', format: 'chat', frames, tokens: count, chars: charsOf(tokens) };
}

/** One chunk of a chat completion. */
export function chatFrame(delta, finish_reason = null) {
  const chunk = {
    id: 'chatcmpl-DPTBg29yUne0qG2XCotTwUgvJqaSb',
    object: 'chat.completion.chunk',
    created: 1774962768,
    model: 'gpt-4.1-2025-04-14',
    service_tier: 'default',
    system_fingerprint: 'fp_b6f445fc1c',
    choices: [{ index: 0, delta, logprobs: null, finish_reason }],
  };
  return `data: ${JSON.stringify(chunk)}\n\n`;
}

/** How many characters the tokens have together. */
export function charsOf(tokens) {
  return tokens.reduce((sum, { length }) => sum + length, 0);
}

/** How many bytes the frames have together. */
export function bytesOf(frames) {
  return frames.reduce((sum, frame) => sum + Buffer.byteLength(frame), 0);
}

/** The frames as the network may deliver them: so many frames in a chunk, or so many bytes. */
export function chunksOf(frames, { framesPerChunk, bytesPerChunk }) {
  if (bytesPerChunk === undefined) {
    const chunks = [];
    for (let at = 0; at < frames.length; at += framesPerChunk) {
      chunks.push(Buffer.from(frames.slice(at, at + framesPerChunk).join('')));
    }
    return chunks;
  }
  const body = Buffer.from(frames.join(''));
  const chunks = [];
  for (let at = 0; at < body.length; at += bytesPerChunk) chunks.push(body.subarray(at, at + bytesPerChunk));
  return chunks;
}
