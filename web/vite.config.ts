// How the dashboard is built: one page, one style sheet, and a script, of which what proves something comes apart; named by their digests so that browsers may keep them.

import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

/** The service that `npm run dev:dashboard` asks. */
const service = process.env['PATCHBAY_SERVICE'] ?? 'http://127.0.0.1:7070';

export default defineConfig({
  root: fileURLToPath(new URL('.', import.meta.url)),
  clearScreen: false,
  logLevel: 'warn',
  build: {
    outDir: 'built',
    emptyOutDir: true,
    // The Content-Security-Policy has no place for what is inside the page, and browsers that take modules preload them by themselves.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    cssCodeSplit: false,
    reportCompressedSize: false,
  },
  server: { proxy: { '/v1': service } },
});
