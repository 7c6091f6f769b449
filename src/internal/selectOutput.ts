import type { OutputPlace } from '../types.js';

/** Which output to take where a stream has several. @public */
export interface OutputSelection {
  /** The choice or output item. @defaultValue the first output's; never an alternative answer */
  readonly index?: number | undefined;
  /** The provider's name for the output. @defaultValue the first output's */
  readonly name?: string | undefined;
}

/**
 * Makes a predicate that lets pass the pieces of one output: the one asked for or, where nothing was asked, the first that
 * comes. Outputs are never mixed. One predicate serves one subscription.
 */
export function selectOutput({ index, name }: OutputSelection = {}): (place: OutputPlace) => boolean {
  let first: OutputPlace | undefined;
  return (place) => {
    if (index === undefined && place.alternative === true) return false;
    if (index !== undefined && place.index !== index) return false;
    if (name !== undefined && place.name !== name) return false;
    first ??= place;
    return place.index === first.index && place.name === first.name;
  };
}
