let isWarned = false;

/** Warns, once, where a key was given to a provider in a page: whoever opens the page can read it. */
export function warnOfKeyInPage(provider: string): void {
  const { window, document } = globalThis as { readonly window?: unknown; readonly document?: unknown };
  if (isWarned || window === undefined || document === undefined) return;
  isWarned = true;
  // eslint-disable-next-line no-console -- a page's own place for it; `io` would bring undici to who imports dialects alone
  console.warn(
    `millrace: ${provider} was given an apiKey in a page, where everybody who opens it can read the key. Let your server add ` +
      `it with proxyHandler, and ask there, with { baseURL: '/api/proxy/${provider}' } and no key. ` +
      'dangerouslyAllowBrowser: true says that it is meant so',
  );
}
