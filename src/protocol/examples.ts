// Values shared by the examples of the API document. All examples show the same hot-patch: tcp 1.1.0 replaces 1.0.0 on the device router-7, while a
// program is inside the old version.

export const exampleBootId = '44c4fa95-2050-41e1-bf02-33ee7ddd0eff';

/** Identifier of the request for the load. */
export const exampleRequest = 'req_39e4cc1c3c0e490a96eed073ded227bc';

/** Times of the events in the examples. */
export const exampleTimes = {
  registered: '2026-11-23T08:00:00.000Z',
  received: '2026-11-23T09:15:41.702Z',
  pushed: '2026-11-23T09:15:42.298Z',
  installed: '2026-11-23T09:20:00.061Z',
  started: '2026-11-23T09:25:00.000Z',
  requested: '2026-11-23T09:30:00.000Z',
  dispatched: '2026-11-23T09:30:00.011Z',
  completed: '2026-11-23T09:30:00.072Z',
  faulted: '2026-11-23T09:31:12.804Z',
  opening: '2026-11-23T21:00:00.000Z',
  deadline: '2026-11-24T09:30:00.000Z',
} as const;

/** The two versions of the module in memory. */
export const exampleVersions = {
  old: {
    version: '1.0.0',
    image: 'sha256:e6a7ff71e18eb65a7bcfc042bb1a4c86d908529cd2410f93c33ef878b2f17f58',
    address: '0x1000',
    pages: 1,
  },
  new: {
    version: '1.1.0',
    image: 'sha256:32344ade3fbea237d661d3e34065ed2f3d0f49b36ce303c77752c4560366fff3',
    address: '0x2000',
    pages: 1,
  },
} as const;

/** Provenance of the new version. */
export const exampleBuild = {
  module: 'tcp',
  version: exampleVersions.new.version,
  language: 'assemblyscript',
  compiler: 'assemblyscript 0.28.20',
  sourceDigest: 'sha256:141be4c7d22f6507f9ebe9c27e6ffbd842259685163ddef7db13513224f1fffe',
  imageDigest: exampleVersions.new.image,
} as const;

/** The signing identity of the service. */
export const exampleIdentity = {
  origin: 'patchbay/a1e9156054e04fac',
  keyId: 'sha256:a1e9156054e04fac899ae9f275132cdc07a5dbc4ea2c2ad3a1ffc6e0d253681f',
  publicKey: '-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n',
  signature: 'dkYGEWq0e3oEm8sYtVJvYw3mT0hZr5n1bJ8u2c4XH1nqUQ0y6kD9x7pLrCw5vT3aNfGzEoBiKsMhJdPlRtWyAg==',
} as const;

/** Type of the export `checksum(length, rounds)`. */
export const exampleFunction = { parameters: ['i32', 'i32'], results: ['i32'] } as const;

export const exampleInterface = { exports: [{ name: 'checksum', ...exampleFunction }], imports: [] };

/** Hashes of audit events. */
export const exampleHashes = {
  previous: 'sha256:0d2c8ea5a6f7cb5d5d1f6f4dba9f6be5f2f1a2a4f6f4be3ccf4a4b6ad3e05a11',
  event: 'sha256:9b1f6d6be4d9b1f8f4fcb8f3f5fb2a0b7c52a7a3e1b0f1a4d3f3ad8c9f3d4c72',
} as const;
