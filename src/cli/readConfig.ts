import { type Document, isMap, isNode, isScalar, LineCounter, parseDocument, visit } from 'yaml';
import { ASKING, knownProvider } from './askingFields.js';
import type { CLIConfig } from './config.js';
import { configSchema, KNOWN_FIELDS, type ProviderSettings } from './configSchema.js';
import { UsageError } from './exitCodes.js';
import { PROVIDER_NAMES, PROVIDERS } from './providerCall.js';
import { suggestion } from './suggestion.js';

/** A mistake, and where it is. */
interface Mistake {
  readonly path: readonly PropertyKey[];
  /** True where the field itself is wrong, and not its value. */
  readonly isField?: boolean;
  readonly says: string;
}

/**
 * Reads what a config file says.
 * @param shown - the file's name in messages
 * @param openTo - the bits of its mode that let others in
 */
export function readConfig(
  source: string,
  shown: string,
  openTo: number,
): Pick<CLIConfig, 'providers' | 'defaults' | 'run'> {
  const lines = new LineCounter();
  const lineAt = (offset: number): number => lines.linePos(offset).line;
  const document = parseDocument(source, { lineCounter: lines, prettyErrors: false, merge: false });
  const [broken] = document.errors;
  // What stands behind the colon may be a piece of the file.
  if (broken !== undefined) throw mistakes(shown, [[lineAt(broken.pos[0]), broken.message.replace(/: .*$/s, '')]]);
  if (/\.json$/i.test(shown)) requireJSON(source, shown);

  const tell = (all: readonly Mistake[]): UsageError =>
    mistakes(
      shown,
      all.map((mistake) => [lineAt(offsetOf(document, mistake)), `${nameOf(mistake.path)} ${mistake.says}`.trim()]),
    );
  const allowsKeys = document.get('allowKeysInFile') === true;
  const keys = keysIn(document, allowsKeys);
  if (keys.length > 0) throw tell(keys);

  const read = configSchema.safeParse(valueOf(document, shown));
  if (!read.success) {
    throw tell(
      read.error.issues.flatMap((issue): readonly Mistake[] => {
        if (issue.code !== 'unrecognized_keys')
          return [{ path: issue.path, says: `is wrong: ${inWords(issue.message)}` }];
        return issue.keys.map((key) => ({
          path: [...issue.path, key],
          isField: true,
          says: `is unknown${suggestion(key === 'maxTokens' ? 'maxOutputTokens' : key, knownAt(issue.path))}`,
        }));
      }),
    );
  }
  const { providers = {}, defaults = {}, run = {} } = read.data;
  const wrong = [
    ...Object.entries(providers).flatMap(([name, settings]) => mistakesIn(name, settings)),
    ...mistakesInNames(Object.keys(providers), defaults.provider),
  ];
  if (wrong.length > 0) throw tell(wrong);
  if (allowsKeys && openTo !== 0) {
    throw new UsageError(`${shown} may hold keys, and others on this machine can read it: chmod 600 ${shown}`);
  }
  return { providers: new Map(Object.entries(providers)), defaults, run };
}

function valueOf(document: Document, shown: string): unknown {
  if (document.contents === null) return {};
  try {
    return document.toJS();
  } catch {
    // The parser's own words name what the file says.
    throw new UsageError(`${shown} uses an alias (*) that has no anchor (&) before it, or too many of them`);
  }
}

function mistakes(shown: string, all: readonly (readonly [line: number, says: string])[]): UsageError {
  return new UsageError(all.map(([line, says]) => `${shown}:${String(line)}: ${says}`).join('; '));
}

/** JSON is read as YAML, which tells lines and takes more than JSON. */
function requireJSON(source: string, shown: string): void {
  try {
    JSON.parse(source);
  } catch {
    throw new UsageError(`${shown} is not JSON; comments and unquoted names are for .yaml`); // the parser quotes the file
  }
}

function inWords(message: string): string {
  return message.replace(/^Invalid (?:input|option): /, '');
}

function nameOf(path: readonly PropertyKey[]): string {
  return path.map(String).join('.');
}

function offsetOf(document: Document, { path, isField }: Mistake): number {
  if (isField === true) {
    const map = path.length === 1 ? document.contents : document.getIn(path.slice(0, -1), true);
    const key = isMap(map)
      ? map.items.find((item) => isScalar(item.key) && item.key.value === path.at(-1))?.key
      : undefined;
    if (isNode(key)) return key.range?.[0] ?? 0;
  }
  for (let depth = path.length; depth > 0; depth -= 1) {
    const node = document.getIn(path.slice(0, depth), true);
    if (isNode(node)) return node.range?.[0] ?? 0;
  }
  return 0;
}

