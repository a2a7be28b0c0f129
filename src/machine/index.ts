// The machine as the rest of Patchbay uses it.

export { Device, type DeviceOptions, type DeviceState } from './device.ts';
export { digestOf } from './digest.ts';
export { CallError, type Entry, type EntryRequest } from './entry.ts';
export { compileImage, type Image, ImageError, readImage } from './image.ts';
export type { LoadReport } from './load-report.ts';
export { defaultImageMemory } from './memory-budget.ts';
export { Processor, type ProcessorOptions } from './processor.ts';
export { ProgramError } from './program.ts';
export { reasonOf } from './reason.ts';
export { type ImageStatement, type VerifiedImage, verifyImage } from './verified-image.ts';
