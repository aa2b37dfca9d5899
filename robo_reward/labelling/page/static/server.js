// Talking to the server. Addresses are relative: the page lives below its token.

/** The server said no for good; trying again would not help. */
export class Refused extends Error {}

export async function get(path, parameters = {}) {
  const reply = await fetch(`api/${path}?${new URLSearchParams(parameters)}`);
  const value = await reply.json().catch(() => ({}));
  if (!reply.ok) throw new Error(value.error || `the server answered ${reply.status}`);
  return value;
}

/** Resolves when the server has the event on disk. */
export async function send(event) {
  const reply = await fetch("api/events", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(event),
  });
  if (reply.ok) return;
  const value = await reply.json().catch(() => ({}));
  const message = value.error || `the server answered ${reply.status}`;
  throw [400, 413, 415, 422].includes(reply.status) ? new Refused(message) : new Error(message);
}

/** Waits, a little longer each time. */
export function pause(attempt) {
  return new Promise((done) => setTimeout(done, Math.min(250 * 1.6 ** attempt, 4000)));
}
