// A sentence of the service, in which what it names leads to its page.

import { devicePath, loadPath, rolloutPath } from '../navigation/paths.ts';

const identifiers = /\b((?:dev|lod|rol)_[0-9a-f]{32})\b/;
const paths: Readonly<Record<string, (identifier: string) => string>> = { dev: devicePath, lod: loadPath, rol: rolloutPath };

export function Linked({ text }: { readonly text: string }) {
  return (
    <>
      {text.split(identifiers).map((part, index) => {
        const path = index % 2 === 1 ? paths[part.slice(0, 3)] : undefined;
        return path === undefined ? part : <a href={path(part)}>{part}</a>;
      })}
    </>
  );
}
