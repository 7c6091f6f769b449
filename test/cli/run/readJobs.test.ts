import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import { stringify } from 'yaml';
import type { CLIConfig } from '../../../src/cli/config.js';
import { UsageError } from '../../../src/cli/exitCodes.js';
import type { FileJob } from '../../../src/cli/run/fileJob.js';
import {
  type JobDefaults,
  type JobFormat,
  jobSource,
  readJobs,
  type ReadJobsOptions,
} from '../../../src/cli/run/readJobs.js';
import type { TextSource } from '../../../src/cli/run/readText.js';

const flags: JobDefaults = { provider: 'polargrid', model: 'm' };

const jobsOf = (
  name: string,
  text: TextSource,
  defaults: JobDefaults = flags,
  options: ReadJobsOptions = {},
): Promise<readonly FileJob[]> => readJobs({ name, text }, defaults, options);

async function onlyJob(fields: object, defaults: JobDefaults = flags, options: ReadJobsOptions = {}): Promise<FileJob> {
  const [job] = await jobsOf('a.jsonl', JSON.stringify(fields), defaults, options);
  return job!;
}

async function problemsOf(name: string, text: TextSource, defaults: JobDefaults = flags): Promise<readonly string[]> {
  const error: unknown = await jobsOf(name, text, defaults).then(
    () => new Error('it was taken'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(UsageError);
  return (error as Error).message.split('\n');
}

const problemOf = async (fields: object, defaults: JobDefaults = flags): Promise<string> =>
  (await problemsOf('a.jsonl', JSON.stringify(fields), defaults)).join('\n');

const lines = (...jobs: readonly object[]): string => jobs.map((job) => JSON.stringify(job)).join('\n');

describe('readJobs', () => {
  const table: Readonly<Record<JobFormat, string>> = {
    jsonl:
      '{"id":"a","prompt":"Why, and\\nhow?","maxTokens":9,"meta":{"title":"T"},"enableThinking":true}\n{"id":"b","prompt":"x"}\n',
    json: '[\n  {"id": "a", "prompt": "Why, and\\nhow?", "maxTokens": 9, "meta": {"title": "T"}, "enableThinking": true},\n  {"id": "b", "prompt": "x"}\n]',
    yaml: '- id: a\n  prompt: |-\n    Why, and\n    how?\n  maxTokens: 9\n  meta: { title: T }\n  enableThinking: true # a comment\n\n# another\n- id: b\n  prompt: x\n',
    csv: 'id,prompt,maxTokens,meta.title,enableThinking\na,"Why, and\nhow?",9,T,TRUE\nb,x,,,\n',
  };
  const starts: Readonly<Record<JobFormat, readonly number[]>> = {
    jsonl: [1, 2],
    json: [2, 3],
    yaml: [1, 10],
    csv: [2, 4],
  };

  it.each(Object.keys(table) as JobFormat[])(
    'reads the same jobs from %s, with LF, CRLF and a byte order mark',
    async (format) => {
      const text = table[format];
      for (const written of [text, text.replaceAll('\n', '\r\n'), `\ufeff${text}`, Buffer.from(`\ufeff${text}`)]) {
        const jobs = await jobsOf(`jobs.${format}`, written);
        expect(
          jobs.map(({ line, asks, ...job }) => ({
            line,
            prompt: 'prompt' in asks ? asks.prompt.replaceAll('\r', '') : '',
            ...job,
          })),
        ).toEqual([
          {
            id: 'a',
            line: starts[format][0],
            prompt: 'Why, and\nhow?',
            options: { provider: 'polargrid', model: 'm', mode: 'chat', maxTokens: 9, enableThinking: true },
            keyEnv: undefined,
            account: 'polargrid',
            format: 'text',
            out: 'a.txt',
            source: expect.objectContaining({
              id: 'a',
              provider: 'polargrid',
              meta: { title: 'T' },
              output: 'a.txt',
              format: 'text',
            }),
          },
          expect.objectContaining({ id: 'b', line: starts[format][1], out: 'b.txt' }),
        ]);
      }
    },
  );

  it('tells the format by the ending, and reads JSON Lines from standard input unless told otherwise', async () => {
    expect(await jobsOf('a.YML', '- prompt: x')).toHaveLength(1);
    expect(await jobsOf('a.ndjson', '{"prompt":"x"}')).toHaveLength(1);
    const piped = jobSource('-', Readable.from(['{"prompt":"x"}\n{"prom', 'pt":"y"}']));
    expect(await readJobs(piped, flags)).toHaveLength(2);
    const told = jobSource('-', Readable.from([Buffer.from('[{"prompt":"x"}]')]), 'json');
    expect(await readJobs(told, flags)).toHaveLength(1);
    await expect(readJobs(jobSource('-', Readable.from(['nope'])), flags)).rejects.toThrow(/^stdin:1: is not JSON/);
    expect(() => jobSource('jobs.txt', new PassThrough())).toThrow('give --input-format');
  });

  it('reads files, and says what is wrong with one that cannot be read', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'millrace-jobs-'));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const path = join(folder, 'jobs.json');
    await writeFile(path, '{"prompt":"x"}');
    expect(await readJobs(jobSource(path, new PassThrough()), flags)).toHaveLength(1);
    const missing = join(folder, 'no.json');
    await expect(readJobs(jobSource(missing, new PassThrough()))).rejects.toThrow(`${missing}: there is no such file`);
    await expect(readJobs(jobSource(folder, new PassThrough(), 'json'))).rejects.toThrow(`${folder}: is a folder`);
  });

  it.each([
    ['a.jsonl', ''],
    ['a.jsonl', '\n \r\n'],
    ['a.jsonl', '{"defaults":{"model":"x"}}'],
    ['a.json', '[]'],
    ['a.json', ' '],
    ['a.json', '{"jobs":[]}'],
    ['a.yaml', '# nothing\n'],
    ['a.yaml', '---\n---\n'],
    ['a.csv', 'id,prompt\n'],
    ['a.csv', '\n'],
  ])('refuses a file without jobs: %s %j', async (name, text) => {
    expect(await problemsOf(name, text)).toEqual([`${name}: holds no jobs`]);
  });
});

