/** Shorter values are words, not keys; replacing those would tear holes into harmless text. */
const MIN_SECRET_CHARS = 8;

/**
 * Takes the caller's header values out of a text that a server sent: some servers quote the key they refuse. A value such as
 * `Bearer KEY` is taken out as a whole and as `KEY` alone, as it is and as JSON may escape it.
 */
export function redactSecrets(text: string, headers: Readonly<Record<string, string>>): string {
  const secrets = new Set<string>();
  for (const [name, value] of Object.entries(headers)) {
    if (harmless.has(name)) continue;
    // `Bearer KEY`, `a=KEY; b=KEY`.
    for (const secret of [value, ...value.split(/\s+/), ...value.split(/[\s;,=]+/)]) {
      if (secret.length < MIN_SECRET_CHARS) continue;
      secrets.add(secret);
      secrets.add(encodeURIComponent(secret)); // in a URL
    }
  }
  let clean = text;
  // The longest first: one may be part of another, whose rest would stay.
  for (const secret of [...secrets].sort((a, b) => b.length - a.length)) {
    clean = clean.replaceAll(secret, () => '[redacted]');
    if (clean.includes('\\')) clean = redactEscaped(clean, secret);
  }
  return clean;
}

/**
 * A copy of a value whose texts, names and numbers have gone through `redact`.
 * @param levels - what hangs deeper is left out
 */
export function redactValue(value: unknown, redact: (text: string) => string, levels: number): unknown {
  if (typeof value === 'string') return redact(value);
  if (typeof value === 'number') return redact(String(value)) === String(value) ? value : '[redacted]';
  if (typeof value !== 'object' || value === null) return value;
  if (levels === 0) return '[left out]';
  if (Array.isArray(value)) return value.map((item: unknown) => redactValue(item, redact, levels - 1));
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [redact(name), redactValue(item, redact, levels - 1)]),
  );
}

/** Takes a secret out of the text of a JSON document, where any of its characters may be escaped (RFC 8259, 7). */
function redactEscaped(text: string, secret: string): string {
  let plain = '';
  /** Where in `text` each character of `plain` begins. */
  const starts: number[] = [];
  for (const { 0: piece, 1: code, 2: letter, index } of text.matchAll(JSON_CHARACTER)) {
    starts.push(index);
    if (code !== undefined) plain += String.fromCharCode(Number.parseInt(code, 16));
    else if (letter !== undefined) plain += letter === 't' ? '\t' : letter;
    else plain += piece;
  }
  starts.push(text.length);
  let clean = '';
  let from = 0;
  for (let at = plain.indexOf(secret); at !== -1; at = plain.indexOf(secret, at + secret.length)) {
    clean += `${text.slice(from, starts[at])}[redacted]`;
    from = starts[at + secret.length] ?? text.length;
  }
  return clean + text.slice(from);
}

/** One character, or an escape for one that a header can hold. */
const JSON_CHARACTER = /\\(?:u([0-9a-f]{4})|(["\\/t]))|[^]/gi;

const harmless: ReadonlySet<string> = new Set([
  'accept',
  'accept-encoding',
  'accept-language',
  'cache-control',
  'content-type',
  'content-length',
  'user-agent',
  'last-event-id',
]);
