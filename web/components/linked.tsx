// A text of the service in which IDs become links with names.

import { devicePath, loadPath, rolloutPath } from '../navigation/paths.ts';

const identifiers = /\b((?:dev|lod|rol)_[0-9a-f]{32})\b/;
const paths: Readonly<Record<string, (identifier: string) => string>> = { dev: devicePath, lod: loadPath, rol: rolloutPath };

type Parts = { readonly text: string; readonly names: ReadonlyMap<string, string> };

export function LinkedText({ text, names }: Parts) {
  return (
    <>
      {text.split(identifiers).map((part, index) => {
        const path = index % 2 === 1 ? paths[part.slice(0, 3)] : undefined;
        return path === undefined ? (
          part
        ) : (
          <a href={path(part)} title={part}>
            {names.get(part) ?? part}
          </a>
        );
      })}
    </>
  );
}
