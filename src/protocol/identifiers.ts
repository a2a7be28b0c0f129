// The names and identifiers that the control service, its clients and the device hosts share.

import { randomUUIDv7 } from 'node:crypto';
import { parse as parseVersion } from 'semver';
import { z } from 'zod';
import { exampleTimes, exampleVersions } from './examples.ts';

/** Every kind of object that has an identifier, with the prefix that names the kind. */
export const identifierPrefixes = {
  host: 'hst',
  device: 'dev',
  build: 'bld',
  batch: 'bat',
  load: 'lod',
  program: 'prg',
  order: 'ord',
  key: 'key',
  'signing key': 'sgk',
  'publisher key': 'pub',
  'signature policy': 'sgp',
  rollout: 'rol',
} as const;

/** The digits of every identifier in an example. */
const exampleDigits = '01a207bda9c07b1e9d2f4c6a8b0d1e2f';

/** Returns the identifier of a kind of object in examples. */
export function exampleIdentifier(kind: keyof typeof identifierPrefixes): string {
  return `${identifierPrefixes[kind]}_${exampleDigits}`;
}

/** The identifier of an object of a kind. */
export function identifierSchema(kind: keyof typeof identifierPrefixes) {
  return identifierWith(identifierPrefixes[kind]);
}

function identifierWith(prefix: string) {
  return z.string().regex(new RegExp(`^${prefix}_[0-9a-f]{32}$`), `must be an identifier of the form ${prefix}_ and 32 hexadecimal digits`);
}

function identifier<Prefix extends string>(prefix: Prefix) {
  return identifierWith(prefix)
    .meta({ examples: [`${prefix}_${exampleDigits}`] })
    .brand<Prefix>();
}

export const HostId = identifier(identifierPrefixes.host);
export type HostId = z.infer<typeof HostId>;
export const DeviceId = identifier(identifierPrefixes.device);
export type DeviceId = z.infer<typeof DeviceId>;
export const LoadId = identifier(identifierPrefixes.load);
export type LoadId = z.infer<typeof LoadId>;
export const ProgramId = identifier(identifierPrefixes.program);
export type ProgramId = z.infer<typeof ProgramId>;
export const OrderId = identifier(identifierPrefixes.order);
export type OrderId = z.infer<typeof OrderId>;

export const PublisherKeyId = identifier(identifierPrefixes['publisher key']);
export type PublisherKeyId = z.infer<typeof PublisherKeyId>;
export const SignaturePolicyId = identifier(identifierPrefixes['signature policy']);
export type SignaturePolicyId = z.infer<typeof SignaturePolicyId>;

/** A request, as its client names it (the header `X-Request-Id`) or the service does. */
export const RequestId = z.string().regex(/^[A-Za-z0-9._-]{1,64}$/, 'must be 1 to 64 of A-Z, a-z, 0-9, ".", "_" and "-"');

/** A new identifier's text: the prefix and a UUIDv7 (RFC 9562) without dashes, so that identifiers sort by the time they were made. */
export function newIdentifier(kind: keyof typeof identifierPrefixes): string {
  return `${identifierPrefixes[kind]}_${randomUUIDv7().replaceAll('-', '')}`;
}

/** A module's name: a named logical unit of kernel code (patent col. 3). `kernel` and `patchbay` name imports of the system itself. */
export const ModuleName = z
  .string()
  .regex(/^[a-z][a-z0-9_-]{0,62}$/, 'must be 1 to 63 of a-z, 0-9, "-" and "_", and start with a letter')
  .refine((name) => !['kernel', 'patchbay', 'env'].includes(name), 'is a name the system keeps for itself: choose another')
  .meta({ examples: ['tcp'] })
  .brand<'ModuleName'>();
export type ModuleName = z.infer<typeof ModuleName>;

/** The name of a host, a device or a program, as its operator chose it. */
export const DisplayName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, 'must be 1 to 63 of a-z, 0-9, ".", "-" and "_", and start with a letter or digit');

