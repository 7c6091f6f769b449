import { ValidationError } from '../../errors.js';
import type { CLIConfig } from '../config.js';
import { UsageError } from '../exitCodes.js';
import { OptionError, PROVIDER_NAMES } from '../providerCall.js';
import { quoted } from '../quoted.js';
import { suggestion } from '../suggestion.js';
import { askedOf, type JobAsked } from './askedOf.js';
import type { FileJob, OutputFormat } from './fileJob.js';
import { isJobField, isKeyField, jobSchema, type KnownFields, meantField, withoutNulls } from './jobFields.js';
import { type JobDraft, type JobDrafts, shownName } from './jobDraft.js';
import { type Fields, layered, memberOf } from './jobLayers.js';
import type { JobProblems } from './jobProblems.js';
import { type Clash, outputClashes, type Placed } from './outputClashes.js';
import { literalTemplate, outputTemplate, type OutputTemplate, TemplateError } from './outputTemplate.js';

/**
 * Makes jobs of what a file holds. What is wrong goes to `problems`; the jobs that are given back are those with which nothing is.
 * @param flags - fields of a job, for all of them
 */
export function checkJobs(
  drafts: JobDrafts,
  problems: JobProblems,
  flags: Fields,
  config: CLIConfig = NO_CONFIG,
): readonly FileJob[] {
  return new JobChecker(drafts, problems, flags, config).check();
}

const NO_CONFIG: CLIConfig = {
  file: undefined,
  isFound: false,
  providers: new Map(),
  defaults: {},
  run: {},
  hasVariable: () => false,
};
const NO_DEFAULTS: JobDraft = { line: 1, fields: {}, lineOf: () => 1 };

const ENDINGS: Readonly<Record<OutputFormat, string>> = { text: '.txt', json: '.json', events: '.jsonl' };

/** A table may give each job a template of its own. */
const MAX_TEMPLATES = 1_000;

/** Fields that hold what is asked: a path that is made of them is not shown. */
const PRIVATE = /^(?:prompt|system|request|input)(?:\.|$)/;

/** Tells what is wrong with a field, or a part of one by its dotted name; without one, with the job. */
type Tell = (field: string | undefined, problem: string) => void;

/** A job, and what messages about its place may show. */
interface Checked extends Placed {
  readonly job: FileJob;
  readonly draft: JobDraft;
  readonly isPrivate: boolean;
}

class JobChecker {
  readonly #drafts: JobDrafts;
  readonly #problems: JobProblems;
  readonly #flags: Fields;
  readonly #config: CLIConfig;
  /** Names under which somebody can be asked. */
  readonly #providers: readonly string[];
  /** By its text; what is wrong with it, where it is none. */
  readonly #templates: Map<string, OutputTemplate | string> = new Map();
  /** Lines on which several jobs begin, so that a line alone does not tell which. */
  readonly #crowded: ReadonlySet<number>;

