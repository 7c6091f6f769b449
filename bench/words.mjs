// What each row is about, for those who read the page.

const WORDS = {
  parse: {
    heading: 'The parser alone',
    about: 'Bytes in, events out, in memory. eventsource-parser takes strings, so it stands behind a `TextDecoder`.',
  },
  text: {
    heading: 'From bytes to text, in memory',
    about: '`parseSSE()`, `decode(dialect)`, `toTokens()`, beside a parser, `JSON.parse` and a look into the object.',
  },
  http: {
    heading: 'Over HTTP, at full speed',
    about:
      'One request, 20,000 tokens, frames of about 290 bytes, from a server on the same machine that writes as fast as it is read. undici’s `dispatch` with the body dropped is the least that a client on Node can cost; its `request` reads a body as undici’s documentation does.',
  },
  paced: {
    heading: 'Many streams at once',
    about:
      'All streams are open before the first token leaves. Each token is a packet of its own and says when it was sent. Where a client needs more than a whole core, it falls behind: the pace of a stream falls, latency grows, and a token costs less than it would in time, since several are read at once.',
  },
  linear: {
    heading: 'Cost grows with size and no faster',
    about: 'Each beside itself at half the size. The line is refused at the first byte over its limit.',
  },
  file: { heading: 'To a file', about: '`toFile` as it is by default, fsync included.' },
  dialects: {
    heading: 'Each dialect',
    about:
      'millrace decodes, validates and proves the end; the loop beside it splits lines, calls `JSON.parse` and takes the text out. _Fast path_ is the share of frames that a template decoded.',
  },
  recordings: {
    heading: 'Recordings of real streams',
    about:
      'Invented frames flatter. These are real answers, their frames repeated to the same length. The recordings are not part of the project.',
  },
};

/** Heading and introduction of a row. */
export function wordsOf(row) {
  return WORDS[row];
}
