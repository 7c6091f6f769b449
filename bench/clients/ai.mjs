// The Vercel `ai` SDK with its OpenAI-compatible provider.
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { streamText } from 'ai';

globalThis.AI_SDK_LOG_WARNINGS = false;

export async function ask(baseURL, format, onText) {
  const provider = createOpenAICompatible({ name: 'bench', baseURL });
  let failure;
  const { textStream } = streamText({
    model: provider('m'),
    prompt: 'Go on.',
    maxRetries: 0,
    onError({ error }) {
      failure = error;
    },
  });
  for await (const text of textStream) onText(text);
  if (failure !== undefined) throw failure;
}
