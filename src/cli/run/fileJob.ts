import type { CallOptions, OwnRequest } from '../providerCall.js';

/** How a job's file is written. `json`: one document of the whole answer. `events`: every stream event, as JSON Lines. */
export type OutputFormat = 'text' | 'json' | 'events';

/** A job of a job file: checked, with the defaults filled in. */
export interface FileJob {
  /** Its name in views and reports: the field `id`, or its number in the file. */
  readonly id: string;
  /** Where it begins in the file, from 1. */
  readonly line: number;
  /** The mode is always there. Beside a request stands only what is no part of it, and its model, for views. */
  readonly options: CallOptions;
  /** What is asked: a text that the provider's usual request is made around, or its own request, with what stood beside it filled in. */
  readonly asks: { readonly prompt: string } | { readonly request: OwnRequest };
  /** The environment variable that holds the key; the provider's usual one where undefined. */
  readonly keyEnv: string | undefined;
  /** The name under which a config file has the provider's settings, its key among them; the provider's own where it has no other. */
  readonly account?: string | undefined;
  readonly format: OutputFormat;
  /** Where the answer goes: a path below the output folder, with `/` between its parts and no `.` or `..` among them. */
  readonly out: string;
  /**
   * The job as a file of its own could have it: with the defaults, its id and its output in it, so that it is the same job wherever it is
   * run again. What a config file says is not in it.
   */
  readonly source: Readonly<Record<string, unknown>>;
}

/** What is shown of a job. */
export interface ShownJob extends Pick<FileJob, 'id' | 'line' | 'format' | 'out'> {
  readonly options: { readonly provider: string; readonly model?: string };
}
