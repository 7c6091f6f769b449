import * as z from 'zod/mini';
import { requireAtLeast } from '../internal/require.js';
import { type Dialect, dialect } from '../protocol/dialect.js';
import type { StandardSchema } from '../protocol/standardSchema.js';
import { isRetryableResponsesError, readFailureFrame } from './responsesEnd.js';
import type { Fields } from './responsesFrame.js';
import { type Attached, ResponsesReader } from './responsesReader.js';
import type { ResponsesDialectOptions } from './responsesDialect.js';
import { type ResponsesTurn, responsesTurn } from './responsesTurn.js';

/** Any object: each kind of frame has a schema of its own, and unknown ones have none. */
const frame: StandardSchema<Fields> = z.looseObject({});

/**
 * The dialect of `responsesDialect`.
 * @param attached - the response, where its stream is opened by its id
 */
export function responsesFormat(options: ResponsesDialectOptions, attached?: Attached): Dialect<ResponsesTurn> {
  const { name = 'responses', retryable = isRetryableResponsesError, maxToolCallChars = 67_108_864 } = options;
  requireAtLeast(0, { maxToolCallChars });
  return dialect<Fields, ResponsesReader, ResponsesTurn>({
    name,
    frame,
    fillers: ['[DONE]'],
    retryable,
    error: readFailureFrame,
    start: () => new ResponsesReader(maxToolCallChars, attached),
    decode: (fields, stream) => {
      stream.state.read(fields, stream);
    },
    reattach: 'state',
    reattached: ({ state }) => {
      state.reattached();
    },
    stored: (work, stream) => {
      stream.state.stored(work, stream);
    },
    turn: responsesTurn,
  });
}
