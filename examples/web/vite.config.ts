import { fileURLToPath } from 'node:url';
import { defineConfig, type Plugin } from 'vite';

export default defineConfig({
  root: fileURLToPath(new URL('.', import.meta.url)),
  cacheDir: fileURLToPath(new URL('../../node_modules/.vite/example-web', import.meta.url)),
  plugins: [millraceFromSource()],
  server: { fs: { allow: ['../..'] } },
});

/** Inside this repository `millrace` is what is being written. A project that has installed it leaves this out. */
function millraceFromSource(): Plugin {
  const both = {
    millrace: 'index.ts',
    'millrace/providers': 'providers/index.ts',
    'millrace/react': 'react/index.ts',
    'millrace/testing': 'testing/index.ts',
  };
  const page = { ...both, '#io': 'internal/io.web.ts', '#templates': 'protocol/templateless.ts' };
  const server = { ...both, '#io': 'internal/io.node.ts', '#templates': 'protocol/template.ts' };
  return {
    name: 'millrace-from-source',
    enforce: 'pre',
    resolveId(id, _importer, { ssr = false }) {
      const path = new Map(Object.entries(ssr ? server : page)).get(id);
      return path === undefined ? undefined : fileURLToPath(new URL(`../../src/${path}`, import.meta.url));
    },
  };
}
