import * as z from 'zod/mini';
import type { CallRequest } from '../protocol/call.js';
import type { Dialect } from '../protocol/dialect.js';
import type { StandardSchema } from '../protocol/standardSchema.js';
import type { CallParts, Calls, Provider } from './provider.js';

/** Calls on work that exists. */
export interface AttachDefinition<Turn> extends CallParts {
  readonly name: string;
  readonly dialect: Dialect<Turn>;
  readonly stream: (workId: string) => CallRequest;
}

/** An id is judged where it becomes a part of a URL. */
const Id: StandardSchema<string> = z.custom<string>();

/** Makes the function that reads the stream of work by its id. */
export function attachCalls<Turn>(
  api: Provider,
  { name, dialect, ...parts }: AttachDefinition<Turn>,
): Calls<string, Turn> {
  return api.calls({
    name,
    request: Id,
    dialect,
    call: (workId) => {
      parts.stream(workId); // throws where the id is wrong
      return { ...parts, workId };
    },
  });
}
