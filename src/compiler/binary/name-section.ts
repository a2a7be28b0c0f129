// Reads function names from the name section. A malformed custom section never makes a module invalid.

import type { ByteReader } from './byte-reader.ts';
import { MalformedModuleError } from './module.ts';

const functionNamesSubsection = 1;

/** Reads function names by index from a custom section. Returns no names for other sections, and stops at the first malformed entry. */
export function readFunctionNames(reader: ByteReader): Map<number, string> {
  const names = new Map<number, string>();
  try {
    if (reader.name('the name of a custom section') !== 'name') return names;
    while (!reader.atEnd) {
      const kind = reader.byte('a subsection');
      const subsection = reader.subreader(reader.unsigned('the size of a subsection'), 'a subsection');
      if (kind === functionNamesSubsection) readNames(subsection, names);
    }
  } catch (error) {
    if (!(error instanceof MalformedModuleError)) throw error;
  }
  return names;
}

function readNames(reader: ByteReader, names: Map<number, string>): void {
  const count = reader.unsigned('the number of names');
  for (let read = 0; read < count; read += 1) names.set(reader.unsigned('a function index'), reader.name('the name of a function'));
}
