// How millrace is asked for an answer in each format; the dialect that decodes it is the call's.

const apiKey = 'key-of-the-benchmark';
const model = 'm';
const messages = [{ role: 'user', content: 'Go on.' }];

/** The call of a provider, by format, to a server at `baseURL`. */
export function callsOf(providers) {
  const { anthropic, gateway, gemini, inferencesh, infernet, infron, ollama, openai, polargrid } = providers;
  return {
    chat: (baseURL) => openai({ apiKey, baseURL }).chat({ model, messages }),
    responses: (baseURL) => openai({ apiKey, baseURL }).responses({ model, input: 'Go on.' }),
    anthropic: (baseURL) => anthropic({ apiKey, baseURL }).messages({ model, messages, max_tokens: 100 }),
    gemini: (baseURL) => gemini({ apiKey, baseURL }).generateContent({ model, contents: 'Go on.' }),
    ollama: (baseURL) => ollama({ baseURL }).chat({ model, messages }),
    'infernet jobs': (baseURL) => infernet({ apiKey, baseURL }).chat({ model, messages }),
    'infernet native': (originURL) => infernet({ apiKey, originURL }).native({ messages }),
    infron: (baseURL) => infron({ apiKey, baseURL }).chat({ model, messages }),
    'inferencesh task': (baseURL) => inferencesh({ apiKey, baseURL }).run({ app: 'a/b', input: {} }),
    'inferencesh agent': (baseURL) => inferencesh({ apiKey, baseURL }).agent({ agent: 'a/b@1', input: 'Go on.' }),
    gateway: (baseURL) => gateway({ apiKey, baseURL }).chat({ service_name: 's', model_name: 'm', input: 'Go on.' }),
    polargrid: (baseURL) => polargrid({ apiKey, baseURL }).chat({ model, messages }),
  };
}

/** The dialect with which a provider's answers are decoded. */
export function dialectOf(providers, format) {
  return callsOf(providers)[format]('http://127.0.0.1:9').dialect;
}
