// The `@anthropic-ai/sdk`.
import Anthropic from '@anthropic-ai/sdk';

export async function ask(baseURL, format, onText) {
  const client = new Anthropic({ apiKey: 'key-of-the-benchmark', baseURL, maxRetries: 0 });
  const stream = await client.messages.create({
    model: 'm',
    stream: true,
    max_tokens: 100,
    messages: [{ role: 'user', content: 'Go on.' }],
  });
  for await (const event of stream) {
    if (event.type === 'content_block_delta' && event.delta.type === 'text_delta') onText(event.delta.text);
  }
}
