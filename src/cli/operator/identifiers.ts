// What operators call by names and the API knows by identifiers, in lists that are short enough to be read.

import { UsageError } from '../option-values.ts';
import { allItems, type Page, readPages } from './pages.ts';

type Named = { readonly id: string; readonly name: string };
type Kind<Item extends Named> = {
  /** What identifiers of it begin with. */
  readonly prefix: string;
  /** Like "key in use". */
  readonly called: string;
  /** The command that shows which there are. */
  readonly command: string;
  readonly ask: (query: { readonly limit: number; readonly cursor?: string }) => Promise<Page<Item>>;
};

/** Identifiers of what is given by identifier or name. @throws {UsageError} when nothing has the name. */
export async function resolveIdentifiers<Item extends Named>(
  given: readonly string[],
  { prefix, called, command, ask }: Kind<Item>,
): Promise<string[]> {
  if (given.every((text) => text.startsWith(prefix))) return [...given];
  const { items } = await readPages(allItems, ask);
  return given.map((text) => {
    const found = text.startsWith(prefix) ? text : items.find(({ name }) => name === text)?.id;
    if (found === undefined) throw new UsageError(`there is no ${called} called ${text}: "${command}" shows those there are`);
    return found;
  });
}

/** The identifier of one. @throws {UsageError} */
export async function resolveIdentifier<Item extends Named>(given: string, kind: Kind<Item>): Promise<string> {
  const [found = given] = await resolveIdentifiers([given], kind);
  return found;
}
