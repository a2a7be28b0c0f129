// The modules of the chaos test: their calls take some time, and each call has a known number of effects.

/** Effects per call, by module. */
export const effectsPerCall: ReadonlyMap<string, number> = new Map([
  ['tcp', 2],
  ['udp', 1],
]);

/** Returns a module with `work(rounds, sleep)`, which emits its effects, sleeps after the first effect, loops, and returns the number of the build. */
export function generateModule(module: string, build: number): string {
  const emit = '(call $emit (i32.const 1) (i64.const 1))';
  const furtherEffects = emit.repeat((effectsPerCall.get(module) ?? 1) - 1);
  return `
  (module
    (import "kernel" "emit" (func $emit (param i32 i64)))
    (import "kernel" "sleep" (func $sleep (param i32)))
    (func (export "work") (param $rounds i32) (param $sleep i32) (result i32)
      (local $round i32)
      ${emit}
      (call $sleep (local.get $sleep))
      (loop $next
        (local.set $round (i32.add (local.get $round) (i32.const 1)))
        (br_if $next (i32.lt_u (local.get $round) (local.get $rounds))))
      ${furtherEffects}
      (i32.const ${build})))`;
}