function knownAt([place, name]: readonly PropertyKey[]): readonly string[] {
  if (place === undefined) return KNOWN_FIELDS.top;
  if (place === 'providers') return name === undefined ? PROVIDER_NAMES : KNOWN_FIELDS.providers;
  return place === 'run' ? KNOWN_FIELDS.run : KNOWN_FIELDS.defaults;
}

/** Fields that hold a key by their name. */
const KEY_FIELD =
  /^(?:x?(?:api|secret|access|auth|private|bearer))?(?:key|token|secret|password|passwd|credentials?|authorization)$/;
/** Values that are keys by their form. */
const KEY_VALUE = /^(?:bearer\s+)?(?:sk|pk|rk|xai|gsk|hf|r8|inf|nvapi|AIza|ghp|github_pat)[-_]?[\w-]{20,}$/i;

/** Whatever looks like a key and may not stand there. */
function keysIn(document: Document, allowsKeys: boolean): readonly Mistake[] {
  const found: Mistake[] = [];
  visit(document, {
    Pair: (_, { key, value }, ancestors) => {
      if (!isScalar(key)) return;
      const path = [...pathOf(ancestors), String(key.value)];
      const isPlace = path.length === 3 && path[0] === 'providers' && path[2] === 'key';
      if (isPlace && allowsKeys) return;
      const isField =
        KEY_FIELD.test(String(key.value).toLowerCase().replace(/[-_]/g, '')) &&
        !(path.length === 2 && path[0] === 'providers');
      const isValue = isScalar(value) && typeof value.value === 'string' && KEY_VALUE.test(value.value.trim());
      if (!isField && !isValue) return;
      found.push({
        path,
        isField: true,
        says:
          'looks like a key, which does not belong in a file: set it in the environment and name the variable with keyEnv. ' +
          'Who wants it in the file all the same writes key: in the provider’s entry, allowKeysInFile: true, and lets nobody else read the file (chmod 600)',
      });
    },
  });
  return found;
}

/** The path of a pair, told from what it stands in. */
function pathOf(ancestors: readonly unknown[]): string[] {
  return ancestors.flatMap((each) =>
    typeof each === 'object' && each !== null && 'key' in each && isScalar(each.key) ? [String(each.key.value)] : [],
  );
}

/** What of a provider's entry the provider has no use for. */
function mistakesIn(name: string, settings: ProviderSettings): readonly Mistake[] {
  const path = ['providers', name];
  const known = knownProvider(name);
  const provider = settings.use ?? known;
  if (provider === undefined) {
    return [
      {
        path,
        isField: true,
        says: `is no provider${suggestion(name, PROVIDER_NAMES)}; a name of your own says which one it uses, such as use: openaiCompatible`,
      },
    ];
  }
  if (known !== undefined && known !== provider) {
    return [
      {
        path: [...path, 'use'],
        isField: true,
        says: `says ${provider}, and ${name} is a provider itself: choose another name`,
      },
    ];
  }
  const { modes, takes } = PROVIDERS[provider];
  const wrong: Mistake[] = [];
  if (settings.mode !== undefined && !modes.includes(settings.mode)) {
    wrong.push({ path: [...path, 'mode'], says: `is none of ${provider}’s: ${modes.join(', ')}` });
  }
  for (const [field, option] of ASKING) {
    if (settings[field] !== undefined && option !== 'mode' && !takes.includes(option)) {
      wrong.push({ path: [...path, field], isField: true, says: `is of no use to ${provider}` });
    }
  }
  if (settings.app !== undefined && settings.agent !== undefined) {
    wrong.push({ path: [...path, 'agent'], isField: true, says: 'cannot stand beside app' });
  }
  if (settings.key !== undefined && settings.keyEnv !== undefined) {
    wrong.push({ path: [...path, 'key'], isField: true, says: 'cannot stand beside keyEnv' });
  }
  return wrong;
}

function mistakesInNames(names: readonly string[], usual: string | undefined): readonly Mistake[] {
  const lower = names.map((name) => name.toLowerCase());
  const twice = names.filter((_, index) => lower.indexOf(lower[index] ?? '') !== index);
  const wrong: Mistake[] = twice.map((name) => ({
    path: ['providers', name],
    isField: true,
    says: 'is there twice; upper and lower case are the same',
  }));
  if (usual !== undefined && knownProvider(usual) === undefined && !lower.includes(usual.toLowerCase())) {
    wrong.push({
      path: ['defaults', 'provider'],
      says: `is no provider${suggestion(usual, [...PROVIDER_NAMES, ...names])}`,
    });
  }
  return wrong;
}
