// tcp 1.0.0: the Internet checksum of a segment (RFC 1071). It folds the carries into the sum only once, which can leave another carry.
// 1.1.0 fixes this.

const segment = new StaticArray<u8>(65535);

/** Returns the checksum of a segment of `length` bytes with fixed content, after computing it `rounds` times. */
export function checksum(length: i32, rounds: i32): i32 {
  fill(length);
  let result = 0;
  for (let round = 0; round < rounds; round += 1) result = sum(length);
  return result;
}

function fill(length: i32): void {
  for (let index = 0; index < length; index += 1) segment[index] = <u8>(index * 31 + 7);
}

function sum(length: i32): i32 {
  let total: u32 = 0;
  for (let index = 0; index + 1 < length; index += 2) total += ((<u32>segment[index]) << 8) | <u32>segment[index + 1];
  if (length & 1) total += (<u32>segment[length - 1]) << 8;
  total = (total & 0xffff) + (total >> 16);
  return <i32>(~total & 0xffff);
}
