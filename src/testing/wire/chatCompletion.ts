import { chatUsage, textOf, type WireAnswer } from './wireAnswer.js';

/** The answer to a chat request that asked for no stream. */
export function chatCompletion(answer: WireAnswer): object {
  const { toolCall } = answer;
  const calls = toolCall && [
    {
      id: toolCall.id,
      type: 'function',
      function: { name: toolCall.name, arguments: toolCall.argumentPieces.join('') },
    },
  ];
  return {
    id: answer.id,
    object: 'chat.completion',
    created: Math.floor(answer.createdAt / 1000),
    model: answer.model,
    choices: [
      {
        index: 0,
        message: { role: 'assistant', content: textOf(answer), ...(calls && { tool_calls: calls }) },
        finish_reason: answer.finish,
      },
    ],
    ...(answer.usage && { usage: chatUsage(answer.usage) }),
  };
}
