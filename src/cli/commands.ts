import type { CommandDefinition } from './commandDefinition.js';
import { askCommand } from './commands/ask.js';
import { completionCommand } from './commands/completion.js';
import { demoCommand } from './commands/demo.js';
import { doctorCommand } from './commands/doctor.js';
import { mockCommand } from './commands/mock.js';
import { replayCommand } from './commands/replay.js';
import { runCommand } from './commands/run.js';
import { workerCommand } from './commands/worker.js';

/** Every command, in the order of the help. */
export const COMMANDS: readonly CommandDefinition[] = [
  demoCommand,
  askCommand,
  runCommand,
  workerCommand,
  replayCommand,
  doctorCommand,
  mockCommand,
  completionCommand,
];