describe('readJobs and defaults', () => {
  it('lays a job over the defaults of the file, and those over the flags', async () => {
    const text = lines(
      { defaults: { model: 'file', system: 'file', temperature: 1, meta: { a: 1, b: 1 } } },
      { prompt: 'x', system: 'own', meta: { b: 2 }, output: '{meta.a}{meta.b}' },
    );
    const [job] = await jobsOf('a.jsonl', text, { provider: 'openai', model: 'flag', system: 'flag', maxTokens: 5 });
    expect(job).toMatchObject({
      options: { provider: 'openai', model: 'file', system: 'own', temperature: 1, maxTokens: 5 },
      out: '12',
      line: 2,
    });
  });

  it('takes a default away where a job says null, and thinking where it says false', async () => {
    const job = await onlyJob(
      { prompt: 'x', system: null, enableThinking: false },
      { ...flags, system: 's', enableThinking: true },
    );
    expect(job.options).toEqual({ provider: 'polargrid', model: 'm', mode: 'chat' });
  });

  it('joins requests member by member, and lets the nearer of prompt and request count', async () => {
    const messages = [{ role: 'user', content: 'x' }];
    const text = lines(
      { defaults: { request: { model: 'r', temperature: 0, stream_options: { a: 1 } } } },
      { request: { messages, temperature: 2, stream_options: { b: 1 } } },
      { prompt: 'x' },
    );
    const [first, second] = await jobsOf('a.jsonl', text, { provider: 'openai', model: 'm' });
    expect(first?.asks).toEqual({ request: { model: 'r', temperature: 2, stream_options: { a: 1, b: 1 }, messages } });
    expect(second?.asks).toEqual({ prompt: 'x' });
    expect(await problemOf({ prompt: 'x', request: { messages } })).toBe(
      'a.jsonl:1: request: stands beside prompt; a job has one of the two',
    );
  });

  it.each([
    ['a.json', '{\n"jobs": [{"prompt":"x"}],\n"defaults": {"system":"s"}}'],
    ['a.yaml', 'jobs:\n - prompt: x\ndefaults:\n  system: s\n'],
    ['a.yaml', 'defaults: {system: s}\n---\nprompt: x\n'],
    ['a.yaml', 'defaults: {system: s}\n---\n- prompt: x\n'],
    ['a.jsonl', '\n{"defaults":{"system":"s"}}\n\n{"prompt":"x"}'],
  ])('finds the defaults at the top of %s %j', async (name, text) => {
    expect((await jobsOf(name, text)).map(({ options }) => options.system)).toEqual(['s']);
  });

  it('tells of wrong defaults once, where they stand', async () => {
    const text = lines(
      { defaults: { temperature: 'hot', provider: 'nobody', apiKey: 'x', id: 'i' } },
      { prompt: 'x' },
      { prompt: 7 },
    );
    expect(await problemsOf('a.jsonl', text)).toEqual([
      'a.jsonl:1: defaults.apiKey: looks like a key, which does not belong in a file; set it in the environment and name its variable in keyEnv',
      'a.jsonl:1: defaults.temperature: must be a number',
      expect.stringContaining('a.jsonl:1: defaults.provider: unknown provider "nobody"; known are infernet'),
      'a.jsonl:1: defaults.id: belongs to one job',
      'a.jsonl:3: prompt: must be a text',
    ]);
    const json = '{\n"defaults": {\n"temperature": "hot",\n"temprature": 1},\n"jobs": [{"prompt":"x"}]}';
    expect(await problemsOf('a.json', json)).toEqual([
      'a.json:3: defaults.temperature: must be a number',
      'a.json:4: defaults.temprature: unknown field (did you mean temperature?)',
    ]);
  });

  it.each([
    ['a.jsonl', '{"prompt":"x"}\n{"defaults":{}}', ['a.jsonl:2: defaults: stand at the top of the file, and once']],
    ['a.yaml', 'prompt: x\n---\ndefaults: {}\n', ['a.yaml:3: defaults: stand at the top of the file, and once']],
    [
      'a.json',
      '{"defaults":[],\n"jobs":{},\n"default":{}}',
      [
        'a.json:1: defaults: must be an object',
        'a.json:2: jobs: must be a list',
        'a.json:3: default: stands beside jobs and defaults, where no other field may',
      ],
    ],
    [
      'a.jsonl',
      '{"jobs":[]}',
      ['a.jsonl:1: jobs: in JSON Lines each line is a job; a file with a list of them is JSON'],
    ],
  ])('refuses defaults and jobs that are none: %s %j', async (name, text, problems) => {
    expect(await problemsOf(name, text)).toEqual(problems);
  });

  it('blames a flag where no line is to blame', async () => {
    expect(await problemOf({ prompt: 'x' }, { ...flags, output: '../{id}' })).toBe(
      '--output: it must not hold .. as a folder',
    );
    expect(await problemOf({ prompt: 'x' }, { provider: 'polargird' })).toBe(
      '--provider: unknown provider "polargird" (did you mean polargrid?)',
    );
  });

  it('asks by a name of the config file’s own, with what it says under all else', async () => {
    const config: CLIConfig = {
      file: '/x/millrace.config.json',
      isFound: false,
      providers: new Map([
        ['work', { use: 'openaiCompatible', baseUrl: 'http://localhost:9/v1', keyEnv: 'WORK_KEY', model: 'own' }],
      ]),
      defaults: { system: 'be brief' },
      run: {},
      hasVariable: () => false,
    };
    const job = await onlyJob({ provider: 'Work', prompt: 'x', output: '{provider}/{model}' }, {}, { config });
    expect(job).toMatchObject({
      options: {
        provider: 'openaiCompatible',
        model: 'own',
        baseUrl: 'http://localhost:9/v1',
        system: 'be brief',
        mode: 'chat',
      },
      keyEnv: 'WORK_KEY',
      account: 'work',
      out: 'work/own',
      source: { provider: 'Work' },
    });
    const request = { messages: [{ role: 'user', content: 'x' }] };
    const other = await onlyJob({ provider: 'work', request, keyEnv: 'MINE' }, {}, { config });
    expect(other).toMatchObject({ asks: { request: { model: 'own', ...request } }, keyEnv: 'MINE' });
    await expect(onlyJob({ provider: 'wrok', prompt: 'x' }, {}, { config })).rejects.toThrow(
      'a.jsonl:1: provider: unknown provider "wrok" (did you mean work?)',
    );
  });
});

