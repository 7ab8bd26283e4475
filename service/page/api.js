// Asking the service: JSON in, JSON out, an error with the service's own words.
export async function ask(path, method = "GET", body = undefined) {
  const headers = {};
  if (method !== "GET") {
    headers["content-type"] = "application/json";
    headers["idempotency-key"] = crypto.randomUUID?.() ?? [...crypto.getRandomValues(new Uint32Array(4))].join("-");
  }
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new Error("the service does not answer");
  }
  if (answer.status === 401) throw new Error("this session has ended; `seedbed page` prints a new link");
  const record = answer.status === 204 ? null : await answer.json();
  if (!answer.ok) throw new Error(record.detail || record.title);
  return record;
}

export const post = (path, body = {}) => ask(path, "POST", body);
export const put = (path, body) => ask(path, "PUT", body);
