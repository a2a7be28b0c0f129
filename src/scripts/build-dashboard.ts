// `npm run build:dashboard`: builds the dashboard in a staging folder and then replaces the files in use. The page is replaced after its assets.

import { join } from 'node:path';
import { replaceFolder } from './replace-files.ts';
import { root, runPackage, withStaging } from './staging.ts';

withStaging((staging) => {
  const built = join(staging, 'built');
  runPackage('vite', 'build', 'web', '--outDir', built);
  replaceFolder(built, join(root, 'web/built'), ['index.html']);
});