describe('readJobs and what is wrong', () => {
  it.each<[object, string]>([
    [{ prompt: 'x', provider: 'polargird' }, 'provider: unknown provider "polargird" (did you mean polargrid?)'],
    [{ promt: 'x' }, 'prompt: is missing, and so is request; promt stands there (did you mean prompt?)'],
    [
      { messages: [] },
      'prompt: is missing, and so is request; messages are a part of a request: { "request": { "messages": … } }',
    ],
    [{ title: 'x' }, 'prompt: is missing, and so is request'],
    [{ prompt: ' \n' }, 'prompt: must not be empty'],
    [{ prompt: 5 }, 'prompt: must be a text'],
    [{ prompt: 'x', max_tokens: 5 }, 'max_tokens: unknown field (did you mean maxTokens?)'],
    [{ prompt: 'x', maxOutputTokens: 5 }, 'maxOutputTokens: unknown field (did you mean maxTokens?)'],
    [{ prompt: 'x', temprature: 1 }, 'temprature: unknown field (did you mean temperature?)'],
    [{ prompt: 'x', Model: 'y' }, 'Model: unknown field (did you mean model?)'],
    [{ prompt: 'x', maxTokens: 1.5 }, 'maxTokens: must be a whole number'],
    [{ prompt: 'x', maxTokens: 0 }, 'maxTokens: must be at least 1'],
    [{ prompt: 'x', temperature: -1 }, 'temperature: must be at least 0'],
    [{ prompt: 'x', enableThinking: 'yes' }, 'enableThinking: must be true or false'],
    [{ prompt: 'x', format: 'xml' }, 'format: must be text, json or events'],
    [{ prompt: 'x', mode: 'jobs' }, 'mode: polargrid has no mode "jobs"; it has chat, completion'],
    [{ prompt: 'x', mode: 'completion', system: 's' }, 'system: polargrid in mode completion has no use for it'],
    [{ prompt: 'x', app: 'a/b' }, 'app: polargrid has no use for it'],
    [{ prompt: 'x', model: null }, 'model: polargrid needs it'],
    [{ prompt: 'x', model: null, modle: 'm' }, 'model: polargrid needs it; modle stands there (did you mean model?)'],
    [{ prompt: 'x', baseUrl: 'example.com' }, 'baseUrl must be an absolute URL, such as https://api.example.com/v1'],
    [{ prompt: 'x', baseUrl: 'http://u:p@h/' }, 'baseUrl must not hold credentials; give them as apiKey or in headers'],
    [{ prompt: 'x', keyEnv: 'sk-live-123' }, 'keyEnv: must be the name of an environment variable, and not a key'],
    [{ prompt: 'x', id: '' }, 'id: must not be empty'],
    [{ prompt: 'x', id: ['x'] }, 'id: must be a text or a number, and not empty'],
    [{ request: 'x' }, 'request: must be an object'],
    [{ request: { messages: [{ role: 5 }] } }, 'request.messages.0.role: must be a string'],
    [
      { request: { messages: [{ role: 'user' }] }, system: 's' },
      'system: it has no place beside a request of polargrid; write it into the request',
    ],
    [{ prompt: 'x', output: '/etc/passwd' }, 'output: it must not begin at a root'],
    [{ prompt: 'x', output: '{title}.md' }, 'output: the job has no field title'],
    [
      { prompt: 'x', n: 5, output: '{n}' },
      'n: in a template n is the number of the job in its file; give this field another name',
    ],
    [{ prompt: 'x', provider: 'inferencesh', app: 'a/b' }, 'model: inferencesh has no use for it'],
    [
      { prompt: 'x', provider: 'inferencesh', model: null },
      'app: inferencesh is asked with app (mode run) or with agent (mode agent)',
    ],
  ])('says of %j that %s', async (fields, problem) => {
    expect(await problemOf(fields)).toBe(`a.jsonl:1: ${problem}`);
  });

  it('misses a provider where nobody names one', async () => {
    expect(await problemOf({ prompt: 'x' }, {})).toBe(
      'a.jsonl:1: provider: is missing; it stands in the job, in the defaults or in --provider',
    );
  });

  it.each([
    'apiKey',
    'api_key',
    'API-KEY',
    'key',
    'token',
    'Authorization',
    'openai_api_key',
    'x-api-key',
    'secret',
    'password',
  ])('refuses a field named %s', async (name) => {
    const problem = await problemOf({ prompt: 'x', [name]: 'hunter2hunter2' });
    expect(problem).toBe(
      `a.jsonl:1: ${name}: looks like a key, which does not belong in a file; set it in the environment and name its variable in keyEnv`,
    );
  });

  it('keeps fields that nobody knows, for templates, whatever they are called', async () => {
    const job = await onlyJob({
      prompt: 'x',
      title: 'a/b',
      meta: { tags: ['x', 'y'] },
      mood: 'm',
      reason: 'r',
      output: '{title}/{meta.tags.1}{mood}',
    });
    expect(job.out).toMatch(/^a-b-[0-9a-f]{12}\/ym$/);
    expect(job.source).toMatchObject({ title: 'a/b', reason: 'r' });
    expect((await onlyJob({ prompt: 'x', sistem: 's', output: '{sistem}' })).out).toBe('s');
    expect((await onlyJob({ prompt: 'x', prompts: 's', formats: 1, constructor: 1 })).out).toBe('1.txt');
    expect(
      (await jobsOf('a.jsonl', '{"prompt":"x","__proto__":{"model":"y"},"output":"{__proto__.model}"}'))[0],
    ).toMatchObject({
      out: 'y',
      options: { model: 'm' },
    });
  });

  it('finds clashes before anything runs, and names both lines', async () => {
    const text = lines(
      { prompt: 'x', id: 'a' },
      { prompt: 'y' },
      { prompt: 'z', output: 'A.TXT' },
      { prompt: 'z', output: 'a.txt' },
    );
    expect(await problemsOf('a.jsonl', text)).toEqual([
      'a.jsonl:3: output: is the same file as that of line 1 on systems that tell no upper from lower case, or no way of composing a character from another (A.TXT)',
      'a.jsonl:4: output: is the same file as that of line 1 (a.txt)',
    ]);
    const secret = lines({ prompt: 'secret', output: '{prompt}' }, { prompt: 'secret', output: '{prompt}' });
    expect(await problemsOf('a.jsonl', secret)).toEqual(['a.jsonl:2: output: is the same file as that of line 1']);
  });

  it('names jobs by their number where several stand on one line', async () => {
    expect(await problemsOf('a.json', '[{"prompt":"x","output":"a"},{"prompt":"x","output":"a"},{"promt":1}]')).toEqual(
      [
        'a.json:1: job 3: prompt: is missing, and so is request; promt stands there (did you mean prompt?)',
        'a.json:1: job 2: output: is the same file as that of job 1 (a)',
      ],
    );
  });

  it('tells the first twenty, and how many more', async () => {
    const text = Array.from({ length: 25 }, () => '{"prompt":""}').join('\n');
    const problems = await problemsOf('a.jsonl', text);
    expect(problems).toHaveLength(21);
    expect(problems[19]).toBe('a.jsonl:20: prompt: must not be empty');
    expect(problems[20]).toBe('and 5 more');
    expect(await problemsOf('a.jsonl', text.split('\n').slice(0, 20).join('\n'))).toHaveLength(20);
  });

  it.each([
    [
      'a.jsonl',
      '{"prompt":"x"}\n{"prompt":"x"\n[1]\n5\nnull',
      [
        'a.jsonl:2: is not JSON: what begins here has no end: a } is missing (column 1)',
        'a.jsonl:3: a job must be an object',
        'a.jsonl:4: a job must be an object',
        'a.jsonl:5: a job must be an object',
      ],
    ],
    [
      'a.jsonl',
      '{\n"prompt":"x"\n}',
      [
        'a.jsonl:1: is not JSON: what begins here has no end: a } is missing (column 1); is the file one document? Then its format is json',
        'a.jsonl:2: is not JSON: something follows that is no part of it (column 9)',
        'a.jsonl:3: is not JSON: a value must stand here (column 1)',
      ],
    ],
    [
      'a.json',
      '{"prompt":"x"}\n{"prompt":"y"}',
      [
        'a.json:2: is not JSON: something follows that is no part of it (column 1); is each line a job? Then its format is jsonl',
      ],
    ],
    ['a.json', '[\n{"prompt":"x",\n  "prompt":"y"}]', ['a.json:3: prompt: stands there twice']],
    ['a.json', '[\n{"prompt":"x"},\n]', ['a.json:3: is not JSON: a value must stand here (column 1)']],
    ['a.json', '5', ['a.json:1: must hold a list of jobs, or an object with jobs and defaults']],
    [
      'a.yaml',
      '- prompt: *bold* text\n',
      ['a.yaml:1: is not YAML: this does not belong here; does a text need quotes?'],
    ],
    [
      'a.yaml',
      '- prompt: x\n- prompt: *no\n',
      ['a.yaml:2: an alias (*) of an anchor that does not stand before it; put a text that begins with * in quotes'],
    ],
    [
      'a.yaml',
      '- prompt: a: b\n',
      ['a.yaml:1: is not YAML: a colon with a blank behind it makes a field here; put a text that holds one in quotes'],
    ],
    ['a.yaml', '- prompt: x\n  prompt: y\n', ['a.yaml:2: is not YAML: a field stands there twice']],
    [
      'a.yaml',
      '- prompt: !x y\n',
      ['a.yaml:1: is not YAML: a tag (!) that is not known; put a text that begins with ! in quotes'],
    ],
    ['a.yaml', '- prompt: x\n  temperature: .nan\n', ['a.yaml:2: a number that JSON does not have']],
    ['a.yaml', '- &a\n  prompt: x\n  meta: *a\n', ['a.yaml:3: an alias (*) of what it is a part of']],
    ['a.yaml', '- prompt: x\n  ? [a]\n  : b\n', ['a.yaml:2: the name of a field must be a text']],
    ['a.yaml', '- <<: 5\n  prompt: x\n', ['a.yaml:1: <<: takes an object, an alias of one, or a list of them']],
    ['a.csv', 'prompt\n"x\ny', ['a.csv:2: is not CSV: in the row that begins here a cell in quotes does not end']],
    [
      'a.csv',
      'prompt\nx\n"a"b\n',
      [
        'a.csv:3: is not CSV: in the row that begins here something follows the end of a cell in quotes; a quote inside is doubled',
      ],
    ],
    [
      'a.csv',
      'prompt\na "b" c\n',
      [
        'a.csv:2: is not CSV: in the row that begins here a quote stands inside a cell; such a cell is put in quotes, and the quote doubled',
      ],
    ],
    [
      'a.csv',
      'id,prompt\n1,a,b\n2,c\n',
      ['a.csv:2: has a cell behind the last of the 2 columns; is a cell with a comma not in quotes?'],
    ],
    [
      'a.csv',
      'id,,prompt\n1,a,b\n2,,c\n',
      ['a.csv:2: has a cell whose column has no name; is a cell with a comma not in quotes?'],
    ],
    ['a.csv', 'id;prompt\n1;a\n', ['a.csv:1: the first row is one name; cells are told apart by commas']],
    ['a.csv', 'id,prompt,id\n', ['a.csv:1: id: stands in the first row twice']],
    ['a.csv', 'request.model,request\n', ['a.csv:1: request: cannot stand beside request.model']],
    [
      'a.csv',
      'prompt,temperature,request.a:json,enableThinking\nx,warm,,\ny,,{a,\nz,,,1\n',
      [
        'a.csv:2: temperature: must be a number',
        'a.csv:3: (a field whose name has 14 characters): is not JSON',
        'a.csv:4: enableThinking: must be true or false',
      ],
    ],
  ])('tells the line in %s %j', async (name, text, problems) => {
    expect(await problemsOf(name, text)).toEqual(problems);
  });

  it.each<[string, Uint8Array, string]>([
    [
      'a byte that no character has',
      Buffer.from([0x7b, 0x0a, 0x22, 0xc3, 0xa9, 0xef, 0xbf, 0xbd, 0xe9, 0x41]),
      'a.jsonl:2: is not UTF-8 in column 4 (byte 0xe9); save it as UTF-8',
    ],
    [
      'a character that is cut',
      Buffer.from('ä').subarray(0, 1),
      'a.jsonl:1: is not UTF-8 in column 1 (byte 0xc3); save it as UTF-8',
    ],
    ['UTF-16', Buffer.from('\ufeff{}', 'utf16le'), 'a.jsonl:1: is UTF-16; save it as UTF-8'],
  ])('refuses %s, and tells its place', async (_, bytes, problem) => {
    expect(await problemsOf('a.jsonl', bytes)).toEqual([problem]);
    const pieces = Readable.from([...bytes].map((byte) => Buffer.from([byte])));
    expect(await problemsOf('a.jsonl', pieces)).toEqual([problem]);
  });
});