/** The name of one export or import of a module: any text that WebAssembly allows, the empty one too. The compiler limits it to as many bytes. */
export const ExportName = z
  .string()
  .max(4_096)
  .meta({ examples: ['checksum'] });

/** The version of a build or of what a device has in memory. */
export const Version = z
  .string()
  .max(256)
  .meta({ examples: [exampleVersions.new.version] });

/** Whether a text is a semantic version (semver.org 2.0.0), written as builds write it: without a `v`, spaces or anything else around it. */
export function isVersion(text: string): boolean {
  const version = parseVersion(text);
  return version !== null && text === [version.version, ...(version.build.length === 0 ? [] : [version.build.join('.')])].join('+');
}

/** Why something did not work, in words. */
export const Reason = z.string().max(1_000);

/** SHA-256 of an image or a source, as `sha256:` and 64 hexadecimal digits. */
export const Digest = z
  .string()
  .regex(/^sha256:[0-9a-f]{64}$/, 'must be "sha256:" and 64 hexadecimal digits')
  .meta({ examples: [exampleVersions.new.image] })
  .brand<'Digest'>();
export type Digest = z.infer<typeof Digest>;

/** Labels of one device. */
export const labelLimit = 16;

/** What keys and values of labels are, for registrations, requests and queries alike: what one takes, the others find. */
export const labelPatterns = {
  key: '[a-z0-9][a-z0-9._/-]{0,62}',
  /** Without control characters: a value that ends in a line break looks like one that does not, and is never found. */
  value: String.raw`[^\u0000-\u001f\u007f-\u009f]{0,63}`,
} as const;
/** The same in words. */
export const labelRules = {
  key: 'a label key is 1 to 63 of a-z, 0-9, ".", "-", "_" and "/", and starts with a letter or digit',
  value: 'a label value is up to 63 characters, without line breaks, tabs or other control characters',
} as const;

const LabelKey = z.string().regex(new RegExp(`^${labelPatterns.key}$`), labelRules.key);
const LabelValue = z.string().regex(new RegExp(`^${labelPatterns.value}$`), labelRules.value);

/** The labels of a device, as requests and registrations give them: a short key and a short value each. */
export const Labels = z
  .record(LabelKey, LabelValue)
  .refine((labels) => Object.keys(labels).length <= labelLimit, `must have up to ${labelLimit} labels`)
  .meta({ id: 'Labels', maxProperties: labelLimit, examples: [{ zone: 'north' }] });
export type Labels = z.infer<typeof Labels>;

/** A byte address in a device's memory, as it is printed: `0x` and hexadecimal digits. */
export const Address = z
  .string()
  .regex(/^0x[0-9a-f]{1,16}$/)
  .meta({ examples: [exampleVersions.new.address] });

/** A date and time as RFC 3339 writes it, with any offset; `t` and `z` are read as `T` and `Z`. Leap seconds are refused: no database here has them. */
export const DateTime = z
  .string()
  .max(40)
  .overwrite((text) => text.replace(/^([\d-]{10})t/, '$1T').replace(/z$/, 'Z'))
  .check(
    z.iso.datetime({
      offset: true,
      error: ({ input }) =>
        typeof input === 'string' && /T\d\d:\d\d:60(?:\.\d+)?(?:Z|[+-])/.test(input)
          ? 'has the second 60, and leap seconds are not accepted: use second 59, or second 00 of the next minute'
          : 'must be a date and time with an offset (RFC 3339), like 2026-11-23T09:30:00Z or 2026-11-23T10:30:00+01:00',
    }),
  );

/**
 * A moment that is kept, in the years 1 to 9999, which both databases have. It is read as UTC, to the millisecond, so that later and earlier can be
 * compared as text.
 */
export const Timestamp = DateTime.overwrite(inUtc)
  .refine((text) => /^(?!0000)\d{4}-/.test(text), 'must be between the years 1 and 9999 in UTC')
  .meta({ examples: [exampleTimes.requested] });

function inUtc(text: string): string {
  const moment = new Date(text);
  return Number.isNaN(moment.getTime()) ? text : moment.toISOString();
}
