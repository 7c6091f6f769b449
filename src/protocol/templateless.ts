/**
 * Stands in for `template.ts` in a page, which decodes a stream or two: there parsing every frame costs less than the bytes of
 * templates do.
 */
export class Templates {
  readonly event: undefined;
  readonly line: undefined;

  use(): boolean {
    return false;
  }

  useMatched(): boolean {
    return false;
  }

  add(): void {
    // Every frame is parsed.
  }

  clear(): void {
    // There is nothing.
  }
}