  constructor(drafts: JobDrafts, problems: JobProblems, flags: Fields, config: CLIConfig) {
    this.#drafts = drafts;
    this.#problems = problems;
    this.#flags = Object.fromEntries(Object.entries(flags).filter(([, value]) => value !== undefined));
    this.#config = config;
    this.#providers = [...PROVIDER_NAMES, ...config.providers.keys()];
    this.#crowded = new Set(
      drafts.jobs.flatMap(({ line }, at) => (at > 0 && drafts.jobs[at - 1]?.line === line ? [line] : [])),
    );
  }

  check(): readonly FileJob[] {
    this.#checkFlags();
    const usual = this.#checkDefaults();
    const checked = this.#drafts.jobs.flatMap((draft, at) => this.#job(draft, at + 1, usual) ?? []);
    for (const clash of outputClashes(checked)) {
      const { number, line, draft } = clash.job;
      this.#problems.add(draft.lineOf('output'), `${this.#prefix(line, number)}output: ${this.#describe(clash)}`);
    }
    return checked.map(({ job }) => job);
  }

  /** @throws UsageError: no line of the file is to blame */
  #checkFlags(): void {
    const { provider, output } = this.#flags;
    if (typeof provider === 'string' && this.#account(provider) === undefined) {
      throw new UsageError(`--provider: ${this.#unknownProvider(provider)}`);
    }
    const template = typeof output === 'string' ? this.#template(output) : undefined;
    if (typeof template === 'string') throw new UsageError(`--output: ${template}`);
  }

  /** The file's defaults; `undefined` where they are wrong, so that nothing can be said of what they would complete. */
  #checkDefaults(): JobDraft | undefined {
    const { defaults } = this.#drafts;
    if (defaults === undefined) return NO_DEFAULTS;
    const before = this.#problems.count;
    const tell: Tell = (field = '', problem) => {
      this.#problems.add(lineIn(defaults, field), `${shownName(`defaults.${field}`)}: ${problem}`);
    };
    this.#parse(defaults.fields, defaults.fields, tell);
    if (defaults.fields['id'] !== undefined) tell('id', 'belongs to one job');
    for (const name of Object.keys(defaults.fields)) {
      const meant = isJobField(name) ? undefined : meantField(name);
      if (meant !== undefined) tell(name, `unknown field (did you mean ${meant}?)`);
    }
    return this.#problems.count > before ? undefined : defaults;
  }

  #job(draft: JobDraft, number: number, usual: JobDraft | undefined): Checked | undefined {
    const { line, fields: own } = draft;
    const before = this.#problems.count;
    const tell: Tell = (field, problem) => {
      const prefix = this.#prefix(line, number);
      if (field === undefined) {
        this.#problems.add(line, prefix + problem);
        return;
      }
      const [head = ''] = field.split('.', 1);
      const isUsual = own[head] === undefined && usual?.fields[head] !== undefined;
      const from = isUsual ? ' (from the defaults)' : '';
      this.#problems.add(lineIn(draft, field), `${prefix}${shownName(field)}: ${problem}${from}`);
    };
    const merged = usual === undefined ? own : layered([this.#flags, usual.fields, own]);
    const known = this.#parse(merged, own, tell);
    if (known === undefined || usual === undefined || this.#problems.count > before) return undefined;
    const account = this.#requireAccount(own, known, tell);
    const asked = account === undefined ? undefined : this.#asked(own, known, tell);
    if (account === undefined || asked === undefined) return undefined;
    this.#checkSlips(own, known, tell);

    const { format = 'text' } = known;
    const id = String(known.id ?? number);
    const values: Fields = { ...merged, ...asked.asks, id, n: number, provider: account, model: asked.model };
    const made = this.#out(known.output ?? `{id}${ENDINGS[format]}`, values, merged, tell);
    if (made === undefined || this.#problems.count > before) return undefined;
    const { out, isPrivate } = made;
    const { model: _, ...whom } = asked;
    const source = { id, ...merged, format, output: literalTemplate(out) };
    const job: FileJob = { id, line, ...whom, account, format, out, source: { ...source, id } };
    return { number, line, out, draft, isPrivate, job };
  }

  #prefix(line: number, number: number): string {
    return this.#crowded.has(line) ? `job ${String(number)}: ` : '';
  }

  /** The fields that are known, if they are right. @param own - those that are looked at for names that must not be there */
  #parse(fields: Fields, own: Fields, tell: Tell): KnownFields | undefined {
    for (const name of Object.keys(own)) {
      if (isKeyField(name))
        tell(
          name,
          'looks like a key, which does not belong in a file; set it in the environment and name its variable in keyEnv',
        );
    }
    const read = jobSchema.safeParse(fields);
    for (const { path, message } of read.error?.issues ?? []) tell(path.map(String).join('.'), message);
    const { provider } = own;
    if (typeof provider === 'string' && provider !== '' && this.#account(provider) === undefined) {
      tell('provider', this.#unknownProvider(provider));
    }
    return read.success ? withoutNulls(read.data) : undefined;
  }

  /** The name under which a provider's settings stand. */
  #account(name: string): string | undefined {
    return this.#providers.findLast((each) => each.toLowerCase() === name.toLowerCase());
  }

  #unknownProvider(name: string): string {
    const meant = suggestion(name, this.#providers).replace('(Did', '(did');
    return `unknown provider ${quoted(name)}${meant === '' ? `; known are ${this.#providers.join(', ')}` : meant}`;
  }

  #requireAccount(own: Fields, { provider, prompt, request }: KnownFields, tell: Tell): string | undefined {
    const name = provider ?? this.#config.defaults.provider;
    if (name === undefined) {
      tell(
        'provider',
        `is missing; it stands in the job, in the defaults or in --provider${slipFor(own, ['provider'])}`,
      );
      return undefined;
    }
    if (prompt !== undefined && request !== undefined) {
      tell('request', 'stands beside prompt; a job has one of the two');
      return undefined;
    }
    return this.#account(name);
  }

  #asked(own: Fields, known: KnownFields, tell: Tell): JobAsked | undefined {
    try {
      const asked = askedOf(known, this.#config);
      if (asked === undefined) tell('prompt', `is missing, and so is request${adviceFor(own)}`);
      return asked;
    } catch (error) {
      tellRefusal(error, own, known, tell);
      return undefined;
    }
  }

  /** Fields that nobody knows are for templates. One that looks like a slip of the finger is let through where the template names it. */
  #checkSlips(own: Fields, { output }: KnownFields, tell: Tell): void {
    const template = output === undefined ? undefined : this.#template(output);
    const used = typeof template === 'object' ? template.fields.map((field) => field.split('.', 1)[0]) : [];
    for (const name of Object.keys(own)) {
      if (isJobField(name) || used.includes(name)) continue;
      const meant = meantField(name);
      if (meant !== undefined && own[meant] === undefined) tell(name, `unknown field (did you mean ${meant}?)`);
    }
  }

  #template(text: string): OutputTemplate | string {
    const read = this.#templates.get(text) ?? readTemplate(text);
    if (this.#templates.size < MAX_TEMPLATES) this.#templates.set(text, read);
    return read;
  }

  #out(text: string, values: Fields, fields: Fields, tell: Tell): Pick<Checked, 'out' | 'isPrivate'> | undefined {
    const template = this.#template(text);
    if (typeof template === 'string') {
      tell('output', template);
      return undefined;
    }
    if (fields['n'] !== undefined && template.fields.includes('n')) {
      tell('n', 'in a template n is the number of the job in its file; give this field another name');
      return undefined;
    }
    try {
      const out = template.render((field) => memberOf(values, field));
      return { out, isPrivate: template.fields.some((field) => PRIVATE.test(field)) };
    } catch (error) {
      if (!(error instanceof TemplateError)) throw error;
      tell('output', error.message);
      return undefined;
    }
  }

  #describe({ job, with: other, what }: Clash<Checked>): string {
    const path = job.isPrivate ? '' : ` (${job.out})`;
    if (other === 'run') return `takes a name that the run needs itself${path}`;
    const who = this.#crowded.has(other.line) ? `job ${String(other.number)}` : `line ${String(other.line)}`;
    switch (what) {
      case 'same':
        return `is the same file as that of ${who}${path}`;
      case 'folded':
        return `is the same file as that of ${who} on systems that tell no upper from lower case, or no way of composing a character from another${path}`;
      case 'folder':
        return `is a file where ${who} needs a folder, or the other way round${path}`;
      case 'partial':
        return `meets a name that the file of ${who} has while it is written, or the other way round${path}`;
    }
  }
}

