// The one way to call the API and the control routes; shows each request as curl.

import { $, $$, element } from "./dom.js";

const SHOWN_HEADERS = ["location", "retry-after", "idempotency-replayed", "idempotency-mismatch", "error-code"];
const SHOWN_REQUESTS = 60;

export async function call(method, path, { apiKey, body, headers = {}, quiet = false } = {}) {
  const sent = { ...headers };
  if (apiKey) sent.Authorization = `Bearer ${apiKey}`;
  if (body) sent["Content-Type"] = "application/json";
  const started = performance.now();
  const response = await fetch(path, { method, headers: sent, body: body && JSON.stringify(body) });
  const text = await response.text();
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    answer = { error: text };
  }
  const milliseconds = Math.round(performance.now() - started);
  if (!quiet) show({ method, path, sent, body, response, answer, milliseconds });
  return { ok: response.ok, status: response.status, headers: response.headers, answer };
}

export const control = (path, body = {}) => call("POST", `/_local/${path}`, { body });

export function statusTag(status) {
  const kind = status < 400 ? "success" : status < 500 ? "client-error" : "server-error";
  return element("span", { className: `tag ${kind}`, textContent: status });
}

function show({ method, path, sent, body, response, answer, milliseconds }) {
  const command = curl(method, path, sent, body);
  const headers = SHOWN_HEADERS.filter((name) => response.headers.has(name))
    .map((name) => `${name}: ${response.headers.get(name)}\n`)
    .join("");
  const copy = () => navigator.clipboard.writeText(command);
  $("#log > p")?.remove();
  $("#log").prepend(
    element(
      "details",
      {},
      element(
        "summary",
        {},
        statusTag(response.status),
        element("code", { textContent: `${method} ${path}` }),
        element("span", { className: "hint", textContent: `${milliseconds} ms` }),
      ),
      element("pre", { textContent: command }),
      element("button", { type: "button", textContent: "Copy", onclick: copy }),
      element("pre", { textContent: headers + JSON.stringify(answer, null, 2) }),
    ),
  );
  $$("#log details").slice(SHOWN_REQUESTS).forEach((old) => old.remove());
}

function curl(method, path, headers, body) {
  const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const parts = ["curl -sS"];
  if (method !== "GET") parts.push(`-X ${method}`);
  parts.push(quote(location.origin + path));
  for (const [name, value] of Object.entries(headers)) parts.push(`-H ${quote(`${name}: ${value}`)}`);
  if (body) parts.push(`-d ${quote(JSON.stringify(body))}`);
  return parts.join(" ");
}
