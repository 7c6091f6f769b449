// The `openai` SDK, chat completions and Responses.
import OpenAI from 'openai';

const ASKS = {
  async chat(client, onText) {
    const stream = await client.chat.completions.create({
      model: 'm',
      stream: true,
      messages: [{ role: 'user', content: 'Go on.' }],
    });
    for await (const chunk of stream) {
      const text = chunk.choices[0]?.delta?.content;
      if (text) onText(text);
    }
  },
  async responses(client, onText) {
    const stream = await client.responses.create({ model: 'm', stream: true, input: 'Go on.' });
    for await (const event of stream) if (event.type === 'response.output_text.delta') onText(event.delta);
  },
};

export function ask(baseURL, format, onText) {
  return ASKS[format](new OpenAI({ apiKey: 'key-of-the-benchmark', baseURL, maxRetries: 0 }), onText);
}
