import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const source = (path: string): string => fileURLToPath(new URL(`src/${path}`, import.meta.url));

export default defineConfig({
  resolve: {
    alias: [
      { find: /^#io$/, replacement: source('internal/io.node.ts') },
      { find: /^#templates$/, replacement: source('protocol/template.ts') },
      { find: /^millrace\/bullmq$/, replacement: source('bullmq/index.ts') },
      { find: /^millrace\/providers$/, replacement: source('providers/index.ts') },
      { find: /^millrace\/react$/, replacement: source('react/index.ts') },
      { find: /^millrace\/redis$/, replacement: source('redis/index.ts') },
      { find: /^millrace\/sqlite$/, replacement: source('sqlite/index.ts') },
      { find: /^millrace\/testing$/, replacement: source('testing/index.ts') },
      { find: /^millrace$/, replacement: source('index.ts') },
    ],
  },
  test: {
    include: ['test/**/*.test.{ts,tsx}'],
    globalSetup: ['test/support/printedKeys.ts'],
    setupFiles: ['test/support/setup.ts'],
    // All cores: the default leaves one to the main process, which has little to do.
    maxWorkers: '100%',
    sequence: { shuffle: true },
    testTimeout: 20_000,
  },
});
