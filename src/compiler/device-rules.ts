// What a device decides before it loads an image, by the device's own code, for whoever forecasts it.

export { abiVersion } from '../machine/abi.ts';
export { findUnused, outOfMemory, pageBytes, pagesFor } from '../machine/random-access-memory.ts';
export { compareVersions } from '../machine/succession.ts';
