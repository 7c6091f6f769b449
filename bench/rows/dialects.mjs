import { DIALECTS } from '../dialects.mjs';
import { memoryGroup } from './memoryGroup.mjs';

/** Each dialect in memory. */
export function dialects({ tokens, isQuick }) {
  return DIALECTS.map((name) =>
    memoryGroup({
      row: 'dialects',
      title: `dialect: ${name}, in memory`,
      fixture: `dialect:${name}`,
      tokens,
      isQuick,
    }),
  );
}
