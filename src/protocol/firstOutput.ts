import type { OutputPlace } from '../types.js';

/** Makes a predicate that lets pass the pieces of the first output that comes, since outputs are never mixed. One for each answer. */
export function firstOutput(): (place: OutputPlace) => boolean {
  let first: OutputPlace | undefined;
  return (place) => {
    first ??= place;
    return place.index === first.index && place.name === first.name;
  };
}
