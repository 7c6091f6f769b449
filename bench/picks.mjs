// What a hand-written reader of each format does with a parsed frame: takes the text out, or nothing.

const ofChat = (frame) => frame.choices?.[0]?.delta?.content;

/** The text of one frame, by format. A frame without text gives something falsy. */
export const picks = {
  chat: ofChat,
  responses: (frame) => (frame.type === 'response.output_text.delta' ? frame.delta : undefined),
  anthropic: (frame) => (frame.type === 'content_block_delta' ? frame.delta.text : undefined),
  gemini: (frame) => {
    const part = frame.candidates?.[0]?.content?.parts?.[0];
    return part?.thought === true ? undefined : part?.text;
  },
  ollama: (frame) => frame.message?.content,
  'infernet jobs': (frame) => frame.text,
  // Its last frame says the whole text again.
  'infernet native': (frame) => ('reason' in frame ? undefined : frame.text),
  infron: ofChat,
  'inferencesh task': (frame) => (frame.event === 'delta' ? frame.data.delta.response : undefined),
  'inferencesh agent': (frame) => (frame.event === 'delta' ? frame.data.delta.response : undefined),
  gateway: (frame) => (frame.name === 'output' ? frame.content : undefined),
  polargrid: ofChat,
};

/** Whether a format is one JSON text a line; the others are server-sent events. */
export function isNDJSON(format) {
  return format === 'ollama' || format.startsWith('inferencesh');
}
