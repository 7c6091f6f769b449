// Recordings of real streams, repeated to a length. They lie beside the project, not in it: without them their rows are left out.
import { existsSync, readFileSync } from 'node:fs';
import { isNDJSON, picks } from './picks.mjs';

const folder = new URL('../../shared/recordings/', import.meta.url);

/** What is measured, and what each shows that invented frames lack. */
export const RECORDINGS = [
  { file: 'openai/chat-moderation.sse', format: 'chat', shows: 'OpenAI chat with obfuscation' },
  { file: 'openai/responses-mcp-tool.sse', format: 'responses', shows: 'OpenAI Responses with sequence numbers' },
  { file: 'anthropic/text-emoji.sse', format: 'anthropic', shows: 'Anthropic with padding inside the JSON' },
  { file: 'google/gemini-thinking-crlf.sse', format: 'gemini', shows: 'Gemini, paragraphs in a frame' },
  { file: 'azure-openai/chat-prompt-filter.sse', format: 'chat', shows: 'Azure, filter results in every frame' },
  { file: 'azure-openai/chat-nonascii.sse', format: 'chat', shows: 'Azure with obfuscation' },
].filter(({ file }) => existsSync(new URL(file, folder)));

/** Whether any recording is there. */
export const hasRecordings = RECORDINGS.length > 0;

/** A recording whose frames with text are repeated between its head and its tail, so that it stays one valid answer. */
export function recordingFixture(file, count) {
  const { format } = RECORDINGS.find((recording) => recording.file === file);
  return { ...repeated(readFileSync(new URL(file, folder), 'utf8'), format, count), name: file };
}

/** The text of a body's frames, repeated until it has at least so many tokens. */
export function repeated(body, format, count) {
  const frames = framesOf(body);
  const texts = frames.map((frame) => textOf(frame, format));
  const isContent = (at) => texts[at] !== '' && !isLast(frames[at]);
  const first = frames.findIndex((_, at) => isContent(at));
  const last = frames.findLastIndex((_, at) => isContent(at));
  if (first === -1) throw new Error(`A recording in the format ${format} has no text to repeat`);
  const content = frames.slice(first, last + 1);
  const tokensIn = (list) => list.filter((frame) => textOf(frame, format) !== '').length;
  const times = Math.max(1, Math.ceil(count / tokensIn(content)));

  const head = frames.slice(0, first);
  const tail = frames.slice(last + 1);
  const text = texts.join('');
  const middle = texts.slice(first, last + 1).join('');
  const whole = texts.slice(0, first).join('') + middle.repeat(times) + texts.slice(last + 1).join('');
  const all = [...head];
  for (let time = 0; time < times; time += 1) all.push(...content);
  all.push(...tail.map((frame) => tellWhole(frame, text, whole)));
  return {
    format,
    frames: numbered(all),
    tokens: tokensIn(head) + tokensIn(content) * times + tokensIn(tail),
    chars: whole.length,
  };
}

/** A body's frames with their blank lines, whichever line ends it has. */
function framesOf(body) {
  return body.split(/(?<=\r?\n\r?\n)/);
}

function dataOf(frame) {
  return /^data: ?(.*?)\r?$/m.exec(frame)?.[1];
}

function textOf(frame, format) {
  const data = isNDJSON(format) ? frame : dataOf(frame);
  if (data === undefined || data === '[DONE]') return '';
  return picks[format](JSON.parse(data)) || '';
}

/** A frame that ends its answer beside its text cannot be said twice. */
function isLast(frame) {
  return /"finish_?[rR]eason": ?"/.test(frame);
}

/** Frames at the end of some formats say the whole text again: it has to be the text that was sent. */
function tellWhole(frame, text, whole) {
  const data = dataOf(frame);
  if (data === undefined || data === '[DONE]') return frame;
  const parsed = JSON.parse(data, (_, value) => (value === text ? whole : value));
  return JSON.stringify(parsed) === JSON.stringify(JSON.parse(data))
    ? frame
    : frame.replace(data, () => JSON.stringify(parsed));
}

/** Events that count themselves go on counting. */
function numbered(frames) {
  let next = 0;
  return frames.map((frame) =>
    frame.replace(/("sequence_number": ?)\d+/, (_, key) => {
      next += 1;
      return `${key}${next - 1}`;
    }),
  );
}
