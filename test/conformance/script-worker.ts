// The worker thread of a conformance run, which runs one script at a time.

import { runScript, type ScriptResult } from './execution.ts';

/** Runs the script at a path; piscina's worker calls the default export. */
export default function run(path: string): Promise<ScriptResult> {
  return runScript(path);
}
