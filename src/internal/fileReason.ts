const reasons: Readonly<Record<string, string | undefined>> = {
  ENOENT: 'its folder does not exist (`parents: true` makes it)',
  ENOTDIR: 'a part of its path is a file',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'the file system is read-only',
  ENOSPC: 'the disk is full (ENOSPC)',
  EDQUOT: 'the disk quota is used up',
};

/** What a usual refusal of a file system means; its own words name files that the caller never heard of. */
export function fileReason(code: string | undefined): string | undefined {
  return reasons[code ?? ''];
}
