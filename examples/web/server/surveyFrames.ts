import { REACHES, SURVEY, SURVEY_REPORT } from './answers.js';

/** States of an inference.sh task by their numbers on the wire. */
const QUEUED = 2;
const PREPARING = 4;
const RUNNING = 7;
const UPLOADING = 9;
const COMPLETED = 10;

/** The survey as inference.sh streams a task: one line of JSON each, with the fields that changed. */
export function surveyFrames(): readonly string[] {
  const logs: object[] = [];
  const moments = SURVEY.map((moment) => {
    if (typeof moment !== 'string') {
      return changed({ progress: { current: moment.reach, total: REACHES, message: moment.doing } });
    }
    logs.push({ id: `line-${String(logs.length + 1)}`, log_type: 4, content: moment });
    return changed({ logs: [...logs] }); // the field is replaced whole by each change
  });
  // A few words at a time.
  const words = SURVEY_REPORT.match(/(?:\S+\s*){1,4}/g) ?? [];
  const report = words.map((response, index) => ({ event: 'delta', data: { delta: { response }, seq: index + 1 } }));
  return [
    changed({ status: QUEUED }),
    { type: 'heartbeat' },
    changed({ status: PREPARING }),
    { type: 'heartbeat' },
    changed({ status: RUNNING }),
    ...moments,
    ...report,
    changed({ status: UPLOADING }),
    changed({ status: COMPLETED, output: { response: SURVEY_REPORT } }),
  ].map((frame) => `${JSON.stringify(frame)}\n`);
}

function changed(data: Readonly<Record<string, unknown>>): object {
  return { data, fields: Object.keys(data) };
}
