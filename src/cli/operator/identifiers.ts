// Resolves names to identifiers, for lists that are short enough to be read whole.

import { UsageError } from '../errors.ts';
import { allItems, type Page, readPages } from './pages.ts';

type Named = { readonly id: string; readonly name: string };
type Kind<Item extends Named> = {
  /** How its identifiers begin. */
  readonly prefix: string;
  /** Like "active key". */
  readonly noun: string;
  /** The command that lists its objects. */
  readonly listCommand: string;
  readonly readPage: (query: { readonly limit: number; readonly cursor?: string }) => Promise<Page<Item>>;
};

/** Returns identifiers for identifiers or names. @throws {UsageError} if no object has the name. */
export async function resolveIdentifiers<Item extends Named>(
  namesOrIds: readonly string[],
  { prefix, noun, listCommand, readPage }: Kind<Item>,
): Promise<string[]> {
  // A name may begin in the same way.
  const identifier = new RegExp(`^${prefix}[0-9a-f]{32}$`);
  if (namesOrIds.every((text) => identifier.test(text))) return [...namesOrIds];
  const { items } = await readPages(allItems, readPage);
  return namesOrIds.map((text) => {
    const found = identifier.test(text) ? text : items.find(({ name }) => name === text)?.id;
    if (found === undefined) throw new UsageError(`there is no ${noun} named "${text}": "${listCommand}" lists them`);
    return found;
  });
}

/** Returns the identifier for an identifier or a name. @throws {UsageError} */
export async function resolveIdentifier<Item extends Named>(nameOrId: string, kind: Kind<Item>): Promise<string> {
  const [id = nameOrId] = await resolveIdentifiers([nameOrId], kind);
  return id;
}
