import * as z from 'zod/mini';
import { requireAtLeast } from '../internal/require.js';
import type { Call, CallRequest, LeavingPolicy, ResumePlan, ToolPlan, ToolResult } from '../protocol/call.js';
import { pathSegment } from './pathSegment.js';
import type { Calls, Provider } from './provider.js';
import type { ResponsesDialectOptions } from './responsesDialect.js';
import { responsesFormat } from './responsesFormat.js';
import { type ResponsesRequest, responsesRequest } from './responsesRequest.js';
import type { ResponsesItem, ResponsesTurn } from './responsesTurn.js';

/** What the calls of one server have in common. */
export interface ResponsesCallsOptions extends ResponsesDialectOptions {
  /**
   * What becomes of a background response and its bill when a reader leaves.
   * @defaultValue it is cancelled when it is stopped, and goes on where the connection is lost
   */
  readonly leaving?: Partial<LeavingPolicy> | undefined;
}

/** How a response that exists is read. @public */
export interface AttachResponseOptions {
  /** The `sequence_number` of the last event that the reader has. A whole number, at least 0. @defaultValue all are told */
  readonly after?: number | undefined;
}

/** The functions that a provider of this API has. @public */
export interface ResponsesCalls {
  /**
   * A response, streamed. With `background: true` it goes on without its reader: a lost connection is resumed at the next event,
   * and stopping cancels it.
   */
  readonly responses: Calls<ResponsesRequest, ResponsesTurn>;
  /**
   * Reads a background response that exists, from its beginning or after an event. Leaving does not cancel it.
   * @throws TypeError for an id that cannot be one, and RangeError for an event number that cannot be one
   */
  readonly attachResponse: (responseId: string, options?: AttachResponseOptions) => Call;
}

const JSON_ONLY = ['application/json'];
/** Between two readings of a background response that is not over; OpenAI's guide polls as often. */
const POLL_MS = 2_000;

/** Makes the functions that ask a server of the Responses API. */
export function responsesCalls(api: Provider, options: ResponsesCallsOptions = {}): ResponsesCalls {
  const dialect = responsesFormat(options);
  const pathOf = (id: string): string => `/responses/${pathSegment(id, 'responseId')}`;

  const open = (id: string, after: string | undefined, include: readonly string[] = []): CallRequest => {
    const query = new URLSearchParams({
      stream: 'true',
      ...(after === undefined ? undefined : { starting_after: after }),
    });
    for (const what of include) query.append('include[]', what);
    return api.get(`${pathOf(id)}?${query.toString()}`);
  };
  const reattach = (include: readonly string[] | undefined, first: string | undefined): ResumePlan => ({
    by: 'reattach',
    reopen: (id, cursor = first) => open(id, cursor, include),
    stored: { request: (id) => api.get(pathOf(id), JSON_ONLY), use: 'instead', everyMs: POLL_MS },
  });

  const responses: Calls<ResponsesRequest, ResponsesTurn> = api.calls({
    name: 'responses',
    request: responsesRequest,
    dialect,
    call: (request) => ({
      stream: api.post('/responses', { ...request, stream: true }),
      tools: toolPlan(request, (next) => responses(next)),
      ...(request.background === true && {
        resume: reattach(request.include ?? undefined, undefined),
        cancel: (id: string) => api.post(`${pathOf(id)}/cancel`, undefined, JSON_ONLY),
        leaving: { stop: 'ended' as const, disconnect: 'continues' as const, ...options.leaving },
      }),
    }),
  });

  const attached = api.calls({
    name: 'attachResponse',
    request: z.object({ id: z.string('must be a string'), after: z.optional(z.number()) }),
    dialect,
    call: ({ id, after }) => {
      const first = after === undefined ? undefined : String(after);
      return {
        dialect: responsesFormat(options, { id, after }),
        workId: id,
        stream: open(id, first),
        resume: reattach(undefined, first),
        leaving: { stop: 'continues', disconnect: 'continues' },
      };
    },
  });

  return {
    responses,
    attachResponse: (responseId, { after } = {}) => {
      pathSegment(responseId, 'responseId');
      if (after !== undefined) {
        requireAtLeast(0, { after });
        if (!Number.isSafeInteger(after)) throw new RangeError(`after must be a whole number, got ${String(after)}`);
      }
      return attached({ id: responseId, after });
    },
  };
}

/**
 * How results are given back: the request once more, with the answer's items and the results behind its `input`. That is right
 * whether anything is stored or not, and where `previous_response_id` names an earlier response, since the answer is not part of that. Only a
 * `conversation` has the answer by then: to tell it again would be refused, so the results alone are sent.
 */
function toolPlan(request: ResponsesRequest, ask: (request: ResponsesRequest) => Call): ToolPlan {
  return {
    by: 'ask',
    next: (turn, results) => {
      const items = turn as ResponsesTurn; // built by this dialect, whose turns are lists of items
      const outputs = results.map((result) => outputItem(items, result));
      if (request.conversation !== undefined && request.conversation !== null)
        return ask({ ...request, input: outputs });
      // What is not stored is not found by its id, and what is left of it says nothing.
      const known = request.store === false ? items.filter(isSelfContained) : items;
      return ask({ ...request, input: [...inputItems(request.input), ...known, ...outputs] });
    },
  };
}

function inputItems(input: ResponsesRequest['input']): readonly ResponsesItem[] {
  return typeof input === 'string' ? [{ type: 'message', role: 'user', content: input }] : (input ?? []);
}

function isSelfContained(item: ResponsesItem): boolean {
  return item.type !== 'reasoning' || typeof item['encrypted_content'] === 'string';
}

/** A failed tool says so in its text: the format has no sign for it. */
function outputItem(turn: ResponsesTurn, { id, text }: ToolResult): ResponsesItem {
  const call = turn.find((item) => (item['call_id'] ?? item['id']) === id);
  const type = call?.type === 'custom_tool_call' ? 'custom_tool_call_output' : 'function_call_output';
  return { type, call_id: id, output: text };
}
