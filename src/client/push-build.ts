// Pushes a build: a source as JSON, a prebuilt module as its bytes.

import { type Client, type Schemas, unwrapResponse } from './client.ts';
import { buildLanguages } from './enum-values.ts';

export type BuildUpload = {
  readonly module: string;
  /** Semantic version, or `next-major`, `next-minor` or `next-patch`. */
  readonly version: string;
  readonly language: Schemas['Build']['language'];
  readonly content: Uint8Array;
  readonly concurrency?: Schemas['Concurrency'] | undefined;
  /** WebAssembly features to enable for an AssemblyScript source. */
  readonly features?: Schemas['SourceFeature'][] | undefined;
  /** Ranges of versions of other modules that must be in memory, by module. */
  readonly dependencies?: Readonly<Record<string, string>> | undefined;
};

const extensions: Readonly<Record<BuildUpload['language'], string>> = { assemblyscript: '.ts', wat: '.wat', wasm: '.wasm' };

/** The language of each file extension. */
export const languagesByExtension: ReadonlyMap<string, BuildUpload['language']> = new Map(
  buildLanguages.map((language) => [extensions[language], language]),
);

/** Creates a build. @throws {ResponseError} with diagnostics, if the source does not compile. */
export async function pushBuild(
  client: Client,
  { module, version, language, content, concurrency, features, dependencies }: BuildUpload,
  headers: Readonly<Record<string, string>> = {},
): Promise<Schemas['CreatedBuild']> {
  const path = { module };
  const options = concurrency === undefined ? {} : { concurrency };
  if (language !== 'wasm') {
    const further = { ...(features && { features }), ...(dependencies && { dependencies }) };
    const body = { version, language, source: new TextDecoder().decode(content), ...options, ...further };
    return unwrapResponse(await client.POST('/v1/modules/{module}/builds', { params: { path }, body, headers }));
  }
  // OpenAPI has no type for bytes: the serializer supplies the body.
  const dependency = Object.entries(dependencies ?? {}).map(([name, range]) => `${name}=${range}`);
  const query = { version, ...options, ...(dependency.length > 0 && { dependency }) };
  const prebuilt = { body: '', bodySerializer: () => content, headers: { ...headers, 'content-type': 'application/wasm' } };
  return unwrapResponse(await client.POST('/v1/modules/{module}/builds', { params: { path, query }, ...prebuilt }));
}
