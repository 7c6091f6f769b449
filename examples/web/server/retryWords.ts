/** What the server tells the page of a connection that is lost behind it, and of one that is back. */
export const RECONNECTING = 'reconnecting';
export const RECONNECTED = 'reconnected';
