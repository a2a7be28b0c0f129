// The builds of a patch set, with links to their pages.

import type { Schemas } from '../../src/client/client.ts';
import { buildPath } from '../navigation/paths.ts';
import { Module } from './module.tsx';

export function PatchSetMembers({ patchSet: { members } }: { readonly patchSet: Schemas['PatchSet'] }) {
  return members.flatMap(({ module, version }, index) => [
    index === 0 ? '' : ', ',
    <a key={module} href={buildPath(module, version)}>
      <Module module={module} version={version} />
    </a>,
  ]);
}
