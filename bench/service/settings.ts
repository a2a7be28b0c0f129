// The command line options of `npm run bench`.

import { parseArgs } from 'node:util';
import { UsageError } from '../../src/cli/errors.ts';

const parts = ['loads', 'fleet', 'growth', 'memory', 'latency'] as const;
export type Part = (typeof parts)[number];

export type Settings = {
  /** Whether to run for about a minute only, with fewer devices and rounds. */
  readonly isQuick: boolean;
  readonly parts: readonly Part[];
  /** The JSON file of the figures. */
  readonly out: string;
  /** Folder for CPU profiles; null: none. */
  readonly profile: string | null;
  /** Whether a missed goal is a failure. */
  readonly isCheck: boolean;
};

/** The context of a part of the benchmark. */
export type Bench = Settings & { readonly progress: (line: string) => void };

export const usage = `Usage: npm run bench -- [options]

Measures the service over its public interfaces, each figure against a floor of the same run.

Options:
  --quick          run for about a minute, with fewer devices and rounds
  --only PARTS     run only these parts, separated by commas: ${parts.join(', ')}
  --out FILE       write the figures as JSON to FILE (default: bench-results.json)
  --profile FOLDER write CPU profiles of the service and the hosts to FOLDER
  --check          exit with 1 if a goal is missed
  --help           show this help
`;

/** @throws {UsageError} */
export function readSettings(args: readonly string[]): Settings | 'help' {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string', default: parts.join(',') },
      out: { type: 'string', default: 'bench-results.json' },
      profile: { type: 'string' },
      check: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return 'help';
  return {
    isQuick: values.quick,
    parts: readParts(values.only),
    out: values.out,
    profile: values.profile ?? null,
    isCheck: values.check,
  };
}

function readParts(text: string): Part[] {
  const wanted = text.split(',').map((name) => name.trim());
  const unknown = wanted.find((name) => !parts.some((part) => part === name));
  if (unknown !== undefined)
    throw new UsageError(`--only ${unknown}: unknown part; expected one or more of ${parts.join(', ')}, separated by commas`);
  return parts.filter((part) => wanted.includes(part));
}
