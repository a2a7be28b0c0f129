// Public interface of the machine.

export { Device, type DeviceOptions, type DeviceState } from './device.ts';
export { digestOf } from './digest.ts';
export { compileImage, type Image, ImageError, readImage } from './images/image.ts';
export { type ImageStatement, type VerifiedImage, verifyImage } from './images/verified-image.ts';
export type { LoadReport } from './isolation/load-report.ts';
export { defaultImageMemory } from './memory/memory-budget.ts';
export { Processor, type ProcessorOptions } from './processor.ts';
export { CallError, type HostCall, type HostCallRequest } from './programs/host-call.ts';
export { ProgramError } from './programs/program.ts';
export { sanitizeReason } from './reason.ts';
