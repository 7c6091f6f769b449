/**
 * A word that somebody wrote, in quotes, so that its misspelling can be seen. Anything longer may be a prompt or a key that stands in the wrong
 * place: of that only the length is told.
 */
export function quoted(word: string): string {
  return /^[\w.-]{0,20}$/.test(word) ? JSON.stringify(word) : `(a text of ${String(word.length)} characters)`;
}
