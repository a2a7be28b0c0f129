// Before the code of src/proof is loaded in a browser: its schemas are not compiled into functions, which the Content-Security-Policy forbids.

import { config } from 'zod';

config({ jitless: true });
