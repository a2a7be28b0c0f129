// Reads the pages of the documentation.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of the repository. */
export const root = fileURLToPath(new URL('../..', import.meta.url));

const folders = ['docs', 'examples'];

/** Returns the paths of all pages, relative to the repository. */
export function pagePaths(): string[] {
  const inFolders = folders.flatMap((folder) => filesOf(folder).filter((path) => path.endsWith('.md')));
  return ['README.md', 'CONTRIBUTING.md', ...inFolders];
}

/** Returns the paths of all files under a folder of the repository, relative to the repository. */
export function filesOf(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length).replaceAll('\\', '/'));
}

/** Returns the text of a page. */
export function readPage(page: string): string {
  return readFileSync(join(root, page), 'utf8');
}

/** Returns the blocks of shell commands of a page. */
export function shellBlocks(page: string): string[] {
  return [...readPage(page).matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, block = '']) => block);
}

/** Returns the text of a page without its code blocks. */
export function prose(page: string): string {
  return readPage(page).replaceAll(/^```[\s\S]*?^```$/gm, '');
}

/** Returns the anchors of the headings of a page, as GitHub generates them. */
export function anchorsOf(page: string): string[] {
  return [...prose(page).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}
