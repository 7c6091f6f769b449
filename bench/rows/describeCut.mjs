/** How a body is cut, in words. */
export function describeCut({ framesPerChunk, bytesPerChunk }) {
  if (bytesPerChunk !== undefined) return `${bytesPerChunk / 1024} KiB a chunk`;
  return framesPerChunk === 1 ? 'one frame a chunk' : `${framesPerChunk} frames a chunk`;
}
