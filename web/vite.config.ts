// Builds the dashboard: one page, one style sheet, one script, and a separate script for verification. File names contain digests for caching.

import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

/** The service behind `npm run dev:dashboard`. */
const service = process.env['PATCHBAY_SERVICE'] ?? 'http://127.0.0.1:7070';

export default defineConfig({
  root: fileURLToPath(new URL('.', import.meta.url)),
  clearScreen: false,
  logLevel: 'warn',
  build: {
    outDir: 'built',
    emptyOutDir: true,
    // The Content-Security-Policy forbids inline assets; browsers with module support preload modules themselves.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    cssCodeSplit: false,
    reportCompressedSize: false,
  },
  server: { proxy: { '/v1': service } },
});
