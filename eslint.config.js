import { builtinModules } from 'node:module';
import js from '@eslint/js';
import { defineConfig, globalIgnores } from 'eslint/config';
import rxjsX from 'eslint-plugin-rxjs-x';
import tseslint from 'typescript-eslint';

// Layers. Imports point downwards; what a folder may not touch is said here and nowhere else.

const NODE_MODULES = builtinModules.filter((name) => !name.startsWith('_') && !name.includes(':')).join('|');

const RESTRICTED = {
  node: { regex: `^(node:.*|(${NODE_MODULES})(/.*)?)$`, message: 'Node comes in through "#io" only.' },
  undici: { regex: '^undici(/|$)', message: 'undici belongs to internal/node.' },
  zod: { regex: '^zod(/|$)', message: 'Core code imports no zod at run time; take a Standard Schema.' },
  zodClassic: { regex: '^zod(/(?!mini$).*)?$', message: 'Dialects use zod/mini, which is a fraction of the size.' },
  rxjs: { regex: '^rxjs(/|$)', message: 'Pure code knows no RxJS.' },
  io: { regex: '^#io$', message: 'Only sources, sinks and internal touch the outside world.' },
  self: { regex: '^millrace(/|$)', message: 'Inside the library imports are relative.' },
  outside: {
    regex: '^(\\.\\./)+(test|examples|scripts|bench|dist)/',
    message: 'src imports nothing from outside src.',
  },
};

/** The rule that keeps a folder from importing the named things and the named folders of src. */
function restrict(names, folders = []) {
  const patterns = names.map((name) => RESTRICTED[name]);
  if (folders.length > 0) {
    patterns.push({
      regex: `^\\.{1,2}/(\\.\\./)*(${folders.join('|')})/`,
      message: 'Imports point downwards: cli -> sinks, sources, providers -> operators -> protocol, internal.',
    });
  }
  return { 'no-restricted-imports': ['error', { patterns }] };
}

const TOPS = ['cli', 'react', 'testing'];
const ALWAYS = ['outside', 'self'];
/** What `protocol` may not have: all of internal but its argument checks. */
const PURE_INTERNAL = 'internal(?!/require\\.js$)';

/** An `import()` would slip past the layers, and a bundler could not leave it out. */
const NO_DYNAMIC_IMPORT = {
  'no-restricted-syntax': ['error', { selector: 'ImportExpression', message: 'Import statically.' }],
};

/** Time comes from a scheduler, so that virtual time covers it. */
function noGlobals(...names) {
  const entries = names.map((name) => ({
    name,
    message: 'Time comes from a scheduler and the network from a source, so that tests can own them.',
  }));
  return { 'no-restricted-globals': ['error', ...entries] };
}
const TIMERS = ['setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask', 'requestAnimationFrame'];