function readTemplate(text: string): OutputTemplate | string {
  try {
    return outputTemplate(text);
  } catch (error) {
    if (error instanceof TemplateError) return error.message;
    throw error;
  }
}

/** Where a field stands, or the one that it is a part of. */
function lineIn({ fields, lineOf }: JobDraft, field: string): number {
  return lineOf(Object.hasOwn(fields, field) ? field : (field.split('.', 1)[0] ?? ''));
}

function tellRefusal(error: unknown, own: Fields, known: KnownFields, tell: Tell): void {
  if (error instanceof OptionError) {
    tell(error.option, error.problem + slipFor(own, [error.option]));
    return;
  }
  if (!(error instanceof UsageError || error instanceof TypeError || error instanceof RangeError)) throw error;
  if (error.cause instanceof ValidationError) {
    for (const { path, message } of error.cause.issues) {
      const place = path === '' ? [] : [path];
      tell(known.request === undefined ? path : ['request', ...place].join('.'), message);
    }
    return;
  }
  tell(undefined, discreet(error.message.replaceAll('baseURL', 'baseUrl'), known));
}

/** A message of the library may quote a word that is wrong, in whose place a prompt may stand where a table has slipped. */
function discreet(message: string, known: KnownFields): string {
  return Object.values(known)
    .filter((value): value is string => typeof value === 'string' && value.length > MAX_QUOTED_CHARS)
    .flatMap((text) => [JSON.stringify(text), text])
    .reduce((shown: string, text) => shown.replaceAll(text, '(a text)'), message);
}

const MAX_QUOTED_CHARS = 20;

function adviceFor(own: Fields): string {
  if (own['messages'] !== undefined) return '; messages are a part of a request: { "request": { "messages": … } }';
  return slipFor(own, ['prompt', 'request']);
}

/** What an unknown field may have been meant as, where a known one is missing. */
function slipFor(own: Fields, missing: readonly string[]): string {
  for (const name of Object.keys(own)) {
    const meant = isJobField(name) ? '' : suggestion(name, missing);
    if (meant !== '') return `; ${shownName(name)} stands there${meant.replace('(Did', '(did')}`;
  }
  return '';
}
