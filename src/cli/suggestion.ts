/** Known names that a word may have been meant as, in words: ` (Did you mean baseUrl?)`, or nothing. */
export function suggestion(word: string, known: readonly string[]): string {
  const lower = word.toLowerCase();
  const [nearest] = known
    .map((name) => ({ name, distance: distanceOf(lower, name.toLowerCase()) }))
    .filter(({ name, distance }) => distance <= Math.max(1, Math.floor(Math.min(word.length, name.length) * 0.4)))
    .sort((a, b) => a.distance - b.distance);
  return nearest === undefined ? '' : ` (Did you mean ${nearest.name}?)`;
}

/** Names longer than that are no slips of the finger. */
const MAX_CHARS = 40;

/** How many letters were left out, put in, exchanged or swapped with their neighbour. */
function distanceOf(a: string, b: string): number {
  if (a.length > MAX_CHARS || b.length > MAX_CHARS) return Infinity;
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, column) => column)];
  const at = (row: number, column: number): number => rows[row]?.[column] ?? Infinity;
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    rows.push(row);
    for (let j = 1; j <= b.length; j += 1) {
      const exchanged = at(i - 1, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const isSwapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swapped = isSwapped ? at(i - 2, j - 2) + 1 : Infinity;
      row.push(Math.min(at(i - 1, j) + 1, at(i, j - 1) + 1, exchanged, swapped));
    }
  }
  return at(a.length, b.length);
}
