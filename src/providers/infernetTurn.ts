import type { TurnOptions } from '../protocol/dialect.js';

/** One message of a conversation; Infernet takes text only. @public */
export interface InfernetMessage {
  readonly role: string;
  readonly content: string;
}

/** How an answer of Infernet's own formats is given back: its text, without its thinking. */
export const infernetTurn: TurnOptions<InfernetMessage> = {
  build: (events) => ({
    role: 'assistant',
    content: events.map((event) => (event.type === 'text' ? event.text : '')).join(''),
  }),
};