export default defineConfig(
  globalIgnores(['dist/', 'coverage/', 'api/']),

  { linterOptions: { reportUnusedDisableDirectives: 'error', reportUnusedInlineConfigs: 'error' } },

  js.configs.recommended,
  {
    rules: {
      eqeqeq: 'error',
      'no-else-return': 'error',
      'prefer-template': 'error',
    },
  },

  {
    files: ['**/*.ts', '**/*.tsx'],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked, rxjsX.configs.strict],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/consistent-type-exports': 'error',
      // A name that starts with an underscore only stands before one that is used, or takes a member out of an object.
      '@typescript-eslint/no-unused-vars': [
        'error',
        { argsIgnorePattern: '^_', varsIgnorePattern: '^_', caughtErrors: 'all', reportUsedIgnorePattern: true },
      ],
      // isolatedDeclarations wants the type written on the left of what is exported, so it stands there everywhere.
      '@typescript-eslint/consistent-generic-constructors': 'off',
      // The compiler holds a variable that only callbacks change for constant; every report so far was that.
      '@typescript-eslint/no-unnecessary-condition': 'off',
      // Arguments are shown as they came, and JavaScript callers pass what the types exclude.
      '@typescript-eslint/no-unnecessary-type-conversion': 'off',
      // Errors are told apart by `code`: of two copies of the package one must know the other's.
      '@typescript-eslint/no-unsafe-class-instance-assignment': 'off',
      // `EmptyError` is the right answer of `firstValueFrom` where something must come.
      'rxjs-x/no-ignored-default-value': 'off',
      // An operator hands on whatever was thrown, unwrapped, so errors are `unknown` and stay so.
      'rxjs-x/throw-error': ['error', { allowThrowingAny: false, allowThrowingUnknown: true }],
    },
  },

  {
    files: ['src/**/*.ts', 'src/**/*.tsx'],
    rules: { ...restrict([...ALWAYS, 'node', 'undici', 'zod'], TOPS), 'no-console': 'error', ...NO_DYNAMIC_IMPORT },
  },
  {
    files: ['src/protocol/**'],
    rules: {
      ...restrict(
        [...ALWAYS, 'node', 'undici', 'zod', 'rxjs', 'io'],
        [...TOPS, 'sinks', 'sources', 'providers', 'operators', PURE_INTERNAL],
      ),
      ...noGlobals(...TIMERS, 'Date', 'performance', 'fetch'),
    },
  },
  {
    files: ['src/providers/**'],
    rules: {
      ...restrict(
        [...ALWAYS, 'node', 'undici', 'zodClassic', 'rxjs', 'io'],
        [...TOPS, 'sinks', 'sources', 'operators'],
      ),
      ...noGlobals(...TIMERS, 'fetch'),
    },
  },
  {
    files: ['src/operators/**'],
    rules: {
      ...restrict([...ALWAYS, 'node', 'undici', 'zod', 'io'], [...TOPS, 'sinks', 'sources', 'providers']),
      ...noGlobals(...TIMERS, 'fetch'),
    },
  },
  {
    files: ['src/internal/**'],
    rules: restrict([...ALWAYS, 'node', 'undici', 'zod'], [...TOPS, 'sinks', 'sources', 'providers', 'operators']),
  },
  {
    files: ['src/internal/io.node.ts', 'src/internal/node/**'],
    rules: restrict([...ALWAYS, 'zod'], [...TOPS, 'sinks', 'sources', 'providers', 'operators']),
  },
  {
    files: ['src/sources/**'],
    rules: restrict([...ALWAYS, 'undici', 'zod'], [...TOPS, 'sinks', 'providers']),
  },
  {
    // A sink may draw from a source (`collect(call)`), not the other way round.
    files: ['src/sinks/**'],
    rules: restrict([...ALWAYS, 'undici', 'zod'], [...TOPS, 'providers']),
  },
  {
    files: ['src/testing/**'],
    rules: restrict([...ALWAYS, 'undici', 'zodClassic'], ['cli', 'react']),
  },
  {
    // A command that reads YAML must not make the others wait for the reader: what few need is loaded then.
    files: ['src/cli/**'],
    rules: { ...restrict(ALWAYS, ['react']), 'no-console': 'off', 'no-restricted-syntax': 'off' },
  },
  {
    files: ['src/internal/io.web.ts'],
    rules: { 'no-console': 'off' },
  },

  {
    // The one place that knows how a subscriber is linked into a chain.
    files: ['src/internal/operate.ts'],
    rules: { 'rxjs-x/no-subclass': 'off' },
  },

  {
    files: ['test/**/*.{ts,tsx}'],
    rules: {
      // An error that nobody handles is an uncaught exception, which fails the run.
      'rxjs-x/no-ignored-error': 'off',
      // Re-entry is provoked, and so are throws of what is not an error.
      'rxjs-x/no-subscribe-in-pipe': 'off',
      'rxjs-x/no-nested-subscribe': 'off',
      'rxjs-x/throw-error': 'off',
      // What sinks make of half a stream is shown with `takeUntil` above them.
      'rxjs-x/no-unsafe-takeuntil': 'off',
      // Text is taken apart by character on purpose, surrogates in mind.
      '@typescript-eslint/no-misused-spread': 'off',
      // The plugin API of esbuild and the hosts of TypeScript are taken apart by name.
      '@typescript-eslint/unbound-method': 'off',
      // An element that the line before has asserted.
      '@typescript-eslint/no-non-null-assertion': 'off',
      // `expect.any(...)` and its like are `any` by vitest's types.
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-argument': 'off',
    },
  },
  {
    // Type tests are compiled and never run.
    files: ['test/types/**'],
    rules: { 'rxjs-x/no-floating-observables': 'off', '@typescript-eslint/no-meaningless-void-operator': 'off' },
  },
  {
    files: ['examples/**'],
    rules: {
      'no-restricted-imports': [
        'error',
        { patterns: [{ regex: '^(\\.\\./)+(src|dist)/', message: "Examples import 'millrace', as a user does." }] },
      ],
    },
  },

  {
    files: ['**/*.js', '**/*.mjs'],
    // These run in Node, as this file does.
    languageOptions: {
      globals: Object.fromEntries(Object.getOwnPropertyNames(globalThis).map((name) => [name, false])),
    },
  },
);
