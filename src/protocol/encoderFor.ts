import { aiSDKFormat } from './aiSDKFormat.js';
import type { EncoderOptions, EventEncoder, ResponseFormat } from './eventFormat.js';
import { millraceFormat } from './millraceFormat.js';
import { openaiFormat } from './openaiFormat.js';
import { textFormat } from './textFormat.js';

const FORMATS = { millrace: millraceFormat, openai: openaiFormat, 'ai-sdk': aiSDKFormat, text: textFormat } as const;

/** The encoder of one response. */
export function encoderFor(format: ResponseFormat, options: EncoderOptions): EventEncoder {
  return FORMATS[format](options);
}
