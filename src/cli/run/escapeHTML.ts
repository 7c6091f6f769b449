const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text as it may stand in HTML: between tags, and in an attribute with quotes. */
export function escapeHTML(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ESCAPES[character] ?? character);
}

/** Data as it may stand in a script element: no text in it can end the element, or begin a comment or another script in it. */
export function inlineJSON(data: unknown): string {
  return JSON.stringify(data).replace(/</g, '\\u003c');
}
