/** Shorter values are words, not keys; replacing those would tear holes into harmless text. */
const MIN_SECRET_CHARS = 8;

/**
 * Takes the caller's header values out of a text that a server sent: some servers quote the key they refuse. A value such as
 * `Bearer KEY` is taken out as a whole and as `KEY` alone.
 */
export function redactSecrets(text: string, headers: Readonly<Record<string, string>>): string {
  const secrets = new Set<string>();
  for (const [name, value] of Object.entries(headers)) {
    if (harmless.has(name)) continue;
    for (const secret of [value, ...value.split(/\s+/)]) {
      if (secret.length >= MIN_SECRET_CHARS) secrets.add(secret);
    }
  }
  let clean = text;
  // The longest first: one may be part of another, whose rest would stay.
  for (const secret of [...secrets].sort((a, b) => b.length - a.length)) {
    clean = clean.replaceAll(secret, () => '[redacted]');
  }
  return clean;
}

const harmless: ReadonlySet<string> = new Set([
  'accept',
  'accept-encoding',
  'accept-language',
  'content-type',
  'content-length',
  'user-agent',
  'last-event-id',
]);