describe('readJobs and places', () => {
  const text = fc.string({
    unit: fc.constantFrom('a', 'ü', '\n', '\r', '"', ',', ':', '#', '-', ' ', '{', '\u2028', '🙂'),
  });
  const anyJob = fc.record({
    prompt: text.map((prompt) => `p${prompt}`),
    title: text,
    meta: fc.dictionary(fc.constantFrom('a', 'b'), text),
  });

  /** A file with one job that is wrong, and the line that it begins on. */
  type Written = (
    jobs: readonly object[],
    wrong: number,
  ) => { readonly name: string; readonly text: string; readonly line: number };
  const linesIn = (written: string): number => written.split('\n').length;
  const writers: Readonly<Record<string, Written>> = {
    'JSON Lines': (jobs, wrong) => {
      const rows = jobs.map((job, at) => '\n'.repeat(at % 3) + JSON.stringify(job));
      return { name: 'a.jsonl', text: rows.join('\n'), line: linesIn(rows.slice(0, wrong + 1).join('\n')) };
    },
    JSON: (jobs, wrong) => {
      const rows = jobs.map((job, at) => JSON.stringify(job, null, at % 3));
      const before = rows
        .slice(0, wrong)
        .map((row) => `${row},\n`)
        .join('');
      return { name: 'a.json', text: `[\n${rows.join(',\n')}\n]`, line: linesIn(`[\n${before}`) };
    },
    YAML: (jobs, wrong) => {
      const rows = jobs.map((job, at) => `${'# a comment\n'.repeat(at % 2)}${stringify([job])}`);
      const before = rows.slice(0, wrong).join('') + '# a comment\n'.repeat(wrong % 2);
      return { name: 'a.yaml', text: rows.join(''), line: linesIn(before) };
    },
    CSV: (jobs, wrong) => {
      const cell = (value: unknown): string => `"${typeof value === 'string' ? value.replaceAll('"', '""') : ''}"`;
      const rows = jobs.map((job) => {
        const { prompt, promt, title, temperature } = job as Record<string, unknown>;
        return `${[prompt, promt, title, temperature].map(cell).join(',')}\n`;
      });
      // Of a lone CR inside quotes the parser makes a line too.
      const before = `prompt,promt,title,temperature\n${rows.slice(0, wrong).join('')}`;
      return {
        name: 'a.csv',
        text: `prompt,promt,title,temperature\n${rows.join('')}`,
        line: before.split(/\r\n|\n|\r/).length,
      };
    },
  };

  it.each(Object.keys(writers))('tells the line of the one job that is wrong in %s', async (kind) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(anyJob, { minLength: 1, maxLength: 8 }),
        fc.nat(),
        fc.boolean(),
        async (jobs, at, isCRLF) => {
          const wrong = at % jobs.length;
          const broken = jobs.map((job, number) => (number === wrong ? { promt: job.prompt, title: job.title } : job));
          const { name, text: written, line } = writers[kind]!(broken, wrong);
          const hasReturn = kind === 'CSV' && written.includes('\r');
          const problems = await problemsOf(name, isCRLF && !hasReturn ? written.replaceAll('\n', '\r\n') : written);
          expect(problems).toEqual([
            `${name}:${String(line)}: prompt: is missing, and so is request; promt stands there (did you mean prompt?)`,
          ]);
        },
      ),
      { numRuns: 150 },
    );
  });

  it('never shows what is asked, nor a key, whatever is wrong', async () => {
    const secret = 'The-quick-brown-fox-jumps-over-the-lazy-dog';
    const anyField = fc.constantFrom(
      'id',
      'provider',
      'mode',
      'prompt',
      'request',
      'model',
      'system',
      'region',
      'service',
      'app',
      'baseUrl',
      'keyEnv',
      'format',
      'output',
      'promt',
      'apiKey',
      'input',
      secret,
    );
    const anyFile = fc.record({
      fields: fc.dictionary(
        anyField,
        fc.constantFrom<unknown>(
          secret,
          { [secret]: secret },
          [secret],
          { messages: secret },
          5,
          null,
          'polargrid',
          'gateway',
          'x',
        ),
      ),
      name: fc.constantFrom('a.jsonl', 'a.json', 'a.yaml', 'a.csv'),
      cut: fc.nat({ max: 30 }),
    });
    await fc.assert(
      fc.asyncProperty(anyFile, async ({ fields, name, cut }) => {
        const whole =
          name === 'a.csv'
            ? `${Object.keys(fields).join(',')}\n${Object.values(fields).map(String).join(',')}`
            : JSON.stringify(fields);
        const error: unknown = await jobsOf(name, whole.slice(0, whole.length - cut)).catch(
          (reason: unknown) => reason,
        );
        if (error instanceof Error) {
          expect(error).toBeInstanceOf(UsageError);
          expect(error.message).not.toContain(secret);
        }
      }),
      { numRuns: 1_000 },
    );
  });

  it('takes time with the length of a file, aliases included', async () => {
    const anchors = `- &d\n  prompt: x\n${Array.from({ length: 5_000 }, () => '- <<: *d\n').join('')}`;
    expect(await jobsOf('a.yaml', anchors)).toHaveLength(5_001);
    const bomb = [
      'a: &a0 [1,1,1,1,1,1,1,1,1,1]',
      ...Array.from(
        { length: 9 },
        (_, at) =>
          `b${String(at)}: &a${String(at + 1)} [${Array(10)
            .fill(`*a${String(at)}`)
            .join(',')}]`,
      ),
      'prompt: x',
    ];
    expect(await problemsOf('a.yaml', bomb.join('\n'))).toContain(
      'a.yaml:7: is larger than 10000000 values with its aliases written out',
    );
  });
});

