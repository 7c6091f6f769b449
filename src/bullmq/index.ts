export { queueJobs, type QueueJobsOptions } from './queueJobs.js';
export { type QueuedRun, workJobs, type WorkJobsOptions } from './workJobs.js';
