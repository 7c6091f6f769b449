let made = 0;

/** A key like a provider's, and like no other text: whoever prints it is caught, see `keysIn` and `printedKeys.ts`. */
export function secretKey(): string {
  made += 1;
  return `sk-secret-${(0x7e57 * 65_536 + made).toString(36)}x7qz`;
}

/** The keys of tests that stand in a text: those that `secretKey` made, and the one that most tests use. */
export function keysIn(text: string): readonly string[] {
  return text.match(/sk-secret-[0-9a-z]{6,}|key-of-the-tests/gi) ?? [];
}
