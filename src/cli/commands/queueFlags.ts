import { InvalidArgumentError } from 'commander';
import type { Explained, FlagDefinition } from '../commandDefinition.js';
import { DEFAULT_QUEUE, PASSWORD_VARIABLE, queueNameProblem } from '../worker/queueAddress.js';

/** The flags that say which queue. */

/** Read by the command itself: a message about a wrong value would show it, and the password in it. */
export const QUEUE: FlagDefinition = {
  flags: '--queue <url>',
  about: 'the Redis that the queue is in: redis:// or rediss://, [USER:PASSWORD@]HOST[:PORT][/DATABASE]',
};

export const QUEUE_NAME: FlagDefinition = {
  flags: '--queue-name <name>',
  about: 'the queue, where a Redis has several: for workers with another folder, or with other keys',
  usually: DEFAULT_QUEUE,
  parse: (value) => {
    const problem = queueNameProblem(value);
    if (problem !== undefined) throw new InvalidArgumentError(problem);
    return value;
  },
};

export const QUEUE_PASSWORD: Explained = [
  PASSWORD_VARIABLE,
  'the password of the Redis, where it does not stand in --queue, which others on the machine can read',
];
