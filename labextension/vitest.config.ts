import { readFileSync } from 'node:fs';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  plugins: [
    {
      // JupyterLab's icons are the text of their files.
      name: 'svg-as-text',
      enforce: 'pre',
      load: id =>
        id.endsWith('.svg') ? `export default ${JSON.stringify(readFileSync(id, 'utf8'))}` : null
    }
  ],
  test: {
    // Those that draw say so in their first line: `@vitest-environment jsdom`.
    environment: 'node',
    include: ['tests/**/*.test.{ts,tsx}'],
    // JupyterLab's packages are made for a bundler: Node itself does not load them.
    server: { deps: { inline: [/@jupyterlab\//, /@lumino\//, /@jupyter\//] } },
    testTimeout: 10_000
  }
});
