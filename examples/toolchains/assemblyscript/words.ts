// Allocates a growing array and strings in every call, and keeps up to 100 numbers.

const kept: i32[] = [];

/** Builds an array of `count` numbers and a string, and returns a sum that does not depend on other calls. */
export function work(count: i32): i32 {
  const numbers: i32[] = [];
  let text = '';
  for (let i = 0; i < count; i++) {
    numbers.push(i);
    if (i % 16 === 0) text += i.toString();
  }
  if (kept.length < 100) kept.push(count);
  let sum = text.length;
  for (let i = 0; i < numbers.length; i++) sum += numbers[i];
  return sum;
}

/** Returns the size of the memory in pages. */
export function pages(_unused: i32): i32 {
  return memory.size();
}
