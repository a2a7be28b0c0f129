// Reads the options of commands that name what devices get: a build or a patch set.

import { UsageError } from '../errors.ts';

type ContentOptions = {
  readonly module?: string | undefined;
  readonly version?: string | undefined;
  readonly patchSet?: string | undefined;
};

/** A build or a patch set, as members of a request. */
type ContentRequest =
  | { readonly module: string; readonly version: string }
  | { readonly patchSet: { readonly name: string; readonly version: string } };

/** The members of a request, and the name and version of the module or patch set. */
export type NamedContent = { readonly name: string; readonly version: string; readonly request: ContentRequest };

/** Returns the content that the options name. @throws {UsageError} unless they name either a build or a patch set. */
export function readContent({ module, version, patchSet }: ContentOptions): NamedContent {
  if (patchSet !== undefined) {
    if (module !== undefined || version !== undefined) throw new UsageError('--patch-set cannot be combined with --module and --version');
    const [, name, setVersion] = /^([^@]+)@(.+)$/.exec(patchSet) ?? [];
    if (name === undefined || setVersion === undefined) throw new UsageError(`--patch-set: expected name@version, received "${patchSet}"`);
    return { name, version: setVersion, request: { patchSet: { name, version: setVersion } } };
  }
  if (module === undefined || version === undefined) throw new UsageError('either --module and --version or --patch-set are required');
  return { name: module, version, request: { module, version } };
}
