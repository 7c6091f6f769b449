import type { Call, CallRequest } from '../protocol/call.js';

/** One request beside a call's own, as data: nothing is sent by making one. @public */
export interface ProviderRequest {
  readonly provider: string;
  readonly request: CallRequest;
  /** Credentials, asked for when the request is sent. */
  readonly authorize: Call['authorize'];
}
