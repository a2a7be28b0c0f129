// A worker thread's part of a conformance run: one script.

import { runScript, type ScriptResult } from './execution.ts';

/** Runs the script at a path; piscina's worker calls the default export. */
export default function run(path: string): Promise<ScriptResult> {
  return runScript(path);
}
