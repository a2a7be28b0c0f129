// Before the code of src/proof is loaded in a browser: it finds a Buffer, and its schemas are not compiled into functions, which the
// Content-Security-Policy forbids.

import { config } from 'zod';
import { Buffer } from './buffer.ts';

Object.assign(globalThis, { Buffer });
config({ jitless: true });
