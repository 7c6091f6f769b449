/** Fields as a file or a command line has them. */
export type Fields = Readonly<Record<string, unknown>>;

/**
 * Lays fields over one another, the last on top. Objects are joined member by member, all else is replaced. A layer that has a prompt leaves no
 * request below it, and the other way round.
 */
export function layered(layers: readonly Fields[]): Fields {
  return layers.reduce((under, over) => {
    const without = isSaid(over, 'prompt') ? 'request' : isSaid(over, 'request') ? 'prompt' : undefined;
    const left = Object.entries(under).filter(([name]) => name !== without || isSaid(over, name));
    return joined(Object.fromEntries(left), over);
  }, {});
}

/** A field, or a member of one by its dotted name; `undefined` where there is none. */
export function memberOf(fields: Fields, name: string): unknown {
  if (Object.hasOwn(fields, name)) return fields[name];
  let value: unknown = fields;
  for (const part of name.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Fields)[part];
  }
  return value;
}

function isSaid(fields: Fields, name: string): boolean {
  return fields[name] !== undefined && fields[name] !== null;
}

function joined(under: Fields, over: Fields): Fields {
  const members = Object.entries(over).map(([name, value]): [string, unknown] => {
    const below = Object.hasOwn(under, name) ? under[name] : undefined;
    return [name, isObject(below) && isObject(value) ? joined(below, value) : value];
  });
  return { ...under, ...Object.fromEntries(members) };
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
