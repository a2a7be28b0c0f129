// `npm run build:dashboard`: builds the dashboard in a folder of its own and then replaces the one in use, whose page comes after what it loads.

import { join } from 'node:path';
import { replaceFolder } from './replace-files.ts';
import { root, runPackage, withStaging } from './staging.ts';

withStaging((staging) => {
  const built = join(staging, 'built');
  runPackage('vite', 'build', 'web', '--outDir', built);
  replaceFolder(built, join(root, 'web/built'), ['index.html']);
});
