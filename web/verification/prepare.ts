// Disables the compilation of zod schemas into functions, which the Content-Security-Policy forbids. Imported before src/proof.

import { config } from 'zod';

config({ jitless: true });
