// Ways from bytes in memory to pieces of text. Each takes the chunks of a whole body and gives a function that reads them anew.
import { from } from 'rxjs';
import { dialectOf } from './formats.mjs';
import { isNDJSON, picks } from './picks.mjs';

/** millrace: parser, decoder, tokens. */
export function pipeline({ core, providers }, { format, chunks, onText }) {
  return through(core, dialectOf(providers, format), { format, chunks, onText });
}

function through(core, dialect, { format, chunks, onText }) {
  return () => {
    let failure;
    from(chunks)
      .pipe(parserOf(core, format), core.decode(dialect), core.toTokens())
      .subscribe({ next: onText, error: (error) => (failure = error) });
    if (failure !== undefined) throw failure;
  };
}

const parserOf = (core, format) => (isNDJSON(format) ? core.parseNDJSON() : core.parseSSE());

/** millrace's parser with `JSON.parse` in place of its decoder. */
export function parseThenJSON({ core }, { format, chunks, onText }) {
  const pick = picks[format];
  return () => {
    from(chunks)
      .pipe(parserOf(core, format))
      .subscribe((event) => {
        if (event.data === undefined || event.data === '[DONE]') return;
        const text = pick(JSON.parse(event.data));
        if (text) onText(text);
      });
  };
}

/** millrace's decoder alone, given events that were parsed before. */
export function decoder({ core, providers }, { format, chunks, onText }) {
  const dialect = dialectOf(providers, format);
  const events = eventsOf(core, format, chunks);
  const emit = (event) => {
    if (event.type === 'text') onText(event.text);
  };
  return () => {
    const decoding = dialect.decoder();
    for (const event of events) decoding.push(event, emit);
  };
}

/** The share of a stream's frames that a template decoded in the pipeline; `undefined` of a build that does not count them. */
export function fastShare({ core, providers }, { format, chunks }) {
  let decoding;
  const dialect = dialectOf(providers, format);
  const watched = { ...dialect, decoder: () => (decoding = dialect.decoder()) };
  through(core, watched, { format, chunks, onText: () => undefined })();
  return decoding.templated === undefined ? undefined : decoding.templated / eventsOf(core, format, chunks).length;
}

function eventsOf(core, format, chunks) {
  const events = [];
  from(chunks)
    .pipe(parserOf(core, format))
    .subscribe((event) => events.push(event));
  return events;
}

/** The least that a reader by hand does: lines, `JSON.parse`, and no look at what comes out but its text. */
export function splitLines(_, { format, chunks, onText }) {
  const pick = picks[format];
  const start = isNDJSON(format) ? 0 : 'data: '.length;
  return () => {
    const bytes = new TextDecoder();
    let rest = '';
    for (const chunk of chunks) {
      const lines = (rest + bytes.decode(chunk, { stream: true })).split('\n');
      rest = lines.pop();
      for (const line of lines) {
        if (start === 0 ? line === '' : !line.startsWith('data: ')) continue;
        const data = line.slice(start);
        if (data === '[DONE]') continue;
        const text = pick(JSON.parse(data));
        if (text) onText(text);
      }
    }
  };
}

/** eventsource-parser with `JSON.parse`. Server-sent events only. */
export function eventsourceParser({ createParser }, { format, chunks, onText }) {
  const pick = picks[format];
  return () => {
    const bytes = new TextDecoder();
    const parser = createParser({
      onEvent({ data }) {
        if (data === '[DONE]') return;
        const text = pick(JSON.parse(data));
        if (text) onText(text);
      },
    });
    for (const chunk of chunks) parser.feed(bytes.decode(chunk, { stream: true }));
  };
}