describe('readJobs and requests', () => {
  it.each<[object, object]>([
    [
      { provider: 'openai', model: 'm', request: { messages: [{ role: 'user', content: 'x' }] } },
      { mode: 'chat', model: 'm' },
    ],
    [
      { provider: 'openai', mode: 'responses', request: { model: 'm', input: 'x', background: true } },
      { mode: 'responses', model: 'm' },
    ],
    [
      { provider: 'infernet', mode: 'native', model: 'm', request: { messages: [{ role: 'user', content: 'x' }] } },
      { mode: 'native', model: 'm' },
    ],
    [
      { provider: 'gateway', model: 'm', service: 's', request: { input: 'x' } },
      { mode: 'chat', model: 'm' },
    ],
    [{ provider: 'inferencesh', app: 'a/b', request: { input: { x: 1 } } }, { mode: 'run' }],
    [{ provider: 'inferencesh', request: { agent: 'a/b', input: 'x' } }, { mode: 'agent' }],
  ])('reads %j', async (fields, options) => {
    const job = await onlyJob(fields, {});
    expect(job.options).toEqual({ provider: (fields as { provider: string }).provider, ...options });
  });

  it('asks an app with its input alone, and knows its name in templates', async () => {
    const job = await onlyJob(
      { provider: 'inferencesh', app: 'a/b', input: { x: 1 }, output: '{model}/{input.x}' },
      {},
    );
    expect(job).toMatchObject({
      asks: { prompt: '' },
      out: expect.stringMatching(/^a-b-[0-9a-f]{12}\/1$/),
      options: { mode: 'run' },
    });
  });

  it('reads nested requests from a table', async () => {
    const table =
      'provider,request.model,request.messages:json,request.max_tokens:json\nopenai,m,"[{""role"":""user"",""content"":""x""}]",5\n';
    const [job] = await jobsOf('a.csv', table, {});
    expect(job?.asks).toEqual({ request: { model: 'm', messages: [{ role: 'user', content: 'x' }], max_tokens: 5 } });
  });
});
