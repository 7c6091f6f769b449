/** What relative URLs are relative to: the page, or a worker's script; undefined where there is neither, as in Node. */
export function pageBase(): string | undefined {
  const { document, location } = globalThis as {
    readonly document?: { readonly baseURI?: string };
    readonly location?: { readonly href?: string };
  };
  return document?.baseURI ?? location?.href;
}
