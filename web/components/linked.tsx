// A text of the service with links for the IDs in it.

import { devicePath, loadPath, rolloutPath } from '../navigation/paths.ts';

const identifiers = /\b((?:dev|lod|rol)_[0-9a-f]{32})\b/;
const paths: Readonly<Record<string, (identifier: string) => string>> = { dev: devicePath, lod: loadPath, rol: rolloutPath };

export function LinkedText({ text }: { readonly text: string }) {
  return (
    <>
      {text.split(identifiers).map((part, index) => {
        const path = index % 2 === 1 ? paths[part.slice(0, 3)] : undefined;
        return path === undefined ? part : <a href={path(part)}>{part}</a>;
      })}
    </>
  );
}
