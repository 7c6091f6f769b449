import { chatFixture } from './fixtures.mjs';
import { dialectFixture } from './dialects.mjs';
import { recordingFixture } from './recordings.mjs';

/** A fixture by its name: `chat`, `dialect:<name>` or `recording:<file>`, repeated to about so many tokens. */
export async function loadFixture(name, tokens) {
  const [kind, ...rest] = name.split(':');
  if (kind === 'chat') return chatFixture(tokens);
  if (kind === 'dialect') return dialectFixture(rest.join(':'), tokens);
  if (kind === 'recording') return recordingFixture(rest.join(':'), tokens);
  throw new Error(`No fixture is named ${JSON.stringify(name)}`);
}
