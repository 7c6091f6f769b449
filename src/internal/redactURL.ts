/** A URL as errors and logs may show it: without credentials, query and fragment, any of which may hold a key. */
export function redactURL(url: string | URL): string {
  const { origin, protocol, host, pathname } = new URL(url);
  return `${origin === 'null' ? `${protocol}//${host}` : origin}${pathname}`;
}
