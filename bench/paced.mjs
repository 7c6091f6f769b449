// Many streams at a steady pace: one token in each packet, which says when it was sent.
import { chatFrame } from './fixtures.mjs';
import { micros } from './clock.mjs';

/** A stamp has always as many digits, so that every frame has as many bytes. */
export const STAMP_CHARS = 16;
const PLACE = '#'.repeat(STAMP_CHARS);
const [before, after] = chatFrame({ content: PLACE }).split(PLACE);
/** Where in a frame its stamp begins. */
export const STAMP_AT = before.length;
/** The bytes of a frame with a token. */
export const STAMPED_BYTES = before.length + STAMP_CHARS + after.length;

const ROLE = chatFrame({ role: 'assistant', content: '', refusal: null });
const FINISH = chatFrame({}, 'stop');
const DONE = 'data: [DONE]\n\n';

const asChunk = (text) => `${text.length.toString(16)}\r\n${text}\r\n`;
const HEADERS = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n';
const HEAD = `${HEADERS}${asChunk(ROLE)}`;
const CHUNK_HEAD = `${STAMPED_BYTES.toString(16)}\r\n${before}`;
const CHUNK_TAIL = `${after}\r\n`;
const END = `${asChunk(FINISH)}${asChunk(DONE)}0\r\n\r\n`;

/** How many bytes the body of a stream with so many tokens has. */
export function pacedBytes(tokens) {
  return ROLE.length + tokens * STAMPED_BYTES + FINISH.length + DONE.length;
}

/** The first token leaves when all have their head: that each is connected is no part of what is measured. */
const DELAY_MICROS = 200_000;

/** Waits until all its streams are open, and then writes to one after the other, evenly spread over the interval. */
export class PacedRun {
  #sockets = [];
  #streams;
  #tokens;
  #intervalMicros;

  constructor(streams, tokens, intervalMicros) {
    this.#streams = streams;
    this.#tokens = tokens;
    this.#intervalMicros = intervalMicros;
  }

  /** True when it was the last stream to join. */
  join(socket) {
    socket.write(HEAD, 'latin1');
    this.#sockets.push(socket);
    if (this.#sockets.length < this.#streams) return false;
    this.#begin();
    return true;
  }

  #begin() {
    const start = micros() + DELAY_MICROS;
    const step = this.#intervalMicros / this.#streams;
    const total = this.#tokens * this.#streams;
    let sent = 0;
    const tick = () => {
      while (sent < total && start + sent * step <= micros()) {
        this.#send(this.#sockets[sent % this.#streams], sent >= total - this.#streams);
        sent += 1;
      }
      if (sent < total) setTimeout(tick, 1);
    };
    setTimeout(tick, DELAY_MICROS / 1000);
  }

  #send(socket, isLast) {
    const stamp = String(Math.round(micros())).padStart(STAMP_CHARS, '0');
    socket.write(CHUNK_HEAD + stamp + CHUNK_TAIL, 'latin1');
    if (isLast) socket.write(END, 'latin1');
  }
}
