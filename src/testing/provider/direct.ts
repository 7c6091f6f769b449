import type { WireAnswer, WireError, WireStream } from '../wire/wireAnswer.js';
import { compose, replyJSON, replyStream, type Route } from './visit.js';

/** A place where one request is answered by one stream. */
export interface DirectFormat {
  readonly contentType: string;
  readonly idPrefix: string;
  readonly stream: (answer: WireAnswer) => WireStream;
  readonly error: (words: WireError) => readonly string[];
  readonly usualError: WireError;
  /** A malformed frame. @defaultValue one of server-sent events */
  readonly garbage?: string;
  /** The answer to a request that wants no stream; without it every request is streamed. */
  readonly whole?: (answer: WireAnswer) => object;
}

/** Serves such a place. */
export function direct(format: DirectFormat): Route['serve'] {
  return async (visit) => {
    const script = visit.taken?.script ?? {};
    const answer = compose(visit, visit.desk.id(format.idPrefix), script);
    if (format.whole !== undefined && visit.body['stream'] !== true) {
      await replyJSON(visit, format.whole(answer));
      return;
    }
    const { contentType, error, usualError, garbage } = format;
    const { frames } = format.stream(answer);
    await replyStream(visit, script, { contentType, error, usualError, frames, ...(garbage && { garbage }) });
  };
}
