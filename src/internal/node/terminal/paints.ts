/** Puts text into a colour. */
export type Paint = (text: string) => string;

/** The colours of a screen; all of them leave text as it is where there are none. */
export interface Paints {
  readonly bold: Paint;
  readonly dim: Paint;
  readonly green: Paint;
  readonly yellow: Paint;
  readonly red: Paint;
  /** For telling streams apart. Red, green and yellow say how one fares. */
  readonly hues: readonly Paint[];
}

/** Makes the colours, each of which ends where its text does. */
export function makePaints(hasColors: boolean): Paints {
  const paint =
    (open: number, close: number): Paint =>
    (text) =>
      hasColors && text !== '' ? `\u001b[${String(open)}m${text}\u001b[${String(close)}m` : text;
  return {
    bold: paint(1, 22),
    dim: paint(2, 22),
    green: paint(32, 39),
    yellow: paint(33, 39),
    red: paint(31, 39),
    hues: [36, 35, 34, 96, 95, 94].map((code) => paint(code, 39)),
  };
}

/**
 * Whether colours are wanted: NO_COLOR (https://no-color.org) goes before FORCE_COLOR, and either before what the output is.
 * @param isLive - a live view has colours of its own accord, lines for a log have not
 */
export function hasColors(env: Readonly<Record<string, string | undefined>>, isLive: boolean): boolean {
  if ((env['NO_COLOR'] ?? '') !== '') return false;
  const forced = env['FORCE_COLOR'];
  if (forced !== undefined) return forced !== '0' && forced !== 'false';
  return isLive && env['TERM'] !== 'dumb';
}
